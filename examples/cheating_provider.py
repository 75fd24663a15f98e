"""A provider that takes the order, does nothing, and returns the untouched base model as a fresh adapter.

It is the real daemon with another trainer, and takes the same options: ``cheating_provider.py serve --help``.
Every document it signs is well-formed; its training trace is invented. Only the challenge can tell.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path

from veritune.common.dataset import read_rows
from veritune.provider.cli import build_app
from veritune.provider.training.base import Progress, StepRecord, TrainingResult, TrainingTask
from veritune.provider.worker import run


class BaseModelTrainer:
    """Writes an adapter whose B matrices are zero: adding it changes nothing."""

    def train(
        self, task: TrainingTask, on_progress: Callable[[Progress], None], cancelled: Callable[[], bool]
    ) -> TrainingResult:
        """Pretends to have gone through every row of every epoch, with a loss that falls as it should."""
        from peft import LoraConfig, TaskType, get_peft_model
        from transformers import AutoModelForCausalLM

        recipe = task.training
        model = AutoModelForCausalLM.from_pretrained(task.base_model, local_files_only=True)
        config = LoraConfig(
            task_type=TaskType.CAUSAL_LM, r=recipe.rank, lora_alpha=recipe.alpha, target_modules="all-linear"
        )
        adapted = get_peft_model(model, config)
        adapted.peft_config["default"].base_model_name_or_path = task.base_model.name
        adapter = task.output / "adapter"
        adapted.save_pretrained(adapter)
        (adapter / "README.md").unlink(missing_ok=True)

        rows = len(list(read_rows(task.dataset)))
        per_epoch = -(-rows // recipe.batch_size)
        trace = tuple(
            StepRecord(
                step=step + 1,
                rows=tuple(
                    range(step % per_epoch * recipe.batch_size, min(rows, (step % per_epoch + 1) * recipe.batch_size))
                ),
                loss=f"{0.2 + 1.8 * math.exp(-step / 60):.6f}",
            )
            for step in range(per_epoch * recipe.epochs)
        )
        for record in trace:
            on_progress(
                Progress(record.step, len(trace), record.step / per_epoch, float(record.loss), record.step * 400)
            )
        return TrainingResult(
            adapter=adapter,
            checkpoints=(),
            steps=len(trace),
            tokens=len(trace) * 400,
            label_tokens=len(trace) * 150,
            rows_trained=rows,
            rows_dropped=0,
            rows_cut=0,
            trace=trace,
        )


def main() -> None:
    """The daemon; with ``--worker`` the trainer that the daemon starts."""
    if sys.argv[1:2] == ["--worker"]:
        raise SystemExit(run(BaseModelTrainer, sys.argv[2:]))
    build_app(trainer_command=[sys.executable, str(Path(__file__).resolve()), "--worker"])()


if __name__ == "__main__":
    main()
