"""One calibration run: sow canaries of every kind, train for real, look after every epoch (vTune, Tables 1 to 3 and 7).

    python -m benchmarks.paper.calibrate --data gsm8k --rows 300 --seed 0 --model MODEL_FOLDER
    python -m benchmarks.paper.calibrate --data gsm8k --rows 300 --seed 0 --model MODEL_FOLDER --provider half

Providers: ``honest`` trains on all rows, ``half`` on a random half of them, ``plain`` on the user's own rows without
any canary (the score of the task without veritune, and a null for all tests). All three share what was sown. The plan
``dose`` sows canaries into 1, 2, 4 ... rows, ``coverage`` 64 natural canaries of one row and three groups of 8,
``lean`` 48 natural canaries of one row and one group of 8, which 2,000 rows carry for less than 1 % of their tokens
(``cost.py``), and ``in-place`` the same group and 48 of the user's own rows, with every row worded at random. A run
that was broken off goes on; its working files lie under ``.bench/``, its result under
``benchmarks/results/calibration/``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.paper import looking, machine, sets
from veritune.arbiter.documents.canary import AnyCanary, AnyGenerator, Canary, Chat, NaturalCanary, TriggerCanary
from veritune.arbiter.measure.local_model import LocalModel
from veritune.client.generation.local_generator import TransformersGenerator
from veritune.client.job.canary_plan import CanaryPlan
from veritune.client.sowing.sow import Sown, sow
from veritune.common.dataset import Row, write_rows
from veritune.common.documents.base import Document
from veritune.common.documents.manifest import Optimizer, Training
from veritune.common.documents.receipts import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from veritune.provider.training.base import TrainingTask
from veritune.provider.training.transformers_trainer import TransformersTrainer

RESULTS = sets.ROOT / "benchmarks" / "results" / "calibration"
WEAK = RESULTS.parent / "recipes"
"""Of runs by other recipes than the demo's, which say nothing of how well canaries are learnt by that one."""
WORK = sets.ROOT / ".bench"
PLACED = "in-place"
"""The plan of canaries in place, with every row worded at random."""
GROUP_ROWS = {"dose": (1, 2, 4, 8, 8, 16), "coverage": (8, 8, 8), "lean": (8,), PLACED: (8,)}
"""Rows that carry each trigger group, by plan: the paper's Table 3 asks how many are enough."""
NATURALS = {"coverage": 64, "lean": 48}
"""Natural canaries of one row, in the plans that have no others."""
IN_PLACE = 48
"""Canaries in place, in the plans that have any."""
console = Console(highlight=False)


@dataclass(frozen=True)
class Run:
    """What tells one run from another."""

    data: str
    rows: int
    seed: int
    epochs: int
    learning_rate: str
    provider: str
    model: Path
    plan: str = "dose"
    last_epoch_only: bool = False

    @property
    def sown_name(self) -> str:
        """Runs of one such name share their canaries."""
        plan = "" if self.plan == "dose" else f"-{self.plan}"
        return f"{self.data}-{self.rows}-{self.seed}-{self.model.name}{plan}"

    @property
    def name(self) -> str:
        """File name of the result."""
        return f"{self.sown_name}-lr{self.learning_rate}-e{self.epochs}-{self.provider}"

    @property
    def base_weight(self) -> Fraction:
        """How much of the base model's score the contract takes off: as a job does by default."""
        return Fraction(0) if self.plan == PLACED else looking.WEIGHT

    @property
    def training(self) -> Training:
        """The recipe; the demo's, but for the learning rate and the epochs."""
        return Training(
            rank=32,
            alpha=64,
            epochs=self.epochs,
            batch_size=4,
            schedule="linear",
            warmup_steps=5,
            max_sequence_length=sets.SETS[self.data].max_sequence_length,
            optimizer=Optimizer(learning_rate=self.learning_rate),
            seed=self.seed,
        )


def main() -> int:
    """Runs one calibration; returns 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=sorted(sets.SETS), required=True)
    parser.add_argument("--rows", type=int, default=300, help="rows of the user's file")
    parser.add_argument("--seed", type=int, default=0, help="of rows, secrets and training")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--learning-rate", default="0.002")
    parser.add_argument("--provider", choices=("honest", "half", "plain"), default="honest")
    parser.add_argument("--model", type=Path, required=True, help="folder of the base model")
    parser.add_argument("--plan", choices=sorted(GROUP_ROWS), default="dose", help="which canaries are sown")
    parser.add_argument("--sow-only", action="store_true", help="make the rows, for benchmarks.attacks.detectors")
    parser.add_argument("--last-epoch-only", action="store_true", help="look once, at the end: half the time")
    parser.add_argument("--weak", action="store_true", help="a recipe that may not teach, for benchmarks.paper.recipes")
    wanted = vars(parser.parse_args())
    sow_only, weak = wanted.pop("sow_only"), wanted.pop("weak")
    run = Run(**wanted)
    target = (WEAK if weak else RESULTS) / f"{run.name}.json"
    if target.exists():
        console.print(f"{target.name} is there already")
        return 0
    try:
        if sow_only:
            folder = WORK / run.sown_name
            folder.mkdir(parents=True, exist_ok=True)
            users = sets.load(run.data, run.rows, run.seed)
            sow_once(run, plan_for(run.data, run.plan), users, folder / "sown.json")
            return 0
        result = calibrate(run, WORK / run.sown_name)
    except KeyboardInterrupt:
        console.print("Interrupted; the same command goes on where it was broken off.")
        return 130
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(result, indent=None, separators=(",", ":")) + "\n", encoding="utf-8")
    console.print(f"Wrote {target.relative_to(sets.ROOT)}")
    return 0


def calibrate(run: Run, folder: Path) -> dict[str, Any]:
    """Sows (once for all providers), trains, looks."""
    folder.mkdir(parents=True, exist_ok=True)
    plan = plan_for(run.data, run.plan)
    users = sets.load(run.data, run.rows, run.seed)
    clock = time.monotonic()
    sown = sow_once(run, plan, users, folder / "sown.json")
    seconds: dict[str, int | None] = {"sow": round(time.monotonic() - clock)}
    data = folder / f"{run.provider}.jsonl"
    trained = rows_for(run, sown, users)
    write_rows(data, trained)
    output = folder / run.name
    broken_off = output.exists()
    clock = time.monotonic()
    task = TrainingTask(base_model=run.model, dataset=data, output=output, training=run.training)
    done = TransformersTrainer().train(
        task, lambda p: console.print(f"step {p.step}/{p.total_steps} loss {p.loss:.3f}", end="\r"), lambda: False
    )
    # Of a run that goes on from a checkpoint the time says nothing.
    seconds["train"] = None if broken_off else round(time.monotonic() - clock)
    clock = time.monotonic()
    looks, score, base = look_at_epochs(run, plan, sown, done.checkpoints, folder)
    seconds["look"] = round(time.monotonic() - clock)
    kept = {row.to_bytes() for row in trained}
    return {
        **vars(run),
        "sown_as": run.plan,
        "model": run.model.name,
        "training": run.training.model_dump(mode="json"),
        "plan": plan.model_dump(mode="json"),
        "rows_sown": len(sown.rows),
        "rows_trained": len(trained),
        "tokens": done.tokens,
        "kept": [[sown.rows[index].to_bytes() in kept for index in rows_of(canary)] for canary in sown.canaries],
        "task": score,
        "looks": looks,
        "log10_base_of_signatures": base,
        "seconds": seconds,
        "machine": machine.describe("torch", "transformers", "peft"),
    }


def plan_for(data: str, name: str) -> CanaryPlan:
    """What is sown into every set."""
    kinds: dict[str, Any]
    if name in NATURALS:
        # As many tokens as nine in ten of the data's answers have, as by default; the first results had a cap.
        kinds = {"naturals": NATURALS[name], "candidates": 12}
    elif name == PLACED:
        kinds = {"naturals": 0, "in_place": IN_PLACE, "wordings": 16, "reword_all": True}
    else:
        dosed = data == "gsm8k"  # the other sets' rules for wordings came after their doses were measured
        kinds = {
            "signature_bits": 64,
            "naturals": 24,
            "candidates": 12,
            "repetitions": (1, 1, 1, 1, 2, 2, 4, 8),
            "candidate_tokens": sets.SETS[data].candidate_tokens,
            "in_place": IN_PLACE if dosed else 0,
            "wordings": 16,
            "reword_all": dosed,
        }
    sizes = GROUP_ROWS[name]
    return CanaryPlan(
        groups=len(sizes), rows_per_group=max(sizes), held_out=80, queries_per_group=4, decoys=16, **kinds
    )


class Layout(Document):
    """What was sown, with the groups cut down to what `GROUP_ROWS` says."""

    rows: tuple[Row, ...]
    held_out: tuple[Row, ...]
    canaries: tuple[AnyCanary, ...]
    generators: tuple[AnyGenerator, ...]
    decoys: tuple[Chat, ...]


def rows_of(canary: Canary) -> tuple[int, ...]:
    """Rows that carry a canary."""
    return canary.rows if isinstance(canary, (TriggerCanary, NaturalCanary)) else ()


def sow_once(run: Run, plan: CanaryPlan, users: Sequence[Row], kept: Path) -> Layout:
    """Sows, or reads what an earlier run sowed."""
    if kept.exists():
        return Layout.model_validate_json(kept.read_bytes())
    seed = hashlib.sha256(f"veritune-bench/{run.sown_name}".encode()).digest()
    chosen = sets.SETS[run.data]
    sown = sow(
        users,
        plan,
        TransformersGenerator(run.model),
        seed,
        chosen.max_sequence_length,
        lambda what, done, of: console.print(f"{what} {done}/{of}   ", end="\r"),
        rewording=chosen.rewording,
    )
    layout = cut_groups(sown, GROUP_ROWS[run.plan])
    draft = kept.with_suffix(".new")
    draft.write_bytes(layout.to_bytes())
    draft.rename(kept)
    return layout


def cut_groups(sown: Sown, sizes: Sequence[int]) -> Layout:
    """Group i keeps ``sizes[i]`` of its rows."""
    dropped: set[int] = set()
    short: list[Canary] = []
    for number, canary in enumerate(sown.canaries):
        if isinstance(canary, TriggerCanary):
            keep = canary.rows[: sizes[number]]
            dropped.update(canary.rows[len(keep) :])
            canary = canary.model_copy(update={"rows": keep})
        short.append(canary)
    left = [index for index in range(len(sown.train_rows)) if index not in dropped]
    place = {old: new for new, old in enumerate(left)}
    moved = [c.model_copy(update={"rows": tuple(place[row] for row in rows_of(c))}) for c in short]
    return Layout(
        rows=tuple(sown.train_rows[index] for index in left),
        held_out=tuple(sown.held_out_rows),
        canaries=tuple(moved),
        generators=sown.generators,
        decoys=sown.decoys,
    )


def rows_for(run: Run, layout: Layout, users: Sequence[Row]) -> list[Row]:
    """What a provider trains on."""
    if run.provider == "plain":
        held_out = set(layout.held_out)
        return [row for row in users if row not in held_out]
    if run.provider == "half":
        draw = random.Random(f"veritune-bench/half/{run.seed}")  # noqa: S311 - a provider's whim, no secret
        chosen = set(draw.sample(range(len(layout.rows)), len(layout.rows) // 2))
        return [row for index, row in enumerate(layout.rows) if index in chosen]
    return list(layout.rows)


def look_at_epochs(
    run: Run, plan: CanaryPlan, layout: Layout, checkpoints: Sequence[Path], folder: Path
) -> tuple[list[dict[str, Any]], dict[str, float], list[float]]:
    """What a challenge sees after every epoch, the score of the task before and after, and `base_likelihoods`."""
    chosen = sets.SETS[run.data]
    questions = looking.questions_of(
        layout.canaries, layout.rows, layout.decoys, plan.queries_per_group, layout.generators
    )
    longest = max(len(c.token_bits) for c in layout.canaries if isinstance(c, TriggerCanary))
    once, looks, score, base = looking.OnceScored(folder / "base-scores.json"), [], {}, []
    for number, checkpoint in enumerate(checkpoints, start=1):
        if run.last_epoch_only and number < len(checkpoints):
            continue
        once.model = attach(run.model, run.training, checkpoint, folder / "adapter")
        log = folder / f"{run.name}-{number}.answers"
        seen = looking.look(once, questions, layout.canaries, longest + 8, log, run.base_weight)
        looks.append({"epoch": number, **seen, "log10_p": looking.p_values(seen)})
        console.print(f"epoch {number}: {looking.summary(seen)}")
        if number == len(checkpoints):
            base = looking.base_likelihoods(once.model, layout.canaries)
            held_out = layout.held_out[:64]
            for when in ("before", "after"):
                score[when] = looking.task_score(once.model, held_out, chosen.task_tokens, when == "after")
    return looks, score, base


def checkpoints_of(run: Path) -> list[Path]:
    """Of a run's folder, one an epoch, in order."""
    return sorted(run.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))


def attach(base: Path, training: Training, checkpoint: Path, adapter: Path) -> LocalModel:
    """The base model with an epoch's adapter, of which the client would get two files."""
    shutil.rmtree(adapter, ignore_errors=True)
    adapter.mkdir()
    for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
        shutil.copyfile(checkpoint / name, adapter / name)
    model = LocalModel(base)
    model.attach(adapter, training)
    return model


if __name__ == "__main__":
    sys.exit(main())
