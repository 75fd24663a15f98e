"""The queue of training jobs: takes, runs, reports and cancels them, and resumes them after any kind of restart.

A job's state is in the store; what its trainer makes is kept by the executor. After a kill -9 of the daemon the next
start queues every unfinished job again: a job whose output is complete gets its receipt, another continues from its
last checkpoint.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass

from veritune.common.errors import OutOfOrderError, UnavailableError
from veritune.provider.clock import Clock
from veritune.provider.concurrency import in_thread
from veritune.provider.contracts.contracts import Contract, Contracts
from veritune.provider.jobs.changes import Changes
from veritune.provider.jobs.runner import Runner
from veritune.provider.storage.records import JobRecord, JobState
from veritune.provider.storage.store import Store
from veritune.provider.telemetry.logs import describe, get_logger

_log = get_logger("jobs")


@dataclass(frozen=True)
class JobOptions:
    """How many jobs run and wait, and how long the daemon waits for them when it stops."""

    parallel: int = 1
    """Most jobs that train at the same time."""
    max_queued: int = 16
    """Most jobs that wait; a further one is refused."""
    grace: float = 60.0
    """Seconds that a trainer has to write a checkpoint when the daemon stops."""


class Jobs:
    """All training jobs of this provider, with the tasks that run them in order."""

    def __init__(
        self, store: Store, contracts: Contracts, runner: Runner, changes: Changes, clock: Clock, options: JobOptions
    ) -> None:
        self._store = store
        self._contracts = contracts
        self._runner = runner
        self._changes = changes
        self._clock = clock
        self._options = options
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._stops: dict[str, asyncio.Event] = {}
        self._workers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Queues the jobs that an earlier run of the daemon left unfinished, and begins to run jobs."""
        for job in await in_thread(self._store.unfinished):
            _log.info("resumed", job=job.job_id, state=job.state.value, attempts=job.attempts)
            self._enqueue(job)
        self._workers = [asyncio.create_task(self._work()) for _ in range(self._options.parallel)]

    async def stop(self) -> None:
        """Ends every `watch` and every trainer; running jobs write a checkpoint and continue at the next start."""
        await self.close_watchers()
        for stop in self._stops.values():
            stop.set()
        for _ in self._workers:
            self._queue.put_nowait("")  # wakes a worker that has nothing to do
        if self._workers:
            await asyncio.wait(self._workers, timeout=self._options.grace + 5)
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    async def close_watchers(self) -> None:
        """Ends every `watch` because the daemon is about to stop; no further job begins."""
        await self._changes.close()

    async def submit(self, contract: Contract, request_id: str) -> JobRecord:
        """The contract's job of that ``request_id``, which is queued if it is new.

        Raises `OutOfOrderError` without a data set, `ExpiredError` after the contract's deadline for training,
        `ConflictError` if another job of the contract hasn't failed, `QuotaError` if too many jobs wait.
        """
        for job in await self.of_contract(contract.digest):
            if job.request_id == request_id:
                return job
        if contract.record.dataset_receipt is None:
            raise OutOfOrderError("the data set is not uploaded yet", missing="dataset")
        self._contracts.require_before(contract, "train")
        new = JobRecord(f"job-{secrets.token_hex(12)}", contract.digest, request_id, self._clock())
        job = await in_thread(self._store.add_job, new, self._options.max_queued)
        if job.job_id == new.job_id:
            _log.info("queued", job=job.job_id, contract=contract.digest[:12])
            self._enqueue(job)
        return job

    async def get(self, job_id: str) -> JobRecord:
        """The current state of a job. Raises `NotFoundError` for an unknown job."""
        return await in_thread(self._store.job, job_id)

    async def of_contract(self, manifest_digest: str) -> list[JobRecord]:
        """The jobs of one contract, oldest first; empty if it has none."""
        return await in_thread(self._store.jobs, manifest_digest)

    async def cancel(self, job_id: str) -> JobRecord:
        """The job after asking it to stop: a queued job has ended, a running one ends at its trainer's next step.

        A job that has ended already is unchanged. Raises `NotFoundError` for an unknown job.
        """
        job = await in_thread(self._store.change_job, job_id, cancel_requested=True)
        if job.state is JobState.QUEUED:
            job = await self._runner.end(job_id, JobState.CANCELLED, "cancelled before it began")
        stop = self._stops.get(job_id)
        if stop is not None:
            stop.set()
        await self._changes.announce()
        return job

    async def watch(self, job_id: str, after_revision: int) -> AsyncIterator[JobRecord]:
        """Yields a job's state when its revision exceeds ``after_revision``, then after each change until it has ended.

        Raises `NotFoundError` for an unknown job, `UnavailableError` if the daemon is about to stop.
        """
        while True:
            seen = self._changes.version
            job = await self.get(job_id)
            if job.revision > after_revision or job.state.ended:
                yield job
                after_revision = job.revision
            if job.state.ended:
                return
            await self._changes.after(seen)
            if self._changes.closed:
                raise UnavailableError("the provider is shutting down; watch again later")

    def _enqueue(self, job: JobRecord) -> None:
        self._stops[job.job_id] = asyncio.Event()
        if job.cancel_requested:
            self._stops[job.job_id].set()
        self._queue.put_nowait(job.job_id)

    async def _work(self) -> None:
        while not self._changes.closed:
            job_id = await self._queue.get()
            if self._changes.closed:
                return
            await self._do(job_id)

    async def _do(self, job_id: str) -> None:
        try:
            then = await self._runner.run(job_id, self._stops[job_id])
        except Exception as error:  # noqa: BLE001 - one broken job must not end the others
            _log.error("job broke", job=job_id, error=describe(error))
            await self._runner.end(job_id, JobState.FAILED, "the provider could not run the job")
            then = "done"
        job = await self.get(job_id)
        if then == "again":
            self._enqueue(job)
        if job.state.ended:
            self._stops.pop(job_id, None)
            _log.info("ended", job=job_id, state=job.state.value, step=job.step)
        await self._changes.announce()
