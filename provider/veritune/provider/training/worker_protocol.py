"""The files and lines that the daemon and its worker process exchange, with a writer and a reader for each.

The daemon writes the task file. The worker prints events on its standard output and leaves a trace and a result file.
Both sides of the pipe are the provider's, yet the trainer may be anybody's program: its output is checked like input.
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
"""Exit status of a worker that was asked to stop and has written a checkpoint."""

MAX_LINE = 64 * 1024
"""Most bytes of an event."""
MAX_TASK = MIB
"""Most bytes of a task file."""
MAX_RESULT = 4 * MIB
"""Most bytes of a result file."""
MAX_TRACE_LINE = MIB
"""Most bytes of a line of the trace."""
_CHECKPOINT = re.compile(r"checkpoint-([1-9][0-9]{0,12})")
_INNER_PATH = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}(/[A-Za-z0-9][A-Za-z0-9._-]{0,127}){0,3}$"

InnerPath = Annotated[str, Field(pattern=_INNER_PATH)]
"""A path inside the job's folder; no part of it begins with a dot."""


class WorkerResultError(RuntimeError):
    """A worker's output can't be used. Internal: the job that it belongs to ends as failed."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class ProgressEvent(_Model):
    """The event after an optimiser step; its fields are those of `Progress`."""

    event: Literal["progress"] = "progress"
    step: Count
    total_steps: Count
    epoch: Annotated[float, Field(ge=0)]
    loss: float
    tokens: Count


class FailedEvent(_Model):
    """The event of a run that failed; ``message`` may be shown to the client."""

    event: Literal["failed"] = "failed"
    message: ShortText


Event = ProgressEvent | FailedEvent
"""One line of the worker's standard output."""
_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])
_TASK = TypeAdapter(TrainingTask)


class WorkerResult(_Model):
    """The result file of a finished run, as `TrainingResult`; paths are relative to the task's output folder."""

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
    """The paths of the files in one job's folder."""

    folder: Path

    @property
    def task(self) -> Path:
        """The task file, which the daemon writes."""
        return self.folder / "task.json"

    @property
    def output(self) -> Path:
        """The folder in which the worker writes checkpoints and the adapter."""
        return self.folder / "output"

    @property
    def result(self) -> Path:
        """The result file, which the worker writes last."""
        return self.folder / "result.json"

    @property
    def trace(self) -> Path:
        """The training trace: one canonical JSON record for each optimiser step."""
        return self.folder / "trace.jsonl"

    @property
    def log(self) -> Path:
        """The log: everything that the worker writes to standard error."""
        return self.folder / "worker.log"


def parse_event(line: bytes) -> Event | None:
    """The event in one line of the worker's output; None for a line that is no event."""
    try:
        return _EVENT.validate_json(line)
    except ValidationError:
        return None


def progress_event(progress: Progress) -> bytes:
    """The line of a progress event, without its newline."""
    event = ProgressEvent(
        step=progress.step,
        total_steps=progress.total_steps,
        epoch=float(progress.epoch),
        loss=float(progress.loss),
        tokens=progress.tokens,
    )
    return event.model_dump_json().encode()


def write_task(files: JobFiles, task: TrainingTask) -> None:
    """Writes the task file in one atomic step."""
    write_atomic(files.task, _TASK.dump_json(task))


def read_task(path: Path) -> TrainingTask:
    """The task that `write_task` wrote. Raises `OSError`, `BadFileError` or pydantic's `ValidationError`."""
    return _TASK.validate_json(read_limited(path, MAX_TASK), strict=True)


def checkpoint_step(name: str) -> int | None:
    """The optimiser step in a checkpoint folder's name, ``checkpoint-STEP``; None for any other name."""
    match = _CHECKPOINT.fullmatch(name)
    return int(match[1]) if match else None


def trace_line(record: StepRecord) -> bytes:
    """The canonical JSON of one step's record, which is a leaf of the trace's Merkle tree."""
    return canonical_bytes({"loss": record.loss, "rows": list(record.rows), "step": record.step})


def write_result(files: JobFiles, result: TrainingResult) -> None:
    """Writes the trace, then the result file, which exists only if the run has finished with complete files."""
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
    """The content of the result file; None if there is none. Raises `WorkerResultError` for a large or invalid file."""
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
    """Yields the lines of a trace file. Raises `WorkerResultError` unless they are ``steps`` canonical records."""
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
    """RFC 9162 Merkle root (hexadecimal) over the lines of a trace."""
    return MerkleTree([leaf_hash(record) for record in records]).root.hex()
