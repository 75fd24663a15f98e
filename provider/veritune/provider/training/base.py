"""The interface of trainers, with the values that they take and return."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from veritune.common.documents.manifest import Training


@dataclass(frozen=True)
class TrainingTask:
    """The model, data set, recipe and output folder of one training job."""

    base_model: Path
    """Folder of the base model."""
    dataset: Path
    """A file in canonical JSONL: one ``{"messages": [...], "source": ...}`` object a line."""
    output: Path
    """Folder for checkpoints and, in the end, ``adapter/`` in PEFT's format."""
    training: Training
    """The contract's recipe."""
    threads: int = 0
    """Number of torch's threads; 0: torch's own choice."""
    max_cut_rows: int | None = None
    """Most rows that may be longer than the recipe's sequence length; None: any number."""


@dataclass(frozen=True)
class Progress:
    """The progress of a run after an optimiser step."""

    step: int
    """Optimiser steps done, of ``total_steps``."""
    total_steps: int
    epoch: float
    """Epochs done, with a fraction."""
    loss: float
    """Mean loss of the step over its label tokens, in nats."""
    tokens: int
    """Unpadded tokens seen so far."""


@dataclass(frozen=True)
class StepRecord:
    """One optimiser step in the training trace: the rows it saw, by index in the data set, and its loss as text."""

    step: int
    rows: tuple[int, ...]
    loss: str


@dataclass(frozen=True)
class TrainingResult:
    """The files, figures and environment of a finished run, from which its training receipt is made."""

    adapter: Path
    """Folder of the adapter."""
    checkpoints: tuple[Path, ...]
    """Folders called ``checkpoint-STEP``, oldest first."""
    steps: int
    """Optimiser steps done."""
    tokens: int
    """Unpadded tokens seen."""
    label_tokens: int
    """Tokens seen that carry loss."""
    rows_trained: int
    rows_dropped: int
    """Rows with no label left after cutting, which were not trained on."""
    rows_cut: int
    """Rows that were trained on without their end, because they were too long."""
    trace: tuple[StepRecord, ...]
    """One record for each optimiser step."""
    software: dict[str, str] = field(default_factory=dict)
    """Version of each library, by name."""
    hardware: dict[str, str] = field(default_factory=dict)
    """The device and its settings, by name."""


class Trainer(Protocol):
    """Trains LoRA adapters, one task at a time."""

    def train(
        self, task: TrainingTask, on_progress: Callable[[Progress], None], cancelled: Callable[[], bool]
    ) -> TrainingResult:
        """The result of training an adapter from the newest complete checkpoint in ``task.output``, if there is one.

        ``on_progress`` is called after each optimiser step.

        Raises `TrainingCancelled` at the next step once ``cancelled()`` is true, after writing a checkpoint;
        `DatasetError` or `TrainingError` for rows or a recipe that can't be trained, and for a loss that isn't finite.
        """


class TrainingCancelled(Exception):  # noqa: N818 - it is an outcome, not an error
    """The trainer stopped because it was asked to. Internal: the worker exits with `EXIT_CANCELLED`."""
