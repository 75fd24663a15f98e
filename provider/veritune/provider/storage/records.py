"""What the daemon keeps: contracts, jobs and signed answers, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

from veritune.common.documents.base import Count
from veritune.common.documents.receipts import FileRef
from veritune.common.envelope import Envelope


class JobState(StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True)
class ContractRecord:
    """A contract in force."""

    digest: str
    envelope: Envelope
    client_key_id: str
    reveal: datetime
    dataset_receipt: Envelope | None = None


@dataclass(frozen=True)
class JobRecord:
    """A job as it stands; ``revision`` rises with every change."""

    job_id: str
    manifest_digest: str
    request_id: str
    created: datetime
    state: JobState = JobState.QUEUED
    revision: int = 1
    attempts: int = 0
    cancel_requested: bool = False
    started: datetime | None = None
    step: int = 0
    total_steps: int = 0
    epoch: float = 0.0
    loss: float = 0.0
    tokens: int = 0
    message: str = ""
    receipt: Envelope | None = None
    artifacts: tuple[FileRef, ...] = ()


class _Output(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class GeneratedOutput(_Output):
    """A generated text, why it ended, and the tokens that were spent."""

    text: str
    finish_reason: Literal["stop", "length"]
    prompt_tokens: Count
    completion_tokens: Count


class ScoredOutput(_Output):
    """Log-probabilities in nats, one entry for each completion that was scored.

    ``totals`` are decimal strings with six places, as sent and as signed; ``token_logprobs`` are the parts of each.
    """

    totals: tuple[str, ...]
    token_logprobs: tuple[tuple[float, ...], ...]


Output = GeneratedOutput | ScoredOutput
_OUTPUT: TypeAdapter[Output] = TypeAdapter(Output)


def output_from_json(text: str) -> Output:
    """The output whose JSON the database holds; the two kinds share no field. Raises pydantic's `ValidationError`."""
    return _OUTPUT.validate_json(text)


@dataclass(frozen=True)
class AnswerRecord:
    """A signed answer, kept so that a call repeated after a break gets the same one."""

    sequence: int
    output: Output
    receipt: Envelope


@dataclass(frozen=True)
class Ending:
    """How a job ends."""

    state: JobState
    receipt: Envelope
    message: str = ""
    artifacts: tuple[FileRef, ...] = ()
