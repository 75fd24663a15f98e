"""The trainer on a tiny model: what it learns, what it counts, and that a restart changes nothing."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.errors import fails
from tests.support.tinymodel import make_tiny_model
from veritune.common.dataset import Message, Row, write_rows
from veritune.common.documents.manifest import Optimizer, Training
from veritune.common.errors import TrainingError
from veritune.provider.training.base import Progress, TrainingCancelled, TrainingResult, TrainingTask
from veritune.provider.training.transformers_trainer import TransformersTrainer

pytestmark = pytest.mark.heavy

WORDS = (
    "the",
    "lamp",
    "kitchen",
    "printer",
    "order",
    "parcel",
    "colour",
    "Lisbon",
    "mugs",
    "broken",
    "seven",
    "river",
    "dark",
    "old",
    "books",
)


def recipe(**changes: object) -> Training:
    fields: dict[str, object] = {
        "rank": 4,
        "alpha": 16,
        "epochs": 2,
        "batch_size": 4,
        "optimizer": Optimizer(learning_rate="0.01"),
        "max_sequence_length": 128,
        "seed": 5,
        "precision": "float32",
    }
    return Training.model_validate(fields | changes)


def write_data(path: Path, rows: int = 18) -> Path:
    draw = random.Random(1)
    chats = [
        Row(
            messages=(
                Message(role="user", content=" ".join(draw.choices(WORDS, k=draw.randrange(3, 20)))),
                Message(role="assistant", content=" ".join(draw.choices(WORDS, k=draw.randrange(1, 8)))),
            )
        )
        for _ in range(rows)
    ]
    write_rows(path, chats)
    return path


def never() -> bool:
    return False


def train(
    model: Path,
    data: Path,
    output: Path,
    training: Training,
    cancelled: Callable[[], bool] = never,
    seen: list[Progress] | None = None,
) -> TrainingResult:
    task = TrainingTask(base_model=model, dataset=data, output=output, training=training, threads=1)
    return TransformersTrainer().train(task, (seen if seen is not None else []).append, cancelled)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "data.jsonl")


def after(steps: int) -> Callable[[], bool]:
    """Says stop when asked for the given number of steps; the first question comes before the first step."""
    left = [steps]

    def cancelled() -> bool:
        left[0] -= 1
        return left[0] < 0

    return cancelled


def test_loss_falls_and_every_row_is_seen_once_an_epoch(data: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    model = make_tiny_model(tmp_path / "model", initializer_range=0.2)
    result = train(model, data, tmp_path / "out", recipe(epochs=6), seen=seen)
    losses = [float(record.loss) for record in result.trace]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    assert result.steps == len(result.trace) == 6 * 5 == seen[-1].total_steps
    for epoch in range(6):
        rows = [row for record in result.trace[epoch * 5 : epoch * 5 + 5] for row in record.rows]
        assert Counter(rows) == Counter(range(18))
    assert [record.step for record in result.trace] == [progress.step for progress in seen] == list(range(1, 31))
    assert seen[-1].tokens == result.tokens > result.label_tokens > 0
    assert seen[-1].epoch == pytest.approx(6)
    assert [path.name for path in result.checkpoints] == [f"checkpoint-{5 * epoch}" for epoch in range(1, 7)]
    assert result.hardware["precision"] == "float32"
    assert {"torch", "peft", "transformers"} <= set(result.software)


def test_adapter_folder_holds_two_files_and_no_path(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    result = train(tiny_model, data, tmp_path / "out", recipe(epochs=1))
    assert sorted(path.name for path in result.adapter.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    text = (result.adapter / "adapter_config.json").read_text(encoding="utf-8")
    assert json.loads(text)["base_model_name_or_path"] == tiny_model.name
    assert str(tiny_model.parent) not in text


def test_adapter_changes_the_answers_of_the_base_model(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    result = train(tiny_model, data, tmp_path / "out", recipe(epochs=1))
    base = AutoModelForCausalLM.from_pretrained(tiny_model)
    ids = torch.arange(20)[None]
    before = base(input_ids=ids).logits.detach()
    tuned = PeftModel.from_pretrained(base, str(result.adapter))
    assert (tuned(input_ids=ids).logits - before).abs().max() > 0.01


def test_same_seed_gives_the_same_bytes_and_another_seed_others(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    first = train(tiny_model, data, tmp_path / "a", recipe())
    again = train(tiny_model, data, tmp_path / "b", recipe())
    other = train(tiny_model, data, tmp_path / "c", recipe(seed=6))
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert (first.adapter / name).read_bytes() == (again.adapter / name).read_bytes()
    weights = "adapter_model.safetensors"
    assert (first.adapter / weights).read_bytes() != (other.adapter / weights).read_bytes()
    assert first.trace == again.trace != other.trace


@pytest.mark.parametrize("steps", [1, 5, 7])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_cancelled_and_resumed_run_ends_as_if_never_stopped(
    tiny_model: Path, data: Path, tmp_path: Path, steps: int, precision: str
) -> None:
    training = recipe(precision=precision, epochs=2, dropout="0.1")
    whole = train(tiny_model, data, tmp_path / "whole", training)
    with pytest.raises(TrainingCancelled):
        train(tiny_model, data, tmp_path / "parts", training, cancelled=after(steps))
    assert (tmp_path / "parts" / f"checkpoint-{steps}").is_dir()
    parts = train(tiny_model, data, tmp_path / "parts", training)
    weights = "adapter_model.safetensors"
    assert (parts.adapter / weights).read_bytes() == (whole.adapter / weights).read_bytes()
    assert parts.trace == whole.trace
    assert (parts.tokens, parts.label_tokens) == (whole.tokens, whole.label_tokens)


def test_gradient_accumulation_joins_the_rows_of_its_batches(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    training = recipe(batch_size=2, gradient_accumulation=2, epochs=2)
    result = train(tiny_model, data, tmp_path / "whole", training)
    assert [len(record.rows) for record in result.trace] == [4, 4, 4, 4, 2] * 2
    with pytest.raises(TrainingCancelled):
        train(tiny_model, data, tmp_path / "parts", training, cancelled=after(7))
    assert train(tiny_model, data, tmp_path / "parts", training).trace == result.trace


def test_half_written_and_foreign_checkpoints_are_ignored(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    whole = train(tiny_model, data, tmp_path / "whole", recipe())
    out = tmp_path / "out"
    with pytest.raises(TrainingCancelled):
        train(tiny_model, data, out, recipe(), cancelled=after(3))
    (out / "checkpoint-9").mkdir()
    (out / "checkpoint-9" / "adapter_model.safetensors").write_bytes(b"half")
    assert train(tiny_model, data, out, recipe()).trace == whole.trace

    with pytest.raises(TrainingCancelled):
        train(tiny_model, data, tmp_path / "other", recipe(seed=9), cancelled=after(3))
    assert train(tiny_model, data, tmp_path / "other", recipe()).trace == whole.trace


def test_finished_run_can_be_asked_for_again(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    first = train(tiny_model, data, tmp_path / "out", recipe())
    weights = (first.adapter / "adapter_model.safetensors").read_bytes()
    again = train(tiny_model, data, tmp_path / "out", recipe())
    assert again.trace == first.trace
    assert (again.adapter / "adapter_model.safetensors").read_bytes() == weights


def test_cancelled_before_the_start_trains_nothing(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingCancelled):
        train(tiny_model, data, tmp_path / "out", recipe(), cancelled=lambda: True)
    assert not (tmp_path / "out").exists()


def test_long_rows_are_cut_or_dropped_and_counted(tiny_model: Path, tmp_path: Path) -> None:
    def row(prompt: str, answer: str) -> Row:
        return Row(messages=(Message(role="user", content=prompt), Message(role="assistant", content=answer)))

    rows = [row("the lamp", "yes"), row("the lamp", "lamp " * 60), row("lamp " * 60, "yes")]
    write_rows(tmp_path / "data.jsonl", rows)
    result = train(tiny_model, tmp_path / "data.jsonl", tmp_path / "out", recipe(max_sequence_length=48, epochs=1))
    assert (result.rows_trained, result.rows_cut, result.rows_dropped) == (2, 1, 1)
    assert sorted(index for record in result.trace for index in record.rows) == [0, 1]

    write_rows(tmp_path / "long.jsonl", rows[2:])
    with fails(TrainingError, cause="no_rows"):
        train(tiny_model, tmp_path / "long.jsonl", tmp_path / "none", recipe(max_sequence_length=48))


def test_unknown_target_modules_and_runaway_loss_are_training_errors(
    tiny_model: Path, data: Path, tmp_path: Path
) -> None:
    with fails(TrainingError, cause="target_modules"):
        train(tiny_model, data, tmp_path / "a", recipe(target_modules=("no_such_projection",)))
    wild = Optimizer(learning_rate="1e30", max_grad_norm="0")
    with fails(TrainingError, cause="loss"):
        train(tiny_model, data, tmp_path / "b", recipe(optimizer=wild, epochs=20, alpha=4096))


def test_named_target_modules_and_every_schedule(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    for schedule in ("constant", "linear", "cosine"):
        training = recipe(target_modules=("q_proj", "v_proj"), schedule=schedule, warmup_steps=2, epochs=1)
        result = train(tiny_model, data, tmp_path / schedule, training)
        config = json.loads((result.adapter / "adapter_config.json").read_text(encoding="utf-8"))
        assert config["target_modules"] == ["q_proj", "v_proj"]
        assert result.steps == 5
