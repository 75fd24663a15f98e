"""How much of the base model's score to take off, and how deep canaries are known, on adapters of every epoch.

Candidates are ranked by ``tuned - w * base`` for several w; recitals are counted at several depths.

    python -m benchmarks.paper.base_weight --model MODEL_FOLDER [RUN ...]    # scores what has no scores yet
    python -m benchmarks.paper.base_weight --write                           # the table of docs/results.md

RUN is the name of an honest run of ``benchmarks.paper.calibrate`` or ``benchmarks.attacks.run`` whose working files
still lie under ``.bench/``, which keep one adapter an epoch. Each scores every natural canary's candidates once; scores
are kept beside them, so that a run that was broken off goes on. What came first goes to
``benchmarks/results/base_weight.json``. The rule decides nothing about error rates: any function of the scores that
treats candidates alike leaves the rank of the true one uniform (statistics.md, section 2).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure
from rich.progress import track

from benchmarks.files import put_between
from benchmarks.paper import looking
from benchmarks.paper.calibrate import WORK, Layout, Run, attach, checkpoints_of
from benchmarks.paper.plots import save
from benchmarks.paper.sets import ROOT
from benchmarks.paper.tables import DOCUMENT, table
from veritune.arbiter.documents.canary import NaturalCanary
from veritune.arbiter.statistics.influence import rank_of
from veritune.common.inference import format_logprob

TARGET = ROOT / "benchmarks" / "results" / "base_weight.json"
BEGIN, END = "<!-- base weight: begin -->", "<!-- base weight: end -->"
NATS = (1, 5, 20)
"""A canary is recited at d nats where its true answer has a probability of e**-d or more (statistics.md, 10)."""
WEIGHTS = tuple(map(Fraction, ("0", "1/8", "1/4", "1/2", "3/4", "1")))
Scores = list[tuple[int, list[float], list[float]]]
"""Of each canary: the place of the true answer, tuned and base log-probabilities of all candidates (natural log)."""


def main() -> int:
    """Scores or writes; returns 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", metavar="RUN")
    parser.add_argument("--model", type=Path, help="folder of the base model")
    parser.add_argument("--write", action="store_true", help="into docs/results.md")
    wanted = parser.parse_args()
    for name in wanted.runs:
        if wanted.model is None:
            parser.error("--model is needed to score")
        score_run(name, wanted.model)
    if wanted.runs:
        TARGET.write_text(json.dumps(summary(), separators=(",", ":")) + "\n", encoding="utf-8")
    if wanted.write:
        lines = json.loads(TARGET.read_bytes())
        put_between(DOCUMENT, BEGIN, END, "\n".join(report(lines)))
        draw(lines)
    return 0


def folder_of(name: str) -> Path:
    """A run's folder of checkpoints, which lies in the folder of what was sown. Raises FileNotFoundError."""
    found = next(WORK.glob(f"*/{name}"), None)
    if found is None:
        raise FileNotFoundError(f"no working files of {name} under {WORK.name}/")
    return found


def score_run(name: str, base: Path) -> None:
    """Scores all epochs of a run that have no scores yet."""
    run = folder_of(name)
    layout = Layout.model_validate_json((run.parent / "sown.json").read_bytes())
    questions = [
        q for q in looking.questions_of(layout.canaries, layout.rows, (), 1, layout.generators) if q.completions
    ]
    once = looking.OnceScored(run.parent / "base-scores.json")
    # Of the recipe `attach` asks for the rank and the scale only, which all runs share.
    training = Run("tickets", 1, 0, 1, "0.002", "honest", base).training
    for epoch, checkpoint in enumerate(checkpoints_of(run), start=1):
        kept = run / f"scores-{epoch}.json"
        if kept.exists():
            continue
        once.model = attach(base, training, checkpoint, run / "adapter-of-an-epoch")
        lines: Scores = []
        for item in track(questions, description=f"{name} epoch {epoch}"):
            canary = layout.canaries[item.leaf]
            assert isinstance(canary, NaturalCanary)  # noqa: S101
            tuned = once.scores(item.chat, item.completions, tuned=True)
            lines.append((canary.truth, tuned, once.scores(item.reference, item.completions, tuned=False)))
        draft = kept.with_suffix(".new")
        draft.write_text(json.dumps(lines), encoding="utf-8")
        draft.rename(kept)


def summary() -> list[dict[str, Any]]:
    """What came first, by run, epoch and weight, from all scores that are kept."""
    found = []
    for kept in sorted(WORK.glob("*/*/scores-*.json")):
        scores: Scores = json.loads(kept.read_bytes())
        firsts = {str(weight): firsts_by(scores, weight) for weight in WEIGHTS}
        found.append(
            {
                "run": kept.parent.name,
                "epoch": int(kept.stem.rpartition("-")[2]),
                "canaries": len(scores),
                "candidates": max(len(base) for _, _, base in scores),
                "first": firsts | {"fitted": firsts_by(scores, slope(scores))},
                "slope": round(float(slope(scores)), 3),
                "recited": {str(nats): sum(tuned[truth] >= -nats for truth, tuned, _ in scores) for nats in NATS},
            }
        )
    return found


def firsts_by(scores: Scores, weight: Fraction) -> int:
    """Canaries whose true answer comes first alone by ``tuned - weight * base``."""
    first = 0
    for truth, tuned, base in scores:
        first += rank_of(truth, [*map(format_logprob, tuned)], [*map(format_logprob, base)], weight) == 1
    return first


def slope(scores: Scores) -> Fraction:
    """Of tuned on base scores within canaries, by least squares over all candidates: it looks at no true answer."""
    above = below = 0.0
    for _, tuned, base in scores:
        middle_t, middle_b = fmean(tuned), fmean(base)
        above += sum((t - middle_t) * (b - middle_b) for t, b in zip(tuned, base, strict=True))
        below += sum((b - middle_b) ** 2 for b in base)
    return Fraction(above / below)


def data_of(line: dict[str, Any]) -> str:
    """The data set, and whether its canaries stand in place."""
    data = str(line["run"]).partition("-")[0]
    return f"{data}, in place" if "-in-place-" in line["run"] else data


def draw(lines: Sequence[dict[str, Any]]) -> None:
    """Writes ``base_weight.svg``: a panel a data set, a line a weight, by epoch."""
    names = sorted({data_of(line) for line in lines})
    figure = Figure(figsize=(4 * len(names), 3.2), layout="constrained")
    for place, name in enumerate(names, start=1):
        axes = figure.add_subplot(1, len(names), place)
        mine = [line for line in lines if data_of(line) == name]
        for weight in map(str, WEIGHTS):
            shares = [line["first"][weight] / line["canaries"] for line in mine]
            axes.plot([line["epoch"] for line in mine], shares, marker="o", label=f"w = {weight}")
        axes.set(title=name, xlabel="epoch", ylabel="true answer first", ylim=(-0.05, 1.05))
        axes.legend(fontsize=7)
    save(figure, TARGET.with_suffix(".svg"))


def report(lines: Sequence[dict[str, Any]]) -> Iterator[str]:
    """A Markdown table, runs of the same data, candidates and epoch taken together."""
    names = (*map(str, WEIGHTS), "fitted")
    together: dict[tuple[str, int, int], list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        together[data_of(line), line["candidates"], line["epoch"]].append(line)
    rows = []
    for (data, candidates, epoch), alike in sorted(together.items()):
        asked = sum(line["canaries"] for line in alike)
        firsts = [f"{100 * sum(line['first'][name] for line in alike) / asked:.0f} %" for name in names]
        slopes = fmean(line["slope"] for line in alike)
        recited = [f"{100 * sum(line['recited'][str(d)] for line in alike) / asked:.0f} %" for d in NATS]
        rows.append((data, f"1 of {candidates}", epoch, asked, *firsts, f"{slopes:.2f}", *recited))
    recitals = (f"recited at {nats} nat{'s' if nats > 1 else ''}" for nats in NATS)
    heads = (*(f"w = {weight}" for weight in WEIGHTS), "w fitted", "the fitted w", *recitals)
    yield from table(("data", "canaries", "epoch", "asked", *heads), rows)


if __name__ == "__main__":
    sys.exit(main())
