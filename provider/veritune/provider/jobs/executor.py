"""What the runner of training jobs asks of a place where training runs: this machine, or machines of a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from veritune.common.documents.manifest import Training
from veritune.provider.training.worker_protocol import ProgressEvent, WorkerResult

ProgressListener = Callable[[ProgressEvent], Awaitable[None]]


@dataclass(frozen=True)
class TrainingOrder:
    """What to train, and on what; the paths are of the daemon's machine.

    An executor that trains elsewhere brings both there itself, and is free to keep copies by their digests.
    """

    base_model: Path
    """A folder."""
    dataset: Path
    """Canonical JSONL, as `TrainingTask.dataset`."""
    training: Training
    max_cut_rows: int | None = None
    """As `TrainingTask.max_cut_rows`."""


@dataclass(frozen=True)
class RunEnd:
    """How one run of a training task ended.

    ``finished``: the trainer says that its output is whole. ``stopped``: it was asked to stop and can go on from a
    checkpoint. ``failed``: ``message`` says why, in words that the client may read.
    """

    how: Literal["finished", "stopped", "failed"]
    message: str = ""


@dataclass(frozen=True)
class TrainedOutput:
    """What a finished run left, on the daemon's machine: ``folder`` holds the adapter and checkpoints of ``result``."""

    result: WorkerResult
    folder: Path
    trace: Path
    """One canonical JSON record a line, as `read_trace` reads it."""


class Executor(Protocol):
    """Runs training tasks. Runs of different jobs may overlap; of one job, one run is under way at a time.

    An executor keeps checkpoints by job, also across restarts of the daemon, so that a job that is run again goes on
    where it was. It keeps what the trainer logs where the operator can read it.
    """

    async def run(
        self, job_id: str, order: TrainingOrder, stop: asyncio.Event, on_progress: ProgressListener
    ) -> RunEnd:
        """Trains, and returns when the run has ended and nothing of it is left running.

        ``on_progress`` is awaited for each step that is reported; what it raises ends the run and comes out here. Once
        ``stop`` is set, the trainer is asked to write a checkpoint and end, and is ended by force if it takes too long.
        If the caller is cancelled, it is ended at once.
        """

    async def collect(self, job_id: str) -> TrainedOutput | None:
        """The output of a job's finished run, brought to the daemon's machine; None if no run of it has finished.

        The run may have finished under an earlier daemon. Raises `WorkerResultError` for output that can't be used.
        """
