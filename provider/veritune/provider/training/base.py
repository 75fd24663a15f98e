"""What the daemon asks of a trainer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from veritune.common.documents.manifest import Training


@dataclass(frozen=True)
class TrainingTask:
    """One job as the child process gets it."""

    base_model: Path
    dataset: Path
    """Canonical JSONL: one ``{"messages": [...], "source": ...}`` object a line."""
    output: Path
    """Folder for checkpoints and, in the end, ``adapter/`` in PEFT's format."""
    training: Training
    threads: int = 0
    """Torch threads; 0 leaves torch's own choice."""
    max_cut_rows: int | None = None
    """Rows that may be longer than the recipe's sequence length; None: any number."""


@dataclass(frozen=True)
class Progress:
    """One event of a run, streamed to the watcher."""

    step: int
    total_steps: int
    epoch: float
    loss: float
    tokens: int
    """Unpadded tokens seen so far."""


@dataclass(frozen=True)
class StepRecord:
    """One optimiser step for the training trace: which rows it saw, by index in the data set, and its loss."""

    step: int
    rows: tuple[int, ...]
    loss: str


@dataclass(frozen=True)
class TrainingResult:
    """What a receipt will say about a finished run."""

    adapter: Path
    checkpoints: tuple[Path, ...]
    steps: int
    tokens: int
    label_tokens: int
    rows_trained: int
    rows_dropped: int
    rows_cut: int
    trace: tuple[StepRecord, ...]
    software: dict[str, str] = field(default_factory=dict)
    hardware: dict[str, str] = field(default_factory=dict)


class Trainer(Protocol):
    """Trains an adapter, going on from the newest whole checkpoint under ``task.output`` where there is one."""

    def train(
        self, task: TrainingTask, on_progress: Callable[[Progress], None], cancelled: Callable[[], bool]
    ) -> TrainingResult:
        """Raises `TrainingCancelled` at the next step once ``cancelled()`` is true, a checkpoint written."""


class TrainingCancelled(Exception):  # noqa: N818 - it is an outcome, not an error
    """The run stopped because it was asked to. Internal: the job ends as cancelled."""
