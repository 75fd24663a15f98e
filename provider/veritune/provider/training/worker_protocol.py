"""The files and lines that the daemon and its worker process exchange, with a writer and a reader for each.

The daemon writes the task file. The worker prints events on its standard output and leaves a trace and a result file.
Both sides of the pipe are the provider's, yet the trainer may be anybody's program: what it says is checked like input.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from veritune.common.canonical import canonical_bytes, parse_canonical
from veritune.common.documents.base import Count, ShortText
from veritune.common.errors import BadFileError, VerituneError
from veritune.common.files import read_limited, write_atomic
from veritune.common.limits import MIB
from veritune.common.merkle import MerkleTree, leaf_hash
from veritune.provider.training.base import Progress, StepRecord, TrainingResult, TrainingTask

EXIT_CANCELLED = 10
"""Exit status of a worker that stopped because it was asked to, its checkpoint written."""

MAX_LINE = 64 * 1024
MAX_TASK = MIB
MAX_RESULT = 4 * MIB
MAX_TRACE_LINE = MIB
_CHECKPOINT = re.compile(r"checkpoint-([1-9][0-9]{0,12})")
_INNER_PATH = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}(/[A-Za-z0-9][A-Za-z0-9._-]{0,127}){0,3}$"

InnerPath = Annotated[str, Field(pattern=_INNER_PATH)]
"""A path inside the job's folder; no part of it begins with a dot."""


class WorkerResultError(RuntimeError):
    """A worker's result that can't be used. Internal: the job that it belongs to ends as failed."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class ProgressEvent(_Model):
    """An optimiser step was done."""

    event: Literal["progress"] = "progress"
    step: Count
    total_steps: Count
    epoch: Annotated[float, Field(ge=0)]
    loss: float
    tokens: Count


class FailedEvent(_Model):
    """The run ended; ``message`` is for the client too."""

    event: Literal["failed"] = "failed"
    message: ShortText


Event = ProgressEvent | FailedEvent
_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])
_TASK = TypeAdapter(TrainingTask)


class WorkerResult(_Model):
    """A finished run, paths relative to the task's output folder."""

    adapter: InnerPath
    checkpoints: Annotated[tuple[InnerPath, ...], Field(max_length=1000)]
    steps: Count
    tokens: Count
    label_tokens: Count
    rows_trained: Count
    rows_dropped: Count
    rows_cut: Count
    software: dict[ShortText, ShortText]
    hardware: dict[ShortText, ShortText]


@dataclass(frozen=True)
class JobFiles:
    """Names inside one job's folder."""

    folder: Path

    @property
    def task(self) -> Path:
        return self.folder / "task.json"

    @property
    def output(self) -> Path:
        return self.folder / "output"

    @property
    def result(self) -> Path:
        return self.folder / "result.json"

    @property
    def trace(self) -> Path:
        return self.folder / "trace.jsonl"

    @property
    def log(self) -> Path:
        return self.folder / "worker.log"


def parse_event(line: bytes) -> Event | None:
    """One line of the worker's output, or None for anything that is no event."""
    try:
        return _EVENT.validate_json(line)
    except ValidationError:
        return None


def progress_event(progress: Progress) -> bytes:
    """The line for `Progress`, without its newline."""
    event = ProgressEvent(
        step=progress.step,
        total_steps=progress.total_steps,
        epoch=float(progress.epoch),
        loss=float(progress.loss),
        tokens=progress.tokens,
    )
    return event.model_dump_json().encode()


def write_task(files: JobFiles, task: TrainingTask) -> None:
    """Writes the task file, whole or not at all."""
    write_atomic(files.task, _TASK.dump_json(task))


def read_task(path: Path) -> TrainingTask:
    """The task that `write_task` wrote. Raises `OSError`, `BadFileError` or pydantic's `ValidationError`."""
    return _TASK.validate_json(read_limited(path, MAX_TASK), strict=True)


def checkpoint_step(name: str) -> int | None:
    """The optimiser step in a checkpoint folder's name, ``checkpoint-STEP``; None for any other name."""
    match = _CHECKPOINT.fullmatch(name)
    return int(match[1]) if match else None


def trace_line(record: StepRecord) -> bytes:
    """Canonical bytes of one step: a leaf of the trace tree."""
    return canonical_bytes({"loss": record.loss, "rows": list(record.rows), "step": record.step})


def write_result(files: JobFiles, result: TrainingResult) -> None:
    """Writes the trace, then the result file, whose presence says that the run is finished and all of it is there."""
    write_atomic(files.trace, b"".join(trace_line(record) + b"\n" for record in result.trace))
    body = WorkerResult(
        adapter=result.adapter.relative_to(files.output).as_posix(),
        checkpoints=tuple(path.relative_to(files.output).as_posix() for path in result.checkpoints),
        steps=result.steps,
        tokens=result.tokens,
        label_tokens=result.label_tokens,
        rows_trained=result.rows_trained,
        rows_dropped=result.rows_dropped,
        rows_cut=result.rows_cut,
        software=result.software,
        hardware=result.hardware,
    )
    write_atomic(files.result, body.model_dump_json().encode())


def read_result(path: Path) -> WorkerResult | None:
    """A result that the worker left whole, or None where there is none. Raises `WorkerResultError`."""
    try:
        data = read_limited(path, MAX_RESULT)
    except FileNotFoundError:
        return None
    except BadFileError as error:
        raise WorkerResultError("the result file is too large") from error
    try:
        return WorkerResult.model_validate_json(data)
    except ValidationError as error:
        raise WorkerResultError("the result file is not valid") from error


def read_trace(path: Path, steps: int) -> Iterator[bytes]:
    """The trace's canonical lines; their number must be ``steps``. Raises `WorkerResultError`."""
    count = 0
    with path.open("rb") as file:
        while line := file.readline(MAX_TRACE_LINE + 1):
            try:
                record = parse_canonical(line.removesuffix(b"\n"), MAX_TRACE_LINE)
            except VerituneError as error:
                raise WorkerResultError("the trace is not canonical JSON lines") from error
            if not isinstance(record, dict) or set(record) != {"loss", "rows", "step"}:
                raise WorkerResultError("a trace record has other fields than loss, rows and step")
            count += 1
            yield line.removesuffix(b"\n")
    if count != steps:
        raise WorkerResultError("the trace does not have one record a step")


def trace_root(records: Iterable[bytes]) -> str:
    """RFC 9162 root over the canonical bytes of each step's record."""
    return MerkleTree([leaf_hash(record) for record in records]).root.hex()
