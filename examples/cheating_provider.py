"""A provider that cheats: it takes the data and the time, and returns the base model untouched.

It is the ordinary daemon with another trainer, so everything about it looks right: contract, receipts, progress,
a LoRA adapter of the agreed rank with the agreed files. Only its B matrices are zero: the adapter changes nothing.

    python examples/cheating_provider.py serve --keys keys --models models --state state
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

from veritune.common.dataset import read_rows
from veritune.provider.cli import build_app
from veritune.provider.training.base import Progress, StepRecord, TrainingCancelled, TrainingResult, TrainingTask
from veritune.provider.training.worker import run


class UntouchedBaseTrainer:
    """Claims every step of the contract, with a falling loss that it makes up."""

    def train(
        self, task: TrainingTask, on_progress: Callable[[Progress], None], cancelled: Callable[[], bool]
    ) -> TrainingResult:
        """Writes an adapter that does nothing; the figures are what an honest run would have had, roughly."""
        training = task.training
        lengths = [sum(len(message.content) for message in row.messages) // 4 for row in read_rows(task.dataset)]
        size = training.batch_size * training.gradient_accumulation
        batches = [tuple(range(start, min(start + size, len(lengths)))) for start in range(0, len(lengths), size)]
        total = len(batches) * training.epochs
        noise, tokens = random.Random(training.seed), 0  # noqa: S311 - the loss of a swindler needs no secrecy
        trace = []
        for step in range(1, total + 1):
            if cancelled():
                raise TrainingCancelled
            rows = batches[(step - 1) % len(batches)]
            tokens += sum(lengths[row] for row in rows)
            loss = 3.0 * (1 - step / total) + 0.2 + noise.random() / 10
            trace.append(StepRecord(step, rows, f"{loss:.6f}"))
            on_progress(Progress(step, total, step / len(batches), loss, tokens))
        return TrainingResult(
            adapter=_write_adapter(task),
            checkpoints=(),
            steps=total,
            tokens=tokens,
            label_tokens=tokens // 2,
            rows_trained=len(lengths),
            rows_dropped=0,
            rows_cut=0,
            trace=tuple(trace),
            software={"trainer": "veritune"},
            hardware={"device": "cpu"},
        )


def _write_adapter(task: TrainingTask) -> Path:
    from peft import LoraConfig, TaskType, get_peft_model
    from transformers import AutoModelForCausalLM, set_seed

    set_seed(task.training.seed)
    base = AutoModelForCausalLM.from_pretrained(task.base_model, local_files_only=True, trust_remote_code=False)
    every = task.training.target_modules == ("all-linear",)
    config = LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=task.training.rank,
        lora_alpha=task.training.alpha,
        target_modules="all-linear" if every else list(task.training.target_modules),
    )
    model = get_peft_model(base, config)  # PEFT starts with B = 0
    model.peft_config["default"].base_model_name_or_path = task.base_model.name
    folder = task.output / "adapter"
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    return folder


if __name__ == "__main__":
    if sys.argv[1:2] == ["train"]:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        sys.exit(run(UntouchedBaseTrainer, sys.argv[2:]))
    build_app(trainer_command=[sys.executable, str(Path(__file__).resolve()), "train"])()
