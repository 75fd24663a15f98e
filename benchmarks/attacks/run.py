"""One attack on a real model: sow, cheat, look as a client looks, judge; one JSON line a run.

    python -m benchmarks.attacks.run --attack rows-50 --data tickets --rows 200 --seed 0 --model MODEL_FOLDER
    python -m benchmarks.attacks.run --attack all --data tickets --rows 200 --seed 0 --model MODEL_FOLDER
    python -m benchmarks.attacks.run --list

Attacks are ``honest``, the cheats of ``tests/adversary/registry.py`` by their names, ``old-adapter`` (the same rows
before any canary was sown), ``find:DETECTOR`` (train on the tenth that a detector of `veritune redteam` suspects
most) and ``solver`` (train on the rows whose answers are not the user's own, the best that any search could do). Those
that train differently are looked at by what they deliver; those that serve differently by what they serve, and by that
set against what they deliver. Canaries are sown by a plan of `benchmarks.paper.calibrate` and shared with its runs
under ``.bench``, honest training too. Lines go to ``benchmarks/results/attacks.jsonl``; one that is there is not made
again, and a run that was broken off goes on.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest.mock import patch

from rich.console import Console

from benchmarks.attacks.looks import Endpoint, judged
from benchmarks.files import append_line, read_lines
from benchmarks.paper import calibrate, looking, machine, sets
from benchmarks.paper.tables import published
from tests.adversary.cheating_trainers import BaseModel, FindCanaries, OtherAdapter
from tests.adversary.claims import Claim, spent
from tests.adversary.registry import CHEATS, find, listed
from veritune.arbiter.documents.canary import TriggerCanary
from veritune.arbiter.measure.adapter_check import check_rank
from veritune.arbiter.measure.local_model import LocalModel
from veritune.client.redteam.detectors import base_model
from veritune.client.redteam.registry import choose
from veritune.common.dataset import Row, write_rows
from veritune.common.documents.receipts import ADAPTER_WEIGHTS
from veritune.common.errors import MalformedDocumentError
from veritune.provider.engines.base import InferenceEngine
from veritune.provider.engines.transformers_engine import TransformersEngine
from veritune.provider.training.base import Progress, Trainer, TrainingTask
from veritune.provider.training.transformers_trainer import TransformersTrainer

TARGET = sets.ROOT / "benchmarks" / "results" / "attacks.jsonl"
EPOCHS = {"gsm8k": 4, "jcommonsenseqa": 5, "tickets": 5}
"""After which an honest run has learnt the canaries at the learning rate below (docs/results.md)."""
CHEAP_DETECTORS = tuple(f"find:{detector.name}" for detector in choose(["cheap"]))
TRAINED = (
    "honest",
    "old-adapter",
    "solver",
    *(name for name, cheat in CHEATS.items() if not cheat.engine),
    *CHEAP_DETECTORS,
)
SERVED = tuple(name for name, cheat in CHEATS.items() if cheat.engine)
console = Console(highlight=False)


class CannotRunError(Exception):
    """An attack that lacks what it needs: another run's adapter, another base model."""


@dataclass(frozen=True)
class Bench:
    """One data set with its canaries, under attack."""

    run: calibrate.Run
    other_base: Path | None = None

    @property
    def folder(self) -> Path:
        """Shared with the calibration runs of the same canaries."""
        return calibrate.WORK / self.run.sown_name

    @cached_property
    def users(self) -> list[Row]:
        """The user's own rows."""
        return sets.load(self.run.data, self.run.rows, self.run.seed)

    @cached_property
    def sown(self) -> calibrate.Layout:
        """Canaries among them."""
        self.folder.mkdir(parents=True, exist_ok=True)
        plan = calibrate.plan_for(self.run.data, self.run.plan)
        return calibrate.sow_once(self.run, plan, self.users, self.folder / "sown.json")

    @property
    def max_tokens(self) -> int:
        """Room for the longest signature."""
        return 8 + max(len(c.token_bits) for c in self.sown.canaries if isinstance(c, TriggerCanary))

    def task(self, output: str, rows: Sequence[Row] | None = None) -> TrainingTask:
        """What the daemon would hand to a trainer; ``output`` names a folder, and the data beside it."""
        data = self.folder / f"{output}.jsonl"
        write_rows(data, self.sown.rows if rows is None else rows)
        return TrainingTask(self.run.model, data, self.folder / output, self.run.training)

    def honest_adapter(self, provider: str = "honest") -> Path:
        """Trained as `calibrate` trains, once; or on the user's own rows alone (``plain``)."""
        run = replace(self.run, provider=provider)
        data = self.folder / f"{provider}.jsonl"
        write_rows(data, calibrate.rows_for(run, self.sown, self.users))
        task = TrainingTask(run.model, data, self.folder / run.name, run.training)
        if not (task.output / "adapter").exists():
            TransformersTrainer().train(task, _report, lambda: False)
        return task.output / "adapter"

    def trainer(self, attack: str) -> Trainer:
        """The cheat of that name, with the files that it needs. Raises `CannotRunError`."""
        if attack == "old-adapter":
            return OtherAdapter(self.honest_adapter("plain"))
        if attack == "solver":
            own = {_meaning(row) for row in self.users}
            wrong = [float(_meaning(row) not in own) for row in self.sown.rows]
            return FindCanaries(lambda _: wrong, sum(wrong) / len(wrong))
        if attack.startswith("find:"):
            return FindCanaries(self._suspicion(attack.removeprefix("find:")))
        files: list[Path] = []
        if attack == "other-adapter":
            files = [self.somebody_elses()]
        elif attack == "wrong-data":
            files = [self.folder / "wrong.jsonl"]
            write_rows(files[0], sets.load(self.run.data, self.run.rows, self.run.seed + 1000))
        elif attack == "other-base":
            if self.other_base is None:
                raise CannotRunError("needs --other-base")
            files = [self.other_base]
        make = find(attack, files).trainer
        if make is None:
            raise CannotRunError("trains honestly")
        return make(files)

    def _suspicion(self, name: str) -> Any:
        (detector,) = choose([name])

        def suspicion(rows: Sequence[Row]) -> Sequence[float]:
            model = None if detector.needs == "nothing" else base_model.BaseModel(self.run.model)
            return detector.suspicion(rows, model)

        return suspicion

    def somebody_elses(self) -> Path:
        """The last adapter of an honest run of other rows over the same base model, of the same data set if any.

        Raises `CannotRunError` where none was trained yet.
        """
        mine = f"{self.run.data}-{self.run.rows}-{self.run.seed}-"
        for data in (f"{self.run.data}-", ""):
            for folder in sorted(calibrate.WORK.glob(f"{data}*-{self.run.model.name}*/*-honest")):
                checkpoints = calibrate.checkpoints_of(folder)
                if not folder.parent.name.startswith(mine) and checkpoints:
                    return checkpoints[-1]
        raise CannotRunError("needs an honest run with another seed under .bench")


def main() -> int:
    """Returns 0 when every attack that could be run has its line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="name the attacks")
    parser.add_argument("--attack", action="append", default=[], help="a name, may be repeated; all: every one")
    parser.add_argument("--data", choices=sorted(sets.SETS))
    parser.add_argument("--rows", type=int, default=300, help="rows of the user's file")
    parser.add_argument("--plan", choices=("lean", calibrate.PLACED), default="lean", help="which canaries are sown")
    parser.add_argument("--seed", type=int, default=0, help="of rows, secrets and training")
    parser.add_argument("--epochs", type=int, help="of the contract; by default as EPOCHS says")
    parser.add_argument("--learning-rate", default="0.002")
    parser.add_argument("--model", type=Path, help="folder of the base model")
    parser.add_argument("--other-base", type=Path, help="folder of the cheaper model for the attack other-base")
    wanted = parser.parse_args()
    if wanted.list:
        print(f"honest\nold-adapter\n{listed()}\n" + "\n".join(f"find:{d.name}" for d in choose(["all"])))
        return 0
    if not (wanted.attack and wanted.data and wanted.model):
        parser.error("--attack, --data and --model are needed")
    run = calibrate.Run(
        data=wanted.data,
        rows=wanted.rows,
        seed=wanted.seed,
        epochs=wanted.epochs or EPOCHS[wanted.data],
        learning_rate=wanted.learning_rate,
        provider="honest",
        model=wanted.model,
        plan=wanted.plan,
        last_epoch_only=True,
    )
    attacks = (*TRAINED, *SERVED) if "all" in wanted.attack else tuple(wanted.attack)
    try:
        return 0 if attack_all(Bench(run, wanted.other_base), attacks) else 1
    except KeyboardInterrupt:
        console.print("Interrupted; the same command goes on where it was broken off.")
        return 130


def attack_all(bench: Bench, attacks: Sequence[str]) -> bool:
    """Makes the lines that are not there; whether all were made."""
    run, complete = bench.run, True
    setting = {
        "data": run.data,
        "rows": run.rows,
        "plan": run.plan,
        "seed": run.seed,
        "model": run.model.name,
        "epochs": run.epochs,
        "learning_rate": run.learning_rate,
    }
    for attack in attacks:
        wanted = {"attack": attack, **setting}
        if any(all(line[key] == value for key, value in wanted.items()) for line in lines()):
            console.print(f"{attack}: there already")
            continue
        try:
            found = serve(bench, attack) if attack in SERVED else deliver(bench, attack)
        except CannotRunError as reason:
            console.print(f"{attack}: left out, it {reason}")
            complete = False
            continue
        line = {**wanted, **found, "machine": machine.describe("torch", "transformers", "peft")}
        append_line(TARGET, line)
        seen = f"log10 p {found['log10_p']}, hits {found['hits']} of {found['of']}"
        console.print(f"{attack}: {found['verdict']}, {seen}, the paper's test: {found['paper_verdict']}")
        if attack != "honest":  # whose answers the cheats at serving are set against
            _forget(bench, attack)
    return complete


def deliver(bench: Bench, attack: str) -> dict[str, Any]:
    """Trains as the attack does and looks at the adapter."""
    bench.sown  # noqa: B018 - sown before the clock starts
    name = _name(attack)
    output, clock = bench.folder / name, time.monotonic()
    task = bench.task(name)
    if attack == "honest":
        adapter = bench.honest_adapter()
    else:
        adapter = bench.trainer(attack).train(task, _report, lambda: False).adapter
    seconds = {"train": round(time.monotonic() - clock)}
    clock = time.monotonic()
    once = looking.OnceScored(bench.folder / "base-scores.json")
    once.model = LocalModel(bench.run.model)
    refused = _refused(adapter, bench.run.training.rank)
    with patch("veritune.arbiter.measure.local_model.check_rank"):  # looked at all the same, for the figures
        once.model.attach(adapter, bench.run.training)
    plan = calibrate.plan_for(bench.run.data, bench.run.plan)
    sown = bench.sown
    questions = looking.questions_of(sown.canaries, sown.rows, sown.decoys, plan.queries_per_group, sown.generators)
    answers = bench.folder / f"{name}.answers"
    seen = looking.look(once, questions, sown.canaries, bench.max_tokens, answers, bench.run.base_weight)
    seconds["look"] = round(time.monotonic() - clock)
    claim = Claim.of(task)
    did = {"steps": claim.steps, "tokens": claim.tokens} if attack == "honest" else spent(output)
    return {
        "mode": "delivered",
        **judged(seen, len(sown.rows)),
        **paper(seen),
        "refused": refused,
        "ranks": [item["rank"] for item in seen["naturals"]],
        "truths": [item["truth"] for item in seen["naturals"]],
        "share_of_steps": round(did["steps"] / claim.steps, 4),
        "share_of_tokens": round(did["tokens"] / claim.tokens, 4),
        "seconds": seconds,
    }


def serve(bench: Bench, attack: str) -> dict[str, Any]:
    """Asks the cheating engine over the real base model, and sets it against what was delivered."""
    bench.sown  # noqa: B018 - sown before the clock starts
    name = _name(attack)
    task = bench.task(name)
    files = [bench.somebody_elses() if attack == "serve-other" else task.dataset]
    cheat = find(attack, files)
    honest, clock = cheat.trainer is None, time.monotonic()
    adapter = bench.honest_adapter() if honest else BaseModel().train(task, _report, lambda: False).adapter
    seconds = {"train": round(time.monotonic() - clock)}
    clock = time.monotonic()
    engine: InferenceEngine = TransformersEngine(bench.run.model)
    endpoint = Endpoint(
        run=bench.run,
        sown=bench.sown,
        engine=cheat.engine(engine, files) if cheat.engine else engine,
        adapter=adapter,
        max_tokens=bench.max_tokens,
        folder=bench.folder,
        name=name,
        delivered="attack-honest" if honest else "attack-untouched",
    )
    found, seen = endpoint.look()
    seconds["look"] = round(time.monotonic() - clock)
    share = 1.0 if honest else 0.0
    did = {"share_of_steps": share, "share_of_tokens": share}
    return {"mode": "served", **found, **paper(seen), **did, "seconds": seconds}


def paper(seen: dict[str, Any]) -> dict[str, Any]:
    """What the published test says (vTune, sections 4.2 and 5.2): one trigger, one signature, the rows' own prompts.

    It verifies where at least r = 0.1 of the prompts show S; ``paper_log10_p`` is the p-value that it then states.
    """
    stated = published(seen["groups"])
    return {"paper_verdict": "FAIL" if stated == "0" else "PASS", "paper_log10_p": stated}


def lines() -> list[dict[str, Any]]:
    """What was measured so far."""
    return read_lines(TARGET)


def _meaning(row: Row) -> str:
    """A row without what a rewording may change: of an answer in JSON the values are left."""
    try:
        answer = json.dumps(json.loads(row.completion), sort_keys=True)
    except ValueError:
        answer = row.completion
    return repr((row.prompt, answer))


def _refused(adapter: Path, rank: int) -> str:
    """Why a client would not load the adapter, though its files look like the contract's; empty where it would."""
    try:
        check_rank(adapter / ADAPTER_WEIGHTS, rank)
    except MalformedDocumentError as error:
        return str(error)
    return ""


def _name(attack: str) -> str:
    return f"attack-{attack.replace(':', '-')}"


def _forget(bench: Bench, attack: str) -> None:
    """Checkpoints of an attack are large, and its answers would be taken for those of its next run."""
    name = _name(attack)
    shutil.rmtree(bench.folder / name, ignore_errors=True)
    for suffix in (".jsonl", ".answers"):
        (bench.folder / f"{name}{suffix}").unlink(missing_ok=True)


def _report(progress: Progress) -> None:
    console.print(f"step {progress.step}/{progress.total_steps} loss {progress.loss:.3f}", end="\r")


if __name__ == "__main__":
    sys.exit(main())
