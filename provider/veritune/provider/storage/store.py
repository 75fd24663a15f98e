"""The daemon's database: contracts, jobs, and every answer that it signed.

SQLite is the embedded default; PostgreSQL by URL. A change is on disk before a method returns. What is signed is made
inside the transaction that stores it, and only where nothing is stored yet: so nothing is signed twice with different
contents, and inference receipts are numbered without a gap. Every method blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Engine, create_engine, event, func, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from veritune.common.documents.base import format_time
from veritune.common.envelope import Envelope
from veritune.common.errors import ConflictError, NotFoundError, OwnError, QuotaError
from veritune.provider.storage.records import AnswerRecord, ContractRecord, Ending, JobRecord, JobState, Output
from veritune.provider.storage.tables import (
    SCHEMA,
    Answer,
    Base,
    ContractRow,
    JobRow,
    Meta,
    answer_record,
    contract_record,
    copy_job,
    job_record,
    job_row,
)

R = TypeVar("R")


class StoreError(OwnError):
    """A database that can't be used as it is. The message is for the operator, and no client gets it."""

    reason = "BAD_DATABASE"


class Store:
    """The database at a SQLAlchemy ``url``, for example ``sqlite:////var/lib/veritune/provider.db``.

    Raises `StoreError` if it can't be opened or has another version's tables.
    """

    def __init__(self, url: str) -> None:
        self._engine = _open(url)
        try:
            Base.metadata.create_all(self._engine)
            with self._transaction() as session:
                schema = session.get(Meta, "schema")
                if schema is None:
                    session.add(Meta(name="schema", value=str(SCHEMA)))
                elif schema.value != str(SCHEMA):
                    raise StoreError(
                        f"the database has schema {schema.value}, this version needs {SCHEMA}",
                        cause="schema",
                        found=str(schema.value),
                    )
        except DBAPIError as error:
            raise StoreError(f"can't use the database: {type(error.orig).__name__}") from error

    def close(self) -> None:
        """Closes every connection to the database."""
        self._engine.dispose()

    # Contracts

    def contract(self, digest: str) -> ContractRecord:
        """The contract of that digest. Raises `NotFoundError`."""
        with self._transaction() as session:
            return contract_record(_require(session.get(ContractRow, digest), "contract"))

    def add_contract(
        self, digest: str, make: Callable[[], ContractRecord], now: datetime, max_open: int
    ) -> ContractRecord:
        """The stored contract of that digest, else the one that ``make`` signs, which is then stored.

        Raises `QuotaError` if ``max_open`` contracts have a last deadline after ``now``, and what ``make`` raises.
        """
        try:
            with self._transaction() as session:
                found = session.get(ContractRow, digest)
                if found is not None:
                    return contract_record(found)
                still_open = select(func.count()).select_from(ContractRow).where(ContractRow.reveal >= format_time(now))
                _refuse_over(session.scalar(still_open) or 0, max_open, "open contracts")
                record = make()
                row = ContractRow(
                    digest=digest,
                    envelope=record.envelope.to_json(),
                    client_key_id=record.client_key_id,
                    reveal=format_time(record.reveal),
                )
                session.add(row)
        except IntegrityError:
            return self.contract(digest)  # another writer was first, and its signature counts
        return record

    def add_dataset_receipt(self, digest: str, make: Callable[[], Envelope]) -> Envelope:
        """The stored receipt of a contract's data set, else the one that ``make`` signs, which is then stored.

        Raises `NotFoundError` for an unknown contract.
        """
        with self._transaction() as session:
            row = _require(session.get(ContractRow, digest, with_for_update=True), "contract")
            if row.dataset_receipt is None:
                row.dataset_receipt = make().to_json()
            return Envelope.from_json(row.dataset_receipt)

    # Jobs

    def job(self, job_id: str) -> JobRecord:
        """The job of that id. Raises `NotFoundError`."""
        with self._transaction() as session:
            return job_record(_find(session, job_id))

    def jobs(self, manifest_digest: str) -> list[JobRecord]:
        """The jobs of one contract, oldest first."""
        return self._list(select(JobRow).where(JobRow.manifest_digest == manifest_digest).order_by(JobRow.number))

    def unfinished(self) -> list[JobRecord]:
        """Every job that has not ended, oldest first."""
        states = [state.value for state in JobState if not state.ended]
        return self._list(select(JobRow).where(JobRow.state.in_(states)).order_by(JobRow.number))

    def add_job(self, job: JobRecord, max_queued: int) -> JobRecord:
        """The stored job of the same contract and request, else ``job``, which is then stored.

        Raises `ConflictError` if the contract has another job that hasn't failed, `QuotaError` if ``max_queued`` jobs
        are waiting, `NotFoundError` for an unknown contract.
        """
        with self._transaction() as session:
            _require(session.get(ContractRow, job.manifest_digest, with_for_update=True), "contract")
            mine = select(JobRow).where(JobRow.manifest_digest == job.manifest_digest)
            same = session.scalar(mine.where(JobRow.request_id == job.request_id))
            if same is not None:
                return job_record(same)
            good = [JobState.QUEUED.value, JobState.RUNNING.value, JobState.SUCCEEDED.value]
            other = session.scalar(mine.where(JobRow.state.in_(good)))
            if other is not None:
                raise ConflictError("the contract has a job already", job_id=other.job_id)
            queued = select(func.count()).select_from(JobRow).where(JobRow.state == JobState.QUEUED.value)
            _refuse_over(session.scalar(queued) or 0, max_queued, "queued jobs")
            session.add(job_row(job))
            return job

    def change_job(self, job_id: str, **changes: Any) -> JobRecord:
        """The job after setting fields of `JobRecord` and raising its revision; a job that has ended is unchanged.

        Raises `NotFoundError`.
        """
        with self._transaction() as session:
            row = _find(session, job_id)
            job = job_record(row)
            if not job.state.ended:
                job = replace(job, **changes, revision=job.revision + 1)
                copy_job(job, row)
            return job

    def end_job(self, job_id: str, make: Callable[[JobRecord], Ending]) -> JobRecord:
        """The job, ended with the receipt that ``make`` signs; a job that has ended before is unchanged.

        Raises `NotFoundError`.
        """
        with self._transaction() as session:
            row = _find(session, job_id)
            job = job_record(row)
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
                copy_job(job, row)
            return job

    # Answers

    def answer(self, manifest_digest: str, request_digest: str) -> AnswerRecord | None:
        """The stored answer to a request (its nonce included), or None."""
        with self._transaction() as session:
            found = session.scalar(_same_request(manifest_digest, request_digest))
            return None if found is None else answer_record(found)

    def add_answer(
        self,
        manifest_digest: str,
        request_digest: str,
        output: Output,
        make: Callable[[int], Envelope],
        max_answers: int,
    ) -> AnswerRecord:
        """The stored answer to a request, else ``output``, numbered, with the receipt that ``make(number)`` signs.

        Raises `QuotaError` if the contract has ``max_answers`` answers, `NotFoundError` for an unknown contract.
        """
        with self._transaction() as session:
            contract = _require(session.get(ContractRow, manifest_digest, with_for_update=True), "contract")
            found = session.scalar(_same_request(manifest_digest, request_digest))
            if found is not None:
                return answer_record(found)
            _refuse_over(contract.answers, max_answers, "answers under this contract")
            contract.answers += 1
            row = Answer(
                manifest_digest=manifest_digest,
                sequence=contract.answers,
                request_digest=request_digest,
                output=output.model_dump_json(),
                receipt=make(contract.answers).to_json(),
            )
            session.add(row)
            return answer_record(row)

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        with Session(self._engine, expire_on_commit=False) as session, session.begin():
            yield session

    def _list(self, query: Any) -> list[JobRecord]:
        with self._transaction() as session:
            return [job_record(row) for row in session.scalars(query)]


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


def _find(session: Session, job_id: str) -> JobRow:
    return _require(session.scalar(select(JobRow).where(JobRow.job_id == job_id).with_for_update()), "job")


def _same_request(manifest_digest: str, request_digest: str) -> Any:
    return select(Answer).where(Answer.manifest_digest == manifest_digest, Answer.request_digest == request_digest)


def _require(row: R | None, what: str) -> R:
    if row is None:
        raise NotFoundError(f"no such {what}")
    return row
