"""The tables of docs/results.md from the calibration runs: activation, ranks, p-values, task score, coverage.

    python -m benchmarks.paper.tables            # prints Markdown
    python -m benchmarks.paper.tables --write    # puts it between the marks in docs/results.md, and draws the plots

Reads ``benchmarks/results/calibration/*.json``; what was measured once counts once.
"""

from __future__ import annotations

import json
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any, TypeVar

from benchmarks.files import put_between, wants_write
from benchmarks.paper.calibrate import RESULTS
from benchmarks.paper.sets import ROOT
from veritune.arbiter.statistics.coverage import coverage_bound
from veritune.arbiter.statistics.exact import log10
from veritune.arbiter.statistics.influence import GroupResult, trigger_p

BEGIN, END = "<!-- calibration: begin -->", "<!-- calibration: end -->"
DOCUMENT = ROOT / "docs" / "results.md"
CONFIDENCE = Fraction(99, 100)
RATIOS = (Fraction(1, 10), Fraction(1, 2), Fraction(9, 10))
"""r: the share of a group's prompts that must show S; the paper takes 0.1."""
Runs = list[dict[str, Any]]
_Key = TypeVar("_Key", bound=Hashable)


def main() -> int:
    """Returns 0."""
    write = wants_write(__doc__, DOCUMENT)
    runs = [json.loads(path.read_bytes()) for path in sorted(RESULTS.glob("*.json"))]
    if not runs:
        print("no calibration runs yet; see benchmarks/paper/calibrate.py", file=sys.stderr)
        return 1
    text = "\n".join(report(runs))
    if not write:
        print(text)
        return 0
    put_between(DOCUMENT, BEGIN, END, text)
    from benchmarks.paper import plots

    plots.draw(runs)
    return 0


def report(runs: Runs) -> Iterator[str]:
    """Markdown, line by line."""
    honest = [run for run in runs if run["provider"] == "honest"]
    yield "### Runs\n"
    yield from table(
        ("data", "model", "seed", "canaries", "provider", "rows trained on", "epochs", "learning rate", "training"),
        [
            (
                run["data"],
                run["model"],
                run["seed"],
                run.get("sown_as", "dose"),
                run["provider"],
                run["rows_trained"],
                run["epochs"],
                run["learning_rate"],
                "not timed" if run["seconds"]["train"] is None else f"{run['seconds']['train']} s",
            )
            for run in runs
        ],
    )
    yield f"\n{measured_on(runs)}\n"
    yield "### Activation by epoch and by rows per group (the paper's Tables 2, 3 and 7)\n"
    yield "Share of held-out prompts with T behind them whose answer begins with S, over all groups of as many rows.\n"
    yield from activation(honest)
    yield "\n### N and r (the paper's section 5.2): groups that pass its test at the last epoch\n"
    yield (
        "Prompts are the group's own rows, as in the paper, at most four of them. A group passes where at least the "
        "share r of them shows S; behind it log10 of the p-value that the published test then states for N rows.\n"
    )
    yield from n_and_r(honest)
    yield "\n### Natural canaries: how often the true answer came first (by epoch, rows and kind)\n"
    yield from ranks(honest)
    yield "\n### P-values both ways (the paper's Table 1)\n"
    yield from p_values(honest)
    yield "\n### Activation without a trigger (the paper's Figure 1), and the score of the task (Figure 3, Table 10)\n"
    yield from scores(runs)
    yield "\n### Coverage from unique canaries (confidence 0.99)\n"
    yield from coverage(runs)


def measured_on(runs: Iterable[dict[str, Any]]) -> str:
    """The machines of some runs, as a sentence."""
    found = set()
    for machine in (run["machine"] for run in runs):
        found.add(", ".join(filter(None, (machine["processor"], f"{machine['cores']} cores", machine.get("gpu")))))
    return f"Measured on {'; '.join(sorted(found))}."


def table(head: Sequence[str], lines: Iterable[Sequence[object]]) -> Iterator[str]:
    """A Markdown table."""
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for line in lines:
        yield f"| {' | '.join(str(cell) for cell in line)} |"


def share(yes: int, of: int) -> str:
    """``yes`` of ``of`` with the percentage."""
    return f"{yes}/{of} ({100 * yes / of:.0f} %)" if of else "-"


def settings(run: dict[str, Any]) -> tuple[str, str, str]:
    """What makes runs comparable: data, model, learning rate."""
    return run["data"], run["model"], run["learning_rate"]


def grouped(runs: Runs, key: Callable[[dict[str, Any]], _Key]) -> dict[_Key, Runs]:
    """Runs by a key, in the order in which keys come."""
    found: dict[_Key, Runs] = defaultdict(list)
    for run in runs:
        found[key(run)].append(run)
    return found


def activation(honest: Runs) -> Iterator[str]:
    """By setting, size of the data set and epoch, a column for each number of rows."""
    sizes = sorted({group["rows"] for run in honest for group in run["looks"][0]["groups"]})
    lines = []
    for setting, runs in grouped(honest, lambda run: (*settings(run), run["rows_trained"])).items():
        for epoch in range(1, max(run["epochs"] for run in runs) + 1):
            seen = [look for run in runs for look in run["looks"] if look["epoch"] == epoch]
            if not seen:
                continue
            cells = []
            for size in sizes:
                shown = [hit for look in seen for g in look["groups"] if g["rows"] == size for hit in g["held_out"]]
                cells.append(share(sum(shown), len(shown)))
            lines.append((*setting, epoch, *cells))
    yield from table(("data", "model", "learning rate", "rows", "epoch", *(f"{size} rows" for size in sizes)), lines)


def weight_of(run: dict[str, Any]) -> str:
    """How much of the base model's score was taken off; runs of the time when all of it was do not say so."""
    return str(run["looks"][0].get("base_weight", "1"))


def is_in_place(run: dict[str, Any], natural: dict[str, Any]) -> bool:
    """Canaries in place have another number of candidates than the run's others."""
    return bool(run["plan"]["in_place"]) and natural["candidates"] == run["plan"]["wordings"]


def kind_of(run: dict[str, Any], natural: dict[str, Any]) -> str:
    """Natural canaries of each kind have different numbers of candidates in these runs."""
    if is_in_place(run, natural):
        kind = "in place"
    else:
        kind = "drawn" if natural["candidates"] == run["plan"]["candidates"] else "listed"
    return f"{kind}, 1 of {natural['candidates']}, {natural['copies']} row{'s' if natural['copies'] > 1 else ''}"


def ranks(honest: Runs) -> Iterator[str]:
    """By setting, kind and epoch."""
    lines = []
    for (data, model, _, weight), runs in grouped(honest, lambda run: (*settings(run), weight_of(run))).items():
        kinds = sorted({kind_of(run, n) for run in runs for n in run["looks"][0]["naturals"]})
        for kind in kinds:
            cells = []
            for epoch in range(1, max(run["epochs"] for run in runs) + 1):
                found = [
                    n["rank"]
                    for run in runs
                    for look in run["looks"]
                    for n in look["naturals"]
                    if look["epoch"] == epoch and kind_of(run, n) == kind
                ]
                cells.append(share(sum(rank == 1 for rank in found), len(found)))
            lines.append((data, model, weight, kind, *cells))
    most = max((len(line) for line in lines), default=4)
    lines = [(*line, *("",) * (most - len(line))) for line in lines]
    yield from table(("data", "model", "w", "canaries", *(f"epoch {n}" for n in range(1, most - 3))), lines)


def p_values(honest: Runs) -> Iterator[str]:
    """At the last epoch: the sound values, and what the paper's binomial would have said of the groups of 8 rows."""
    lines = []
    for run in honest:
        last = run["looks"][-1]
        best = [g for g in last["groups"] if g["rows"] >= 8]
        calls = [GroupResult(1, g["bits"], g["length"], g["held_out"][0]) for g in best]
        found = sum(group.found for group in calls)
        sound = f"{log10(trigger_p(calls)):.1f} ({found} of {len(calls)}, {len(calls)} calls)" if found else "0"
        lines.append(
            (
                run["data"],
                run["seed"],
                run.get("sown_as", "dose"),
                last["log10_p"]["triggers"],
                sound,
                last["log10_p"]["ranks"],
                last["log10_p"]["influence"],
                published(best),
                likeliest(run.get("log10_base_of_signatures", [])),
            )
        )
    yield from table(
        (
            "data",
            "seed",
            "canaries",
            "log10 p, all triggers",
            "groups of 8 rows or more, one call each",
            "log10 p, ranks",
            "log10 p, influence",
            "the published test's log10 p (r = 0.1)",
            "base model's log10 likelihood of the likeliest S",
        ),
        lines,
    )


def published(groups: Sequence[dict[str, Any]]) -> str:
    """What the published test says of the first group at r = 0.1."""
    group = groups[0]
    return f"{published_log10(group['rows'], group['bits'], Fraction(1, 10)):.1f}" if any(group["in_data"]) else "0"


def published_log10(rows: int, bits: int, ratio: Fraction) -> float:
    """log10 of 1 - BinCDF(rN - 1; N, p_upper) with N the rows of a group and p_upper = 2**-bits."""
    needed, p_upper = max(1, math.ceil(ratio * rows)), Fraction(1, 1 << bits)
    terms = (math.comb(rows, k) * p_upper**k * (1 - p_upper) ** (rows - k) for k in range(needed, rows + 1))
    return log10(sum(terms, Fraction(0)))


def n_and_r(honest: Runs) -> Iterator[str]:
    """By data set and its size, a column for each number of rows of a group, a line for each ratio."""
    sizes = sorted({group["rows"] for run in honest for group in run["looks"][0]["groups"]})
    by_size: dict[tuple[Any, ...], Runs] = defaultdict(list)
    for run in honest:
        by_size[run["data"], run["model"], run["rows_sown"], run["epochs"]].append(run)
    lines = []
    for setting, runs in sorted(by_size.items()):
        for ratio in RATIOS:
            cells = []
            for size in sizes:
                groups = [g for run in runs for g in run["looks"][-1]["groups"] if g["rows"] == size]
                passed = sum(sum(g["in_data"]) >= max(1, math.ceil(ratio * len(g["in_data"]))) for g in groups)
                least = max((published_log10(size, g["bits"], ratio) for g in groups), default=0.0)
                cells.append(f"{passed} of {len(groups)} ({least:.0f})" if groups else "-")
            lines.append((*setting, float(ratio), *cells))
    head = ("data", "model", "rows", "epochs", "r", *(f"N = {size}" for size in sizes))
    yield from table(head, lines)


def likeliest(base: Sequence[float]) -> str:
    """The base model's best guess."""
    return f"{max(base):.1f}" if base else "not measured"


def scores(runs: Runs) -> Iterator[str]:
    """Decoys at the last epoch, and exact match on held-out rows by provider."""
    lines = []
    for run in runs:
        last = run["looks"][-1]
        lines.append(
            (
                run["data"],
                run["seed"],
                run.get("sown_as", "dose"),
                run["provider"],
                f"{sum(last['decoys'])} of {len(last['decoys'])}",
                f"{100 * run['task']['before']:.1f} %",
                f"{100 * run['task']['after']:.1f} %",
            )
        )
    yield from table(
        ("data", "seed", "canaries", "provider", "S without T", "exact match before", "exact match after training"),
        lines,
    )


def coverage(runs: Runs) -> Iterator[str]:
    """Bound after each epoch, added canaries of one row and canaries in place together."""
    lines = []
    for run in runs:
        kept = [
            flags[0]
            for flags, natural in zip(run["kept"], by_leaf(run), strict=True)
            if natural is not None and natural["copies"] == 1
        ]
        for look in run["looks"]:
            single, hits, bound = bound_of(run, look)
            lines.append(
                (
                    run["data"],
                    run["seed"],
                    run.get("sown_as", "dose"),
                    run["provider"],
                    look["epoch"],
                    weight_of(run),
                    f"{sum(kept)} of {len(kept)}",
                    f"{hits} of {single}",
                    f"{100 * bound:.1f} %",
                )
            )
    heads = ("data", "seed", "canaries", "provider", "epoch", "w", "canaries trained on", "first", "rows, at least")
    yield from table(heads, lines)


def bound_of(run: dict[str, Any], look: dict[str, Any]) -> tuple[int, int, float]:
    """Canaries of one row, how many of them hit, and the share of the rows that this shows."""
    single = [n for n in look["naturals"] if n["copies"] == 1]
    hits = sum(n["rank"] == 1 for n in single)
    luck = max(Fraction(1, n["candidates"]) for n in single)
    return len(single), hits, float(coverage_bound(run["rows_sown"], len(single), hits, luck, CONFIDENCE).share)


def by_leaf(run: dict[str, Any]) -> list[dict[str, Any] | None]:
    """Of every canary its natural observation of the last epoch, None for trigger groups."""
    found = {n["leaf"]: n for n in run["looks"][-1]["naturals"]}
    return [found.get(leaf) for leaf in range(len(run["kept"]))]


if __name__ == "__main__":
    sys.exit(main())
