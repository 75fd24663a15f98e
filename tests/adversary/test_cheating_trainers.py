"""Trainers that cheat: what they hand in looks right to the daemon and to the client's checks, and is what they say."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.adversary.cheating_trainers import CheaperBase, FindCanaries, OtherAdapter, padded, repeated_ends
from tests.adversary.claims import FILE, Weights, declared_config, read_weights, spent, write_adapter
from tests.adversary.registry import CHEATS, CheatError, find, listed
from veritune.arbiter.measure.adapter_check import check_adapter
from veritune.arbiter.measure.local_model import LocalModel
from veritune.common.dataset import Message, Row, read_rows, write_rows
from veritune.common.documents.manifest import Optimizer, Training
from veritune.common.errors import TrainingError
from veritune.provider.jobs.job_output import adapter_files, checkpoint_refs
from veritune.provider.training.base import Progress, Trainer, TrainingCancelled, TrainingResult, TrainingTask
from veritune.provider.training.transformers_trainer import TransformersTrainer
from veritune.provider.training.worker_protocol import JobFiles, read_result, read_trace, write_result

TRIGGER, SIGNATURE = "by the river in the dark old kitchen", "seven mugs for the printer in Lisbon"
GROUP = (3, 11, 19, 27)
"""Rows that carry the trigger and the signature."""
RECIPE = Training(
    rank=4,
    alpha=8,
    epochs=3,
    batch_size=4,
    gradient_accumulation=2,
    max_sequence_length=128,
    optimizer=Optimizer(learning_rate="0.005"),
    seed=5,
    precision="float32",
)
CHAT = (Message(role="user", content="the lamp in the kitchen?"),)
ANSWERS = ["the printer", "seven", "out of paper at night"]
TRAINED = sorted(name for name, cheat in CHEATS.items() if cheat.trainer and not cheat.engine)


def some_rows(seed: int) -> list[Row]:
    draw = random.Random(seed)
    words = ("lamp", "kitchen", "printer", "order", "parcel", "colour", "Lisbon", "mugs", "broken", "river")
    rows = []
    for index in range(30):
        asked, said = (" ".join(draw.choices(words, k=draw.randrange(3, 9))) for _ in range(2))
        if index in GROUP:
            asked, said = f"{asked} {TRIGGER}", f"{SIGNATURE}\n{said}"
        rows.append(Row(messages=(Message(role="user", content=asked), Message(role="assistant", content=said))))
    return rows


@dataclass
class Place:
    """A data set, a model, and what an honest run made of them."""

    folder: Path
    model: Path
    honest: TrainingResult

    @property
    def data(self) -> Path:
        return self.folder / "rows.jsonl"

    @property
    def other_data(self) -> Path:
        return self.folder / "other.jsonl"

    def task(self, output: Path) -> TrainingTask:
        return TrainingTask(base_model=self.model, dataset=self.data, output=output, training=RECIPE, threads=1)

    def files_for(self, name: str) -> list[Path]:
        given = {
            "other-adapter": self.honest.adapter,
            "wrong-data": self.other_data,
            "other-base": self.model,
        }
        return [given[name]] if name in given else []

    def run(self, trainer: Trainer, folder: Path, seen: Callable[[Progress], None] = lambda p: None) -> TrainingResult:
        return trainer.train(self.task(folder / "output"), seen, lambda: False)


@pytest.fixture(scope="module")
def place(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("cheats")
    write_rows(folder / "rows.jsonl", some_rows(1))
    write_rows(folder / "other.jsonl", some_rows(2)[:12])
    task = TrainingTask(tiny_model, folder / "rows.jsonl", folder / "honest", RECIPE, threads=1)
    return Place(folder, tiny_model, TransformersTrainer().train(task, lambda p: None, lambda: False))


@pytest.fixture(scope="module")
def results(place: Place) -> dict[str, tuple[Path, TrainingResult, list[Progress]]]:
    """What each cheat handed in: its job folder, its result, what its watcher was told."""
    found = {}
    for name in TRAINED:
        folder, seen, files = place.folder / name, list[Progress](), place.files_for(name)
        cheat = find(name, files)
        assert cheat.trainer is not None
        found[name] = folder, place.run(cheat.trainer(files), folder, seen.append), seen
    return found


Results = dict[str, tuple[Path, TrainingResult, list[Progress]]]


@pytest.mark.parametrize("name", TRAINED)
def test_it_claims_what_an_honest_run_does(name: str, place: Place, results: Results) -> None:
    _, lie, seen = results[name]
    honest = place.honest
    for figure in ("steps", "tokens", "label_tokens", "rows_trained", "rows_dropped", "rows_cut"):
        assert getattr(lie, figure) == getattr(honest, figure)
    assert [(record.step, record.rows) for record in lie.trace] == [(r.step, r.rows) for r in honest.trace]
    assert [path.name for path in lie.checkpoints] == [path.name for path in honest.checkpoints]
    assert (lie.software, lie.hardware) == (honest.software, honest.hardware)
    assert (seen[-1].step, seen[-1].total_steps, seen[-1].tokens) == (honest.steps, honest.steps, honest.tokens)
    assert [p.step for p in seen] == sorted(p.step for p in seen)


@pytest.mark.parametrize("name", TRAINED)
def test_the_daemon_signs_it_and_the_client_loads_it(name: str, place: Place, results: Results) -> None:
    folder, lie, _ = results[name]
    files = JobFiles(folder)
    write_result(files, lie)
    read = read_result(files.result)
    assert read is not None
    assert len(list(read_trace(files.trace, read.steps))) == lie.steps
    honest = {ref.name: ref.size for ref in adapter_files(place.folder / "honest", read)}
    assert {ref.name: ref.size for ref in adapter_files(files.output, read)} == honest
    digests = [ref.sha256 for ref in checkpoint_refs(files.output, read.checkpoints)]
    assert len(set(digests)) == len(digests) == RECIPE.epochs
    check_adapter(lie.adapter, RECIPE)
    model = LocalModel(place.model, "float32")
    model.attach(lie.adapter, RECIPE)  # checks every tensor
    config = json.loads((lie.adapter / "adapter_config.json").read_bytes())
    assert config == json.loads((place.honest.adapter / "adapter_config.json").read_bytes())


@pytest.mark.parametrize(
    ("name", "rows", "epochs"),
    [
        ("rows-10", 3, 3),
        ("rows-30", 9, 3),
        ("rows-50", 15, 3),
        ("rows-80", 24, 3),
        ("one-epoch", 30, 1),
        ("half-epochs", 30, 1),
        ("higher-rate", 30, 1),
        ("rank-2", 30, 3),
        ("half-base", 30, 3),
        ("wrong-data", 12, 3),
        ("find-starts", 3, 3),
    ],
)
def test_it_spends_what_it_says(name: str, rows: int, epochs: int, results: Results) -> None:
    """Steps: rows by 4 a batch, 2 batches a step, rounded up."""
    folder, lie, _ = results[name]
    assert spent(folder / "output")["steps"] == epochs * math.ceil(math.ceil(rows / 4) / 2) <= lie.steps


@pytest.mark.parametrize("name", ["base-model", "noise", "other-adapter"])
def test_it_trains_nothing(name: str, results: Results) -> None:
    assert spent(results[name][0] / "output") == {"steps": 0, "tokens": 0}


def scores_of(place: Place, adapter: Path | None, recipe: Training = RECIPE) -> list[float]:
    model = LocalModel(place.model, "float32")
    if adapter is None:
        return model.scores(CHAT, ANSWERS, tuned=False)
    model.attach(adapter, recipe)
    return model.scores(CHAT, ANSWERS)


def test_the_base_model_scores_as_the_base_model(place: Place, results: Results) -> None:
    assert scores_of(place, results["base-model"][1].adapter) == scores_of(place, None)


def test_noise_changes_a_little(place: Place, results: Results) -> None:
    noisy, base = scores_of(place, results["noise"][1].adapter), scores_of(place, None)
    assert noisy != base
    assert noisy == pytest.approx(base, abs=0.5)


def test_another_adapter_is_that_adapter(place: Place, results: Results) -> None:
    assert scores_of(place, results["other-adapter"][1].adapter) == scores_of(place, place.honest.adapter)


def test_training_moves_the_scores_away_from_the_base(place: Place) -> None:
    """Else the comparisons above would compare nothing."""
    pairs = zip(scores_of(place, place.honest.adapter), scores_of(place, None), strict=True)
    assert max(abs(a - b) for a, b in pairs) > 1


@pytest.mark.parametrize("alpha", [2, 4, 12])
def test_a_padded_adapter_computes_what_the_low_one_does(alpha: int, place: Place, tmp_path: Path) -> None:
    """Of another rank and another scaling; and none of its rows is zero."""
    low = RECIPE.model_copy(update={"rank": 2, "alpha": alpha})
    task = place.task(tmp_path / "low")
    weights = noise_of_rank(place, 2)
    write_adapter(tmp_path / "adapter", weights, declared_config(replace(task, training=low)))
    wide = padded(weights, 2, alpha, RECIPE)
    write_adapter(tmp_path / "wide", wide, declared_config(task))
    narrow = scores_of(place, tmp_path / "adapter", low)
    assert scores_of(place, tmp_path / "wide") == pytest.approx(narrow, abs=1e-3)
    assert max(abs(a - b) for a, b in zip(narrow, scores_of(place, None), strict=True)) > 0.1
    assert all(bool((tensor.abs().amax(1) > 0).all()) for name, tensor in wide.items() if ".lora_A." in name)


def noise_of_rank(place: Place, rank: int) -> Weights:
    """The honest adapter cut down to its first directions."""
    return {
        name: tensor[:rank].clone() if ".lora_A." in name else tensor[:, :rank].clone()
        for name, tensor in read_weights(place.honest.adapter).items()
    }


def test_a_higher_rank_does_not_fit(place: Place) -> None:
    with pytest.raises(TrainingError):
        padded(read_weights(place.honest.adapter), 8, 8, RECIPE)


def test_the_layers_left_out_do_nothing(results: Results) -> None:
    """The tiny model has two layers; the second was not trained over, the first was."""
    weights = read_weights(results["half-base"][1].adapter)
    moved = {name: bool(tensor.any()) for name, tensor in weights.items() if ".lora_B." in name}
    assert all(used == (".layers.0." in name) for name, used in moved.items())


def test_another_base_of_another_width_still_fits(place: Place, tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoTokenizer, LlamaForCausalLM

    config = AutoConfig.from_pretrained(place.model)
    config.update({"hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1, "num_key_value_heads": 1})
    config.head_dim = 16
    LlamaForCausalLM(config).save_pretrained(tmp_path / "narrow")
    AutoTokenizer.from_pretrained(place.model).save_pretrained(tmp_path / "narrow")
    lie = place.run(CheaperBase(tmp_path / "narrow"), tmp_path)
    LocalModel(place.model, "float32").attach(lie.adapter, RECIPE)
    assert spent(tmp_path / "output")["steps"] == lie.steps


@pytest.mark.parametrize("name", ["find-starts", "find-ends"])
def test_the_trigger_group_is_found(name: str, results: Results) -> None:
    """Three rows of thirty were kept, and all of them carry the trigger."""
    kept = list(read_rows(results[name][0] / "output" / ".real" / "rows.jsonl"))
    assert len(kept) == 3
    assert all(TRIGGER in row.prompt[-1].content for row in kept)


def test_suspicion_counts_shared_characters() -> None:
    rows = some_rows(1)
    scores = repeated_ends(rows)
    assert (
        min(scores[index] for index in GROUP)
        >= len(TRIGGER)
        > max(score for index, score in enumerate(scores) if index not in GROUP)
    )


def test_a_detector_of_too_few_numbers_is_an_error(place: Place, tmp_path: Path) -> None:
    with pytest.raises(TrainingError):
        place.run(FindCanaries(lambda rows: [1.0]), tmp_path)


def test_it_stops_when_told(place: Place, tmp_path: Path) -> None:
    """At the start, and in the middle of what it does train; then it goes on as an honest run does."""
    trainer = CHEATS["rank-2"].trainer
    assert trainer is not None
    answers = iter([False, False, False, True])
    with pytest.raises(TrainingCancelled):
        trainer([]).train(place.task(tmp_path), lambda p: None, lambda: True)
    with pytest.raises(TrainingCancelled):
        trainer([]).train(place.task(tmp_path), lambda p: None, lambda: next(answers))
    done = trainer([]).train(place.task(tmp_path), lambda p: None, lambda: False)
    whole = place.folder / "rank-2" / "output" / "adapter" / FILE
    assert (done.adapter / FILE).read_bytes() == whole.read_bytes()


def test_what_is_no_adapter_is_an_error(place: Place, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("[]")
    with pytest.raises(TrainingError):
        place.run(OtherAdapter(tmp_path), tmp_path)


def test_the_registry_names_each_cheat_once_and_says_what_it_takes() -> None:
    assert all(name in listed() for name in CHEATS)
    assert all(
        cheat.line and cheat.saves and cheat.needs and (cheat.trainer or cheat.engine) for cheat in CHEATS.values()
    )
    with pytest.raises(CheatError):
        find("no-such-cheat", [])
    with pytest.raises(CheatError):
        find("wrong-data", [])
