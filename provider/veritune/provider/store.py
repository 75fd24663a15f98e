"""What the daemon must not forget, in a database: contracts, jobs, and every answer it signed.

SQLite is the embedded default; PostgreSQL by URL. A change is on disk before a method returns. What is signed is made
inside the transaction that stores it, and only where nothing is stored yet: so nothing is signed twice with different
contents, and inference receipts are numbered without a gap. Every method blocks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

from sqlalchemy import BigInteger, Engine, ForeignKey, LargeBinary, UniqueConstraint, create_engine, event, func, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from veritune.common.documents import FileRef
from veritune.common.envelope import Envelope
from veritune.common.errors import ConflictError, NotFoundError, QuotaError
from veritune.common.timestamps import format_time, parse_time

SCHEMA = 1
R = TypeVar("R")


class StoreError(RuntimeError):
    """The database can't be used as it is; for the provider's own eyes."""


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


@dataclass(frozen=True)
class AnswerRecord:
    """A signed answer, kept so that a call repeated after a break gets the same one."""

    sequence: int
    output: dict[str, Any]
    receipt: Envelope


@dataclass(frozen=True)
class Ending:
    """How a job ends."""

    state: JobState
    receipt: Envelope
    message: str = ""
    artifacts: tuple[FileRef, ...] = ()


class _Base(DeclarativeBase):
    type_annotation_map = {bytes: LargeBinary}  # noqa: RUF012 - as SQLAlchemy documents it


class _Meta(_Base):
    __tablename__ = "meta"
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


class _Contract(_Base):
    __tablename__ = "contract"
    digest: Mapped[str] = mapped_column(primary_key=True)
    envelope: Mapped[bytes]
    client_key_id: Mapped[str] = mapped_column(index=True)
    reveal: Mapped[str] = mapped_column(index=True)
    dataset_receipt: Mapped[bytes | None]
    answers: Mapped[int] = mapped_column(default=0)


class _Job(_Base):
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


class _Answer(_Base):
    __tablename__ = "answer"
    __table_args__ = (UniqueConstraint("manifest_digest", "request_digest"),)
    manifest_digest: Mapped[str] = mapped_column(ForeignKey("contract.digest"), primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    request_digest: Mapped[str]
    output: Mapped[str]
    receipt: Mapped[bytes]


class Store:
    """The database behind ``url``, for example ``sqlite:////var/lib/veritune/provider.db``."""

    def __init__(self, url: str) -> None:
        self._engine = _open(url)
        try:
            _Base.metadata.create_all(self._engine)
            with self._transaction() as session:
                schema = session.get(_Meta, "schema")
                if schema is None:
                    session.add(_Meta(name="schema", value=str(SCHEMA)))
                elif schema.value != str(SCHEMA):
                    raise StoreError(f"the database has schema {schema.value}, this version needs {SCHEMA}")
        except DBAPIError as error:
            raise StoreError(f"can't use the database: {type(error.orig).__name__}") from error

    def close(self) -> None:
        """Closes every connection."""
        self._engine.dispose()

    # Contracts

    def contract(self, digest: str) -> ContractRecord:
        """Raises `NotFoundError`."""
        with self._transaction() as session:
            return _contract(_require(session.get(_Contract, digest), "contract"))

    def add_contract(
        self, digest: str, make: Callable[[], ContractRecord], now: datetime, max_open: int
    ) -> ContractRecord:
        """The stored contract of that digest, else the one that ``make`` signs. Raises `QuotaError`."""
        try:
            with self._transaction() as session:
                found = session.get(_Contract, digest)
                if found is not None:
                    return _contract(found)
                still_open = select(func.count()).select_from(_Contract).where(_Contract.reveal >= format_time(now))
                _refuse_over(session.scalar(still_open) or 0, max_open, "open contracts")
                record = make()
                row = _Contract(
                    digest=digest,
                    envelope=record.envelope.to_json(),
                    client_key_id=record.client_key_id,
                    reveal=format_time(record.reveal),
                )
                session.add(row)
        except IntegrityError:
            return self.contract(digest)  # where writers run side by side, another was first: its signature counts
        return record

    def add_dataset_receipt(self, digest: str, make: Callable[[], Envelope]) -> Envelope:
        """The stored receipt, else the one that ``make`` signs."""
        with self._transaction() as session:
            row = _require(session.get(_Contract, digest, with_for_update=True), "contract")
            if row.dataset_receipt is None:
                row.dataset_receipt = make().to_json()
            return Envelope.from_json(row.dataset_receipt)

    # Jobs

    def job(self, job_id: str) -> JobRecord:
        """Raises `NotFoundError`."""
        with self._transaction() as session:
            return _job(_find(session, job_id))

    def jobs(self, manifest_digest: str) -> list[JobRecord]:
        """The jobs of one contract, oldest first."""
        return self._list(select(_Job).where(_Job.manifest_digest == manifest_digest).order_by(_Job.number))

    def unfinished(self) -> list[JobRecord]:
        """Every job that has not ended, oldest first."""
        states = [state.value for state in JobState if not state.ended]
        return self._list(select(_Job).where(_Job.state.in_(states)).order_by(_Job.number))

    def add_job(self, job: JobRecord, max_queued: int) -> JobRecord:
        """The job of the same contract and request, else this one. Raises `ConflictError` or `QuotaError`."""
        with self._transaction() as session:
            _require(session.get(_Contract, job.manifest_digest, with_for_update=True), "contract")
            mine = select(_Job).where(_Job.manifest_digest == job.manifest_digest)
            same = session.scalar(mine.where(_Job.request_id == job.request_id))
            if same is not None:
                return _job(same)
            good = [JobState.QUEUED.value, JobState.RUNNING.value, JobState.SUCCEEDED.value]
            other = session.scalar(mine.where(_Job.state.in_(good)))
            if other is not None:
                raise ConflictError("the contract has a job already", job_id=other.job_id)
            queued = select(func.count()).select_from(_Job).where(_Job.state == JobState.QUEUED.value)
            _refuse_over(session.scalar(queued) or 0, max_queued, "queued jobs")
            session.add(_row(job))
            return job

    def change_job(self, job_id: str, **changes: Any) -> JobRecord:
        """Sets fields of `JobRecord` and raises the revision; a job that has ended stays as it is."""
        with self._transaction() as session:
            row = _find(session, job_id)
            job = _job(row)
            if not job.state.ended:
                job = replace(job, **changes, revision=job.revision + 1)
                _copy(job, row)
            return job

    def end_job(self, job_id: str, make: Callable[[JobRecord], Ending]) -> JobRecord:
        """Ends a job with the receipt that ``make`` signs; one that has ended stays as it is."""
        with self._transaction() as session:
            row = _find(session, job_id)
            job = _job(row)
            if not job.state.ended:
                end = make(job)
                job = replace(
                    job,
                    state=end.state,
                    receipt=end.receipt,
                    message=end.message,
                    artifacts=end.artifacts,
                    revision=job.revision + 1,
                )
                _copy(job, row)
            return job

    # Answers

    def answer(self, manifest_digest: str, request_digest: str) -> AnswerRecord | None:
        """What was answered to this very request (its nonce included), if anything was."""
        with self._transaction() as session:
            found = session.scalar(_same_request(manifest_digest, request_digest))
            return None if found is None else _answer(found)

    def add_answer(
        self,
        manifest_digest: str,
        request_digest: str,
        output: dict[str, Any],
        make: Callable[[int], Envelope],
        max_answers: int,
    ) -> AnswerRecord:
        """Numbers, signs and stores an answer, or returns the one stored first. Raises `QuotaError`."""
        with self._transaction() as session:
            contract = _require(session.get(_Contract, manifest_digest, with_for_update=True), "contract")
            found = session.scalar(_same_request(manifest_digest, request_digest))
            if found is not None:
                return _answer(found)
            _refuse_over(contract.answers, max_answers, "answers under this contract")
            contract.answers += 1
            row = _Answer(
                manifest_digest=manifest_digest,
                sequence=contract.answers,
                request_digest=request_digest,
                output=json.dumps(output),
                receipt=make(contract.answers).to_json(),
            )
            session.add(row)
            return _answer(row)

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        with Session(self._engine, expire_on_commit=False) as session, session.begin():
            yield session

    def _list(self, query: Any) -> list[JobRecord]:
        with self._transaction() as session:
            return [_job(row) for row in session.scalars(query)]


def _open(url: str) -> Engine:
    if make_url(url).get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": 30})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # SQLAlchemy begins transactions, not the driver
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        # Takes the write lock at once: a transaction that reads and then writes can't be overtaken.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _refuse_over(count: int, limit: int, what: str) -> None:
    if count >= limit:
        raise QuotaError(f"the provider allows at most {limit} {what}", limit=str(limit))


def _find(session: Session, job_id: str) -> _Job:
    return _require(session.scalar(select(_Job).where(_Job.job_id == job_id).with_for_update()), "job")


def _same_request(manifest_digest: str, request_digest: str) -> Any:
    return select(_Answer).where(_Answer.manifest_digest == manifest_digest, _Answer.request_digest == request_digest)


def _require(row: R | None, what: str) -> R:
    if row is None:
        raise NotFoundError(f"no such {what}")
    return row


def _contract(row: _Contract) -> ContractRecord:
    return ContractRecord(
        row.digest,
        Envelope.from_json(row.envelope),
        row.client_key_id,
        parse_time(row.reveal),
        _envelope(row.dataset_receipt),
    )


def _answer(row: _Answer) -> AnswerRecord:
    return AnswerRecord(row.sequence, json.loads(row.output), Envelope.from_json(row.receipt))


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


def _job(row: _Job) -> JobRecord:
    return JobRecord(
        **{name: getattr(row, name) for name in _PLAIN},
        created=parse_time(row.created),
        state=JobState(row.state),
        started=None if row.started is None else parse_time(row.started),
        receipt=_envelope(row.receipt),
        artifacts=tuple(FileRef.model_validate(item) for item in json.loads(row.artifacts)),
    )


def _row(job: JobRecord) -> _Job:
    row = _Job()
    _copy(job, row)
    return row


def _copy(job: JobRecord, row: _Job) -> None:
    for name in _PLAIN:
        setattr(row, name, getattr(job, name))
    row.created = format_time(job.created)
    row.state = job.state.value
    row.started = None if job.started is None else format_time(job.started)
    row.receipt = None if job.receipt is None else job.receipt.to_json()
    row.artifacts = json.dumps(_dump(job.artifacts))


def _dump(files: Iterable[FileRef]) -> list[dict[str, Any]]:
    return [ref.model_dump(mode="json") for ref in files]


def _envelope(data: bytes | None) -> Envelope | None:
    return None if data is None else Envelope.from_json(data)
