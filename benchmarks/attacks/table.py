"""The table of docs/security.md: what each attack got, over all runs.

    python -m benchmarks.attacks.table            # prints Markdown
    python -m benchmarks.attacks.table --write    # puts it between the marks in docs/security.md

Reads ``benchmarks/results/attacks.jsonl``, and the calibration runs that are as good: honest ones, and providers that
left out rows. A cheat counts as caught where the client refuses the adapter or the verdict is not PASS: nobody is paid
for INCONCLUSIVE either. Intervals are exact (Clopper and Pearson 1934), at 95 %.
"""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from scipy.stats import binomtest

from benchmarks.attacks.looks import judged
from benchmarks.attacks.run import SERVED, TRAINED, lines, paper
from benchmarks.files import put_between, wants_write
from benchmarks.paper.calibrate import PLACED, RESULTS
from benchmarks.paper.sets import ROOT
from benchmarks.paper.tables import measured_on, table
from tests.adversary.registry import CHEATS
from veritune.arbiter.verdict.recital import weigh
from veritune.arbiter.verdict.rules import Rules
from veritune.common.documents.manifest import Policy

BEGIN, END = "<!-- attacks: begin -->", "<!-- attacks: end -->"
DOCUMENT = ROOT / "docs" / "security.md"
Runs = Sequence[dict[str, Any]]
PLANS = ("lean", "coverage", PLACED)
"""Of `benchmarks.paper.calibrate`: those that sow as many canaries as the default policy needs to pass anybody."""
PROVIDERS = {"honest": "honest", "half": "rows-50", "plain": "old-adapter"}
"""Providers of `benchmarks.paper.calibrate` by the attack that they are."""
RECITAL = Policy(recital_floor="0.8", recital_nats="5")
"""Honest runs of five epochs on the tickets recite nearly all of their canaries at five nats."""
DELIVERED = (
    "attack",
    "steps that it took",
    "verdicts",
    "caught (95 % interval)",
    "log10 p of influence",
    "rows trained on, at least",
    "canaries known by heart",
    "not as an honest run",
    "verdicts by the demo's policy",
    "caught by the paper's test",
)
SERVING = (
    "attack",
    "delivered adapter",
    "verdicts by default",
    "caught (95 % interval)",
    "if answers are believed to come from weights",
    "if decoys are not recognised",
    "log10 p of influence",
    "decoys answered as the adapter does",
    "caught by the paper's test",
)
ORDER = ("PASS", "INCONCLUSIVE", "FAIL")


def main() -> int:
    """Returns 0, or 1 where nothing was measured."""
    write = wants_write(__doc__, DOCUMENT)
    measured = lines()
    runs = [*measured, *calibrated(measured)]
    if not runs:
        print("no attacks yet; see benchmarks/attacks/run.py", file=sys.stderr)
        return 1
    text = "\n".join(report(runs))
    if not write:
        print(text)
        return 0
    put_between(DOCUMENT, BEGIN, END, text)
    return 0


def calibrated(measured: Runs) -> Iterator[dict[str, Any]]:
    """Calibration runs of `PLANS` as lines, but for what ``measured`` has."""
    same = ("data", "rows", "seed", "model", "epochs", "learning_rate")
    there = {(line["attack"], line["plan"], *(line[key] for key in same)) for line in measured}
    for path in sorted(RESULTS.glob("*.json")):
        run = json.loads(path.read_bytes())
        attack, plan, seen = PROVIDERS[run["provider"]], run.get("sown_as"), run["looks"][-1]
        if plan not in PLANS or (attack, plan, *(run[key] for key in same)) in there:
            continue
        yield {
            "attack": attack,
            **{key: run[key] for key in same},
            "plan": plan,
            "mode": "delivered",
            **judged(seen, run["rows_sown"]),
            **paper(seen),
            "refused": "",
            "truths": [item["truth"] for item in seen["naturals"] if "truth" in item],
            "share_of_steps": 0.0 if attack == "old-adapter" else run["rows_trained"] / run["rows_sown"],
            "machine": run["machine"],
        }


def report(runs: Runs) -> Iterator[str]:
    """Markdown, line by line."""
    attacks = _by_attack(runs)
    yield from table(
        ("attack", "what it does", "what it saves", "what it needs"),
        [(name, *motive(name)) for name, _ in attacks],
    )
    delivered = [run for run in runs if run["mode"] == "delivered"]
    placed = [run for run in delivered if run["plan"] == PLACED]
    added = [run for run in delivered if run["plan"] != PLACED]
    served = [run for run in runs if run["mode"] == "served"]
    if added:
        yield "\nLooked at by the adapter that was delivered, under the default policy:\n"
        yield from table(DELIVERED, [_delivered(name, mine) for name, mine in _by_attack(added)])
    if placed:
        yield "\nThe same with canaries in place, every row worded at random, `base_weight` 0:\n"
        yield from table(DELIVERED, [_delivered(name, mine) for name, mine in _by_attack(placed)])
    if served:
        yield "\nLooked at by what the endpoint serves:\n"
        yield from table(SERVING, [_served(name, mine) for name, mine in _by_attack(served)])
    yield f"\nRuns: {', '.join(_settings(runs))}. {measured_on(runs)}"


def _by_attack(runs: Runs) -> list[tuple[str, Runs]]:
    known = (*TRAINED, *SERVED)
    by_attack: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for run in runs:
        by_attack[run["attack"]].append(run)
    names = sorted(by_attack, key=lambda name: (known.index(name) if name in known else len(known), name))
    return [(name, by_attack[name]) for name in names]


def _delivered(name: str, runs: Runs) -> tuple[object, ...]:
    honest = name == "honest"
    caught = _share(sum(bool(run["refused"]) or run["verdict"] != "PASS" for run in runs), len(runs))
    failed = _share(sum(run["verdict"] == "FAIL" for run in runs), len(runs))
    refused = sum(bool(run["refused"]) for run in runs)
    return (
        name,
        _range([100 * run["share_of_steps"] for run in runs], " %"),
        _verdicts(runs, "verdict") + (f"; {refused} refused for its rank" if refused else ""),
        f"no PASS: {caught}; FAIL: {failed}" if honest else caught,
        _range([float(run["log10_p"]) for run in runs]),
        _range([100 * float(run["share_least"]) for run in runs], " %"),
        *_recitals(runs),
        _verdicts(runs, "verdict_demo"),
        _share(sum(run["paper_verdict"] != "PASS" for run in runs), len(runs)),
    )


def _recitals(runs: Runs) -> tuple[str, str]:
    """Share of canaries recited, and runs that a contract would refuse for it; of runs on the data that `RECITAL`
    was measured on."""
    rules = Rules.of(RECITAL)
    alike = [run for run in runs if run["data"] == "tickets" and run["plan"] != PLACED and run.get("truths")]
    counted = [[truth >= -float(RECITAL.recital_nats) for truth in run["truths"]] for run in alike]
    weighed = [weigh(rules, recited) for recited in counted]
    if not weighed:
        return "-", "-"
    shown = sum(found is not None and found.outcome == "shown" for found in weighed)
    shares = [100 * sum(recited) / len(recited) for recited in counted]
    return _range(shares, " %"), _share(len(weighed) - shown, len(weighed))


def _served(name: str, runs: Runs) -> tuple[object, ...]:
    equal, asked = (sum(run["decoys_alike"][at] for run in runs) for at in (0, 1))
    return (
        name,
        "untouched" if CHEATS[name].trainer else "trained in full",
        _verdicts(runs, "verdict"),
        _share(sum(run["verdict"] != "PASS" for run in runs), len(runs)),
        _verdicts(runs, "verdict_believed"),
        _verdicts(runs, "verdict_compared"),
        _range([float(run["log10_p"]) for run in runs]),
        f"{equal} of {asked}",
        _share(sum(run["paper_verdict"] != "PASS" for run in runs), len(runs)),
    )


def motive(name: str) -> tuple[str, str, str]:
    """What the provider does, what it is spared, and what it needs."""
    if name == "honest":
        return "train and serve as agreed", "nothing", "nothing"
    if name == "old-adapter":
        needs = "an adapter trained on the rows before they held canaries"
        return "return an old adapter of the same user's", CHEATS["other-adapter"].saves, needs
    if name == "solver":
        needs = "a model that can do the user's task already, or the user's rows from elsewhere"
        return "train only on rows whose answers are wrong", CHEATS["find-starts"].saves, needs
    if name.startswith("find:"):
        detector = name.removeprefix("find:")
        does = f"train only on the tenth that `{detector}` suspects most"
        return does, CHEATS["find-starts"].saves, f"the detector {detector}"
    cheat = CHEATS[name]
    return cheat.line.partition(": ")[0], cheat.saves, cheat.needs


def _share(yes: int, of: int) -> str:
    """``yes`` of ``of`` with the exact interval."""
    low, high = binomtest(yes, of).proportion_ci(0.95, method="exact")
    return f"{yes} of {of} ({100 * low:.0f} to {100 * high:.0f} %)"


def _verdicts(runs: Runs, key: str) -> str:
    counts = Counter(run[key] for run in runs)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in ORDER if counts[verdict])


def _range(values: Sequence[float], unit: str = "") -> str:
    """One value, or the least and the greatest."""
    low, high = (f"{round(value, 1) + 0:.1f}".removesuffix(".0") for value in (min(values), max(values)))
    return f"{low}{unit}" if low == high else f"{low} to {high}{unit}"


def _settings(runs: Runs) -> list[str]:
    told = ("data", "rows", "plan", "model", "epochs", "learning_rate")
    counts = Counter(tuple(run[key] for key in told) for run in runs)
    return [
        f"{count} on {data} ({rows} rows, {plan}, {model}, {epochs} epochs at {rate})"
        for (data, rows, plan, model, epochs, rate), count in sorted(counts.items())
    ]


if __name__ == "__main__":
    sys.exit(main())
