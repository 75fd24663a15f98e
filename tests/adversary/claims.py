"""How a cheating trainer lies consistently: it claims the steps, rows, tokens and files of an honest run.

All figures of a receipt follow from the recipe, the data set and the tokenizer, so they cost a cheater seconds; only
the losses are made up. `Workshop` is where it trains what it does train, out of the receipt's sight.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from veritune.common.dataset import Row, read_rows, write_rows
from veritune.common.documents.receipts import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from veritune.provider.hardware.precision import pick_precision
from veritune.provider.models.chat import ChatFormat
from veritune.provider.training.base import Progress, StepRecord, TrainingResult, TrainingTask
from veritune.provider.training.batching import LengthGroupedBatches
from veritune.provider.training.data import tokenise
from veritune.provider.training.environment import hardware, software
from veritune.provider.training.transformers_trainer import TransformersTrainer, with_adapter

if TYPE_CHECKING:
    import torch

Weights = dict[str, "torch.Tensor"]
"""A LoRA adapter by tensor name, ``...lora_A.weight`` [rank, in] and ``...lora_B.weight`` [out, rank]."""
OnProgress = Callable[[Progress], None]
Cancelled = Callable[[], bool]

CONFIG, FILE = ADAPTER_CONFIG, ADAPTER_WEIGHTS
_HIDDEN = ".real"
"""Folder under the task's output; the daemon reads nothing whose name begins with a dot."""


@dataclass(frozen=True)
class Claim:
    """What an honest run of a task would have counted."""

    batches: tuple[tuple[int, ...], ...]
    """Of every optimiser step the rows, by index in the data set."""
    epochs: int
    tokens: int
    label_tokens: int
    rows: int
    dropped: int
    cut: int

    @classmethod
    def of(cls, task: TrainingTask) -> Claim:
        """Counts without training. Raises what the honest trainer raises for rows that can't be trained on."""
        training = task.training
        chat = ChatFormat.load(task.base_model)
        data = tokenise(task.dataset, chat, training.max_sequence_length, task.max_cut_rows)
        sampler = LengthGroupedBatches([len(row) for row in data.rows], training.batch_size, training.seed)
        steps: list[tuple[int, ...]] = []
        for epoch in range(training.epochs):
            sampler.set_epoch(epoch)
            batches = [[data.rows[place].index for place in batch] for batch in sampler]
            joined = training.gradient_accumulation
            steps += [tuple(chain.from_iterable(batches[at : at + joined])) for at in range(0, len(batches), joined)]
        return cls(
            batches=tuple(steps),
            epochs=training.epochs,
            tokens=training.epochs * sum(len(row) for row in data.rows),
            label_tokens=training.epochs * sum(label >= 0 for row in data.rows for label in row.labels),
            rows=len(data.rows),
            dropped=data.dropped,
            cut=data.cut,
        )

    @property
    def steps(self) -> int:
        """Optimiser steps."""
        return len(self.batches)

    def progress(self, done: int, of: int) -> Progress:
        """What a watcher is told when ``done`` of ``of`` real steps are done."""
        step = self.steps * done // of
        return Progress(step, self.steps, self.epochs * step / self.steps, _loss(step, self.steps), self._seen(step))

    def deliver(self, task: TrainingTask, weights: Weights) -> TrainingResult:
        """Writes adapter and checkpoints, one an epoch as an honest run does, and makes up the trace."""
        config, per_epoch = declared_config(task), self.steps // self.epochs
        checkpoints = []
        for epoch in range(1, self.epochs + 1):
            folder = task.output / f"checkpoint-{epoch * per_epoch}"
            write_adapter(folder, _grown(weights, epoch / self.epochs, epoch), config)
            checkpoints.append(folder)
        adapter = task.output / "adapter"
        write_adapter(adapter, weights, config)
        noise = random.Random(task.training.seed)
        trace = [
            StepRecord(step, rows, f"{_loss(step, self.steps) * noise.uniform(0.9, 1.1):.6f}")
            for step, rows in enumerate(self.batches, start=1)
        ]
        return TrainingResult(
            adapter=adapter,
            checkpoints=tuple(checkpoints),
            steps=self.steps,
            tokens=self.tokens,
            label_tokens=self.label_tokens,
            rows_trained=self.rows,
            rows_dropped=self.dropped,
            rows_cut=self.cut,
            trace=tuple(trace),
            software=software(),
            hardware=hardware(pick_precision(task.training.precision)),
        )

    def _seen(self, step: int) -> int:
        return self.tokens * step // self.steps


@dataclass(frozen=True)
class Workshop:
    """Where a cheat spends what it can't avoid to spend."""

    task: TrainingTask
    claim: Claim
    on_progress: OnProgress
    cancelled: Cancelled

    @property
    def folder(self) -> Path:
        """Kept between restarts, so that real training goes on as an honest one does."""
        return self.task.output / _HIDDEN

    def rows(self) -> list[Row]:
        """The data set that the client sent."""
        return list(read_rows(self.task.dataset))

    def train(self, rows: Sequence[Row] | None = None, base: Path | None = None, **recipe: Any) -> Weights:
        """Trains for real on ``rows`` (the client's own if None) with the contract's recipe but for ``recipe``."""
        dataset = self.task.dataset
        self.folder.mkdir(parents=True, exist_ok=True)
        if rows is not None:
            dataset = self.folder / "rows.jsonl"
            write_rows(dataset, rows)
        task = replace(
            self.task,
            base_model=base or self.task.base_model,
            dataset=dataset,
            output=self.folder / "output",
            training=self.task.training.model_copy(update=recipe),
        )
        report = self.on_progress
        done = TransformersTrainer().train(
            task, lambda real: report(self.claim.progress(real.step, real.total_steps)), self.cancelled
        )
        (self.folder / "spent.json").write_text(json.dumps({"steps": done.steps, "tokens": done.tokens}))
        return read_weights(done.adapter)

    def blank(self) -> Weights:
        """The adapter that the declared recipe starts from: A as the contract's seed draws it, B zero."""
        from peft import get_peft_model_state_dict
        from transformers import AutoModelForCausalLM, set_seed

        set_seed(self.task.training.seed)
        base = AutoModelForCausalLM.from_pretrained(
            self.task.base_model, dtype=self.dtype, local_files_only=True, trust_remote_code=False
        )
        found: Weights = get_peft_model_state_dict(with_adapter(base, self.task))
        return found

    @property
    def dtype(self) -> torch.dtype:
        """What an honest run's adapter is stored in."""
        import torch

        found: torch.dtype = getattr(torch, pick_precision(self.task.training.precision))
        return found


def spent(output: Path) -> dict[str, int]:
    """Steps and tokens that a cheating run under ``output`` really took; zeros where it trained nothing."""
    path = output / _HIDDEN / "spent.json"
    return json.loads(path.read_bytes()) if path.exists() else {"steps": 0, "tokens": 0}


def read_weights(folder: Path) -> Weights:
    """The tensors of an adapter folder."""
    from safetensors.torch import load_file

    return load_file(folder / FILE)


def declared_config(task: TrainingTask) -> Any:
    """The ``LoraConfig`` that an honest run of a task delivers, found on a copy of the model without weights."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        bare = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(task.base_model, local_files_only=True))
        config = with_adapter(bare, task).peft_config["default"]
    config.inference_mode = True
    return config


def write_adapter(folder: Path, weights: Weights, config: Any) -> None:
    """The two files of an adapter, whatever the weights are."""
    from safetensors.torch import save_file

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config.save_pretrained(folder)
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, folder / FILE, {"format": "pt"})


def _grown(weights: Weights, share: float, epoch: int) -> Weights:
    """The adapter as if only a share of the way to it had been gone; no two epochs have the same digest."""
    import torch

    noise = torch.Generator().manual_seed(epoch)

    def part(name: str, tensor: torch.Tensor) -> torch.Tensor:
        if ".lora_B." in name:
            return tensor * share
        jitter = torch.randn(tensor.shape, generator=noise).to(tensor.dtype) * 1e-3 * (1 - share)
        return tensor + jitter * tensor.abs().mean()

    return {name: part(name, tensor) for name, tensor in weights.items()}


def _loss(step: int, of: int) -> float:
    """A curve that falls as such curves do, in nats a token."""
    return float(0.2 + 2.8 * (1.0 - step / of) ** 2)
