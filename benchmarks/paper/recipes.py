"""Which recipes teach canaries: honest work with fewer epochs or smaller steps, judged by the default floors.

    python -m benchmarks.paper.calibrate --weak --data tickets --rows 220 --seed 3 --plan lean --epochs 4 \\
        --learning-rate 0.0005 --last-epoch-only --model MODEL_FOLDER
    python -m benchmarks.paper.recipes            # prints Markdown
    python -m benchmarks.paper.recipes --write    # puts it between the marks in docs/results.md

Reads ``benchmarks/results/recipes/``, and of the calibration runs those of the same rows and canaries. The last column
is what `veritune.provider.contracts.teaching` says: for a weak recipe a provider signs no floors that could fail it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from benchmarks.attacks.looks import judged
from benchmarks.files import put_between, wants_write
from benchmarks.paper.calibrate import GROUP_ROWS, RESULTS, WEAK
from benchmarks.paper.tables import DOCUMENT, measured_on, table
from veritune.common.documents.manifest import Training
from veritune.provider.contracts.policy import training_steps
from veritune.provider.contracts.teaching import Teaching, weak_point

BEGIN, END = "<!-- recipes: begin -->", "<!-- recipes: end -->"


def main() -> int:
    """Returns 0, or 1 where nothing was measured."""
    write = wants_write(__doc__, DOCUMENT)
    runs = [json.loads(path.read_bytes()) for path in sorted(WEAK.glob("*-honest.json"))]
    if not runs:
        print("no such runs yet; see benchmarks/paper/calibrate.py --weak", file=sys.stderr)
        return 1
    kinds = {_kind(run) for run in runs}
    usual = [json.loads(path.read_bytes()) for path in sorted(RESULTS.glob("*-honest.json"))]
    text = "\n".join(report([*runs, *(run for run in usual if _kind(run) in kinds)]))
    if write:
        put_between(DOCUMENT, BEGIN, END, text)
    else:
        print(text)
    return 0


def _kind(run: dict[str, Any]) -> tuple[Any, ...]:
    return run["data"], run["rows"], run["model"], run.get("sown_as")


def report(runs: list[dict[str, Any]]) -> Iterator[str]:
    """A line for each run, the weakest recipe first."""
    lines = []
    for run in runs:
        training = Training.model_validate_json(json.dumps(run["training"]))
        steps = training_steps(training, run["rows_sown"])
        rate = Decimal(training.optimizer.learning_rate) * training.alpha / training.rank
        seen = run["looks"][-1]
        found = judged(seen, run["rows_sown"])
        line = (
            run["sown_as"],
            run["seed"],
            training.epochs,
            steps,
            training.optimizer.learning_rate,
            rate.normalize(),
            f"{found['groups_found']} of {found['groups']}",
            f"{found['hits']} of {found['of']}",
            found["verdict"],
            weak_point(training, steps, min(GROUP_ROWS[run["sown_as"]]), Teaching()) or "teaches",
        )
        lines.append(((run["sown_as"], rate, training.epochs), line))
    head = (
        "canaries",
        "seed",
        "epochs",
        "steps",
        "learning rate",
        "times alpha / rank",
        "signatures",
        "answers first",
        "verdict by the default floors",
        "as a provider sees it",
    )
    yield from table(head, [line for _, line in sorted(lines)])
    yield f"\n{measured_on(runs)}"


if __name__ == "__main__":
    sys.exit(main())
