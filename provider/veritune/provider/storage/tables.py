"""The database's tables, and the conversion of their rows to `veritune.provider.storage.records` and back."""

from __future__ import annotations

import json

from sqlalchemy import BigInteger, ForeignKey, LargeBinary, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from veritune.common.documents.base import format_time, parse_time
from veritune.common.documents.receipts import FileRef
from veritune.common.envelope import Envelope
from veritune.provider.storage.records import AnswerRecord, ContractRecord, JobRecord, JobState, output_from_json

SCHEMA = 1
"""Version of the tables, stored in the database."""


class Base(DeclarativeBase):
    """The declarative base of all tables."""

    type_annotation_map = {bytes: LargeBinary}  # noqa: RUF012 - as SQLAlchemy documents it


class Meta(Base):
    """A fact about the database itself: the version of its tables."""

    __tablename__ = "meta"
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


class ContractRow(Base):
    """A signed contract; ``answers`` is the number of the last answer under it."""

    __tablename__ = "contract"
    digest: Mapped[str] = mapped_column(primary_key=True)
    envelope: Mapped[bytes]
    client_key_id: Mapped[str] = mapped_column(index=True)
    reveal: Mapped[str] = mapped_column(index=True)
    dataset_receipt: Mapped[bytes | None]
    answers: Mapped[int] = mapped_column(default=0)


class JobRow(Base):
    """A training job; ``number`` gives the order of creation."""

    __tablename__ = "job"
    __table_args__ = (UniqueConstraint("manifest_digest", "request_id"),)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(unique=True)
    manifest_digest: Mapped[str] = mapped_column(ForeignKey("contract.digest"))
    request_id: Mapped[str]
    created: Mapped[str]
    state: Mapped[str] = mapped_column(index=True)
    revision: Mapped[int]
    attempts: Mapped[int]
    cancel_requested: Mapped[bool]
    started: Mapped[str | None]
    step: Mapped[int] = mapped_column(BigInteger)
    total_steps: Mapped[int] = mapped_column(BigInteger)
    epoch: Mapped[float]
    loss: Mapped[float]
    tokens: Mapped[int] = mapped_column(BigInteger)
    message: Mapped[str]
    receipt: Mapped[bytes | None]
    artifacts: Mapped[str]


class Answer(Base):
    """A signed answer to one request under a contract."""

    __tablename__ = "answer"
    __table_args__ = (UniqueConstraint("manifest_digest", "request_digest"),)
    manifest_digest: Mapped[str] = mapped_column(ForeignKey("contract.digest"), primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    request_digest: Mapped[str]
    output: Mapped[str]
    receipt: Mapped[bytes]


def contract_record(row: ContractRow) -> ContractRecord:
    """The record that a row of a contract holds."""
    return ContractRecord(
        row.digest,
        Envelope.from_json(row.envelope),
        row.client_key_id,
        parse_time(row.reveal),
        _envelope(row.dataset_receipt),
    )


def answer_record(row: Answer) -> AnswerRecord:
    """The record that a row of an answer holds."""
    return AnswerRecord(row.sequence, output_from_json(row.output), Envelope.from_json(row.receipt))


_PLAIN = (
    "job_id",
    "manifest_digest",
    "request_id",
    "revision",
    "attempts",
    "cancel_requested",
    "step",
    "total_steps",
    "epoch",
    "loss",
    "tokens",
    "message",
)


def job_record(row: JobRow) -> JobRecord:
    """The record that a row of a job holds."""
    return JobRecord(
        **{name: getattr(row, name) for name in _PLAIN},
        created=parse_time(row.created),
        state=JobState(row.state),
        started=None if row.started is None else parse_time(row.started),
        receipt=_envelope(row.receipt),
        artifacts=tuple(FileRef.model_validate(item) for item in json.loads(row.artifacts)),
    )


def job_row(job: JobRecord) -> JobRow:
    """A new row that holds a job."""
    row = JobRow()
    copy_job(job, row)
    return row


def copy_job(job: JobRecord, row: JobRow) -> None:
    """Copies the fields of a job into its row."""
    for name in _PLAIN:
        setattr(row, name, getattr(job, name))
    row.created = format_time(job.created)
    row.state = job.state.value
    row.started = None if job.started is None else format_time(job.started)
    row.receipt = None if job.receipt is None else job.receipt.to_json()
    row.artifacts = json.dumps([ref.model_dump(mode="json") for ref in job.artifacts])


def _envelope(data: bytes | None) -> Envelope | None:
    return None if data is None else Envelope.from_json(data)
