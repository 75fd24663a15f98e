"""How well the detectors of `veritune redteam` find the canaries of a calibration run, one JSON line a data set.

    python -m benchmarks.attacks.detectors --sown gsm8k-240-0-SmolLM2-135M-Instruct-lean
    python -m benchmarks.attacks.detectors --sown gsm8k-240-0-... --model MODEL_FOLDER --detectors perplexity,loss-drop
    python -m benchmarks.attacks.detectors --table

``--sown`` is a folder under ``.bench`` that `benchmarks.paper.calibrate` made. Without names the cheap detectors run.
Lines of ``benchmarks/results/detectors.jsonl`` that are there already are kept, detector by detector.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.files import append_line, read_lines
from benchmarks.paper import machine, sets
from benchmarks.paper.calibrate import WORK, Layout
from benchmarks.paper.tables import table
from veritune.client.redteam.detectors.base_model import BaseModel
from veritune.client.redteam.figures import measure
from veritune.client.redteam.kinds import Kind, kinds_of
from veritune.client.redteam.registry import choose

TARGET = sets.ROOT / "benchmarks" / "results" / "detectors.jsonl"
console = Console(highlight=False)


def main() -> int:
    """Returns 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sown", help="folder under .bench")
    parser.add_argument("--model", type=Path, help="folder of the base model, for detectors that need it")
    parser.add_argument("--detectors", default="cheap", help="names or groups, by commas")
    parser.add_argument("--table", action="store_true", help="print what is there as Markdown")
    wanted = parser.parse_args()
    if wanted.table:
        print("\n".join(report(read_lines(TARGET))))
        return 0
    if wanted.sown is None:
        parser.error("--sown names the rows to look at")
    layout = Layout.model_validate_json((WORK / wanted.sown / "sown.json").read_bytes())
    places = kinds_of(layout.canaries, layout.generators)
    kinds = [places.get(index) for index in range(len(layout.rows))]
    done = {(line["sown"], line["detector"]) for line in read_lines(TARGET)}
    model: BaseModel | None = None
    for detector in choose(wanted.detectors.split(",")):
        if (wanted.sown, detector.name) in done:
            continue
        if detector.needs != "nothing" and model is None:
            if wanted.model is None:
                parser.error(f"{detector.name} needs --model")
            model = BaseModel(wanted.model)
        clock = time.monotonic()
        scores = detector.suspicion(layout.rows, model, lambda what, n, of: console.print(f"{what} {n}/{of}", end="\r"))
        found = measure(scores, kinds)
        line = {
            "sown": wanted.sown,
            "detector": detector.name,
            "needs": detector.needs,
            "plain": kinds.count(None),
            "kinds": {
                kind: {
                    "rows": kinds.count(kind),
                    "auc": round(result.auc, 4),
                    "recall": {rate: round(result.recall(rate), 4) for rate in ("0.01", "0.05", "0.1")},
                }
                for kind, result in found.items()
            },
            "seconds": round(time.monotonic() - clock, 1),
            "machine": machine.describe("torch", "scikit-learn"),
        }
        append_line(TARGET, line)
        console.print(f"{detector.name}: " + ", ".join(f"{k} {v.recall('0.01'):.0%}" for k, v in found.items()))
    return 0


def report(lines: Iterable[dict[str, Any]]) -> Iterator[str]:
    """A line for each set of rows and detector: area, and recall at 1 % and 10 % false alarms, by kind."""
    kinds: tuple[Kind, ...] = ("trigger", "natural", "in-place")
    rows = []
    for line in sorted(lines, key=lambda line: (line["sown"].partition("-")[0], line["needs"] != "nothing")):
        cells = []
        for kind in kinds:
            found = line["kinds"].get(kind)
            cells.append(
                f"{found['auc']:.2f}, {100 * found['recall']['0.01']:.0f} %, {100 * found['recall']['0.1']:.0f} %"
                if found
                else "-"
            )
        rows.append((line["sown"].replace("-SmolLM2-135M-Instruct", ""), line["detector"], *cells))
    yield from table(("rows", "detector", *kinds), rows)


if __name__ == "__main__":
    sys.exit(main())
