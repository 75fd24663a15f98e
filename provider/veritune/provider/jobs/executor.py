"""The interface between training jobs and the machines that train: this one, or those of a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from veritune.common.documents.manifest import Training
from veritune.provider.training.worker_protocol import ProgressEvent, WorkerResult

ProgressListener = Callable[[ProgressEvent], Awaitable[None]]
"""A function that is awaited with each progress event of a run."""


@dataclass(frozen=True)
class TrainingOrder:
    """The model, data set and recipe of a training run; paths are those of the daemon's machine.

    An executor that trains elsewhere copies both there itself, and may keep the copies by their digests.
    """

    base_model: Path
    """Folder of the base model."""
    dataset: Path
    """The data set file in canonical JSONL, as in `TrainingTask`."""
    training: Training
    """The contract's recipe."""
    max_cut_rows: int | None = None
    """Most rows that may be longer than the recipe's sequence length; None: any number."""


@dataclass(frozen=True)
class RunEnd:
    """How one run of a training task ended.

    ``finished``: the trainer says that its output is complete. ``stopped``: it was asked to stop, and another run can
    continue from its checkpoint. ``failed``: ``message`` says why, in words that the client may read.
    """

    how: Literal["finished", "stopped", "failed"]
    message: str = ""


@dataclass(frozen=True)
class TrainedOutput:
    """The files and figures of a finished run, on the daemon's machine."""

    result: WorkerResult
    """The figures that the trainer reports, and the names of its adapter and checkpoints."""
    folder: Path
    """The folder that holds the adapter and the checkpoints."""
    trace: Path
    """The training trace, one canonical JSON record a line, which `read_trace` checks."""


class Executor(Protocol):
    """Runs training tasks. Runs of different jobs may overlap; a job has at most one run at a time.

    An executor keeps checkpoints by job, also across restarts of the daemon, so that another run of a job continues
    from the newest one. It keeps the trainer's log where the operator can read it.
    """

    async def run(
        self, job_id: str, order: TrainingOrder, stop: asyncio.Event, on_progress: ProgressListener
    ) -> RunEnd:
        """The end of one training run; none of its processes is left when this returns.

        ``on_progress`` is awaited for each step that is reported; an exception of it ends the run and is raised here.
        Once ``stop`` is set, the trainer is asked to write a checkpoint and end, and is killed if it takes too long. If
        the caller is cancelled, the run is killed at once.
        """

    async def collect(self, job_id: str) -> TrainedOutput | None:
        """The output of a job's finished run, on the daemon's machine; None if no run of the job has finished.

        The run may have finished under an earlier daemon. Raises `WorkerResultError` for output that can't be used.
        """
