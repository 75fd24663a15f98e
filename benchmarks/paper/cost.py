"""What canaries cost: extra tokens of a data set of a given size, counted on what is really sown; nothing is trained.

    python -m benchmarks.paper.cost --model MODEL_FOLDER --rows 2000

Three plans, sown into so many rows of each data set that is present: the demo's canaries (3 groups of 8 rows at 64
bits, 24 drawn answers among 12), 2 groups of 8, and the plan ``lean`` of ``calibrate.py`` (one group of 8, 48 drawn
answers). Each comes with the influence p-value of a run that shows all of them.
Writes ``benchmarks/results/cost.json``, a line a data set and plan; those that are there already are kept.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from pathlib import Path

from rich.console import Console

from benchmarks.paper import machine, sets
from veritune.arbiter.documents.canary import TriggerCanary
from veritune.arbiter.statistics.exact import log10_text
from veritune.arbiter.statistics.influence import GroupResult, Ranked, influence_p
from veritune.client.generation.local_generator import TransformersGenerator
from veritune.client.job.canary_plan import CanaryPlan
from veritune.client.sowing.sow import sow

TARGET = sets.ROOT / "benchmarks" / "results" / "cost.json"
NATURALS = {3: 24, 2: 24, 1: 48}
"""Natural canaries, by trigger groups."""
console = Console(highlight=False)


def main() -> int:
    """Returns 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of the base model")
    parser.add_argument("--rows", type=int, default=2000)
    wanted = parser.parse_args()
    done = json.loads(TARGET.read_bytes()) if TARGET.exists() else {}
    for name, chosen, groups in ((name, chosen, groups) for name, chosen in sets.SETS.items() for groups in NATURALS):
        key = f"{name}-{wanted.rows}-{wanted.model.name}-{groups}-groups"
        if key in done:
            continue
        try:
            rows = sets.load(name, wanted.rows, 0)
        except (OSError, ValueError) as error:
            console.print(f"{name}: left out ({error})")
            continue
        plan = CanaryPlan(
            groups=groups,
            naturals=NATURALS[groups],
            candidates=12,
            candidate_tokens=chosen.candidate_tokens,
            held_out=100,
        )
        clock = time.monotonic()
        sown = sow(
            rows,
            plan,
            TransformersGenerator(wanted.model),
            hashlib.sha256(f"veritune-bench/cost/{key}".encode()).digest(),
            chosen.max_sequence_length,
            lambda what, count, of: console.print(f"{what} {count}/{of}   ", end="\r"),
        )
        found = [
            GroupResult(1, canary.bits, len(canary.signature), True)
            for canary in sown.canaries
            if isinstance(canary, TriggerCanary)
        ]
        done[key] = {
            "groups": groups,
            "log10_p_all": log10_text(influence_p(found, [Ranked(1, plan.candidates)] * plan.naturals)),
            "rows": wanted.rows,
            "extra_rows": sown.extra_rows,
            "extra_tokens_percent": sown.extra_tokens_percent,
            "seconds": round(time.monotonic() - clock),
            "machine": machine.describe("torch", "transformers"),
        }
        TARGET.parent.mkdir(parents=True, exist_ok=True)
        TARGET.write_text(json.dumps(done, separators=(",", ":")) + "\n", encoding="utf-8")
        console.print(f"{key}: {sown.extra_tokens_percent} % extra tokens")
    return 0


if __name__ == "__main__":
    sys.exit(main())
