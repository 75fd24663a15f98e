"""The records of the database as plain values: contracts, jobs and signed answers."""

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
    """The state of a training job."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """True for a state that no longer changes: succeeded, failed or cancelled."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True)
class ContractRecord:
    """A contract that this provider has signed."""

    digest: str
    """SHA-256 of the manifest's bytes, hexadecimal."""
    envelope: Envelope
    """The manifest with both signatures."""
    client_key_id: str
    reveal: datetime
    """The contract's last deadline."""
    dataset_receipt: Envelope | None = None
    """The signed receipt; None until the data set is complete."""


@dataclass(frozen=True)
class JobRecord:
    """The state and progress of a training job."""

    job_id: str
    manifest_digest: str
    request_id: str
    """The client's id of the request; the same request again gives the same job."""
    created: datetime
    state: JobState = JobState.QUEUED
    revision: int = 1
    """Number that rises with every change."""
    attempts: int = 0
    """How often a worker was started for the job."""
    cancel_requested: bool = False
    started: datetime | None = None
    step: int = 0
    """Optimiser steps done, of ``total_steps``."""
    total_steps: int = 0
    epoch: float = 0.0
    loss: float = 0.0
    tokens: int = 0
    message: str = ""
    """Why the job failed or was cancelled, for the client."""
    receipt: Envelope | None = None
    """The signed receipt of training or of failure; None until the job has ended."""
    artifacts: tuple[FileRef, ...] = ()
    """Name, size and digest of each file of the adapter."""


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
    """The output whose JSON the database holds; the two kinds share no field. Raises pydantic's ValidationError."""
    return _OUTPUT.validate_json(text)


@dataclass(frozen=True)
class AnswerRecord:
    """A signed answer, stored so that a repeated call gets the same one."""

    sequence: int
    """The answer's number under its contract, from 1."""
    output: Output
    """The answer itself."""
    receipt: Envelope
    """The signed inference receipt."""


@dataclass(frozen=True)
class Ending:
    """The result of a job: its last state, its receipt, and on success its files."""

    state: JobState
    receipt: Envelope
    message: str = ""
    artifacts: tuple[FileRef, ...] = ()
