"""Runs one training job from its turn in the queue to its signed receipt."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Literal

from veritune.provider.clock import Clock
from veritune.provider.concurrency import in_thread
from veritune.provider.contracts.contracts import Contracts
from veritune.provider.jobs.changes import Changes
from veritune.provider.jobs.executor import Executor, ProgressListener, RunEnd, TrainingOrder
from veritune.provider.jobs.sign_off import SignOff
from veritune.provider.models.catalog import ModelCatalog
from veritune.provider.storage.blobs import BlobStore
from veritune.provider.storage.records import JobRecord, JobState
from veritune.provider.storage.store import Store
from veritune.provider.telemetry.logs import get_logger
from veritune.provider.training.worker_protocol import ProgressEvent, WorkerResultError

_PROGRESS_SECONDS = 0.25
"""Least time between two progress events that are stored."""
_MAX_ATTEMPTS = 10
"""Most runs of one job, because a job that kills the daemon each time would run for ever."""

_log = get_logger("jobs")


class Runner:
    """Runs training jobs: one for each call of `run`, and calls may overlap.

    ``lease()`` is a context that is entered when the machine is free for training, and left when the executor has
    trained. ``max_cut_rows``: most rows longer than the recipe's sequence length; None: any number.
    """

    def __init__(
        self,
        store: Store,
        blobs: BlobStore,
        contracts: Contracts,
        models: ModelCatalog,
        executor: Executor,
        sign_off: SignOff,
        lease: Callable[[], AbstractAsyncContextManager[None]],
        changes: Changes,
        clock: Clock,
        max_cut_rows: int | None = None,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._contracts = contracts
        self._models = models
        self._executor = executor
        self._sign_off = sign_off
        self._lease = lease
        self._changes = changes
        self._clock = clock
        self._max_cut_rows = max_cut_rows

    async def run(self, job_id: str, stop: asyncio.Event) -> Literal["done", "again"]:
        """Runs a job that has not ended, and returns ``again`` if it must be queued once more, else ``done``.

        ``stop`` asks the trainer to end; ``again`` means that someone else stopped it. A job whose run ends because the
        daemon stops is left unfinished, for the next start. If an earlier run has left complete output, that is signed
        and nothing is trained.

        Raises `NotFoundError` for an unknown job or a lost data set, `UnknownModelError` for a base model that is no
        longer offered, and what the executor raises.
        """
        job = await self._job(job_id)
        if job.state.ended or await self._complete(job):
            return "done"
        async with self._lease():
            job = await self._job(job_id)
            if self._changes.closed or job.state.ended:
                return "done"
            if job.cancel_requested:
                await self.end(job_id, JobState.CANCELLED, "cancelled")
                return "done"
            if job.attempts >= _MAX_ATTEMPTS:
                await self.end(job_id, JobState.FAILED, "the job was interrupted too often")
                return "done"
            order = await self._order(job)
            job = await self._begin(job)
            if job.state.ended:  # cancelled since it was read above
                return "done"
            end = await self._executor.run(job_id, order, stop, self._listener(job_id))
        return await self._conclude(job_id, end)

    async def end(self, job_id: str, state: Literal[JobState.FAILED, JobState.CANCELLED], message: str) -> JobRecord:
        """The job, ended without an adapter by a signed receipt; ``message`` is for the client.

        A job that has ended already is unchanged. Raises `NotFoundError` for an unknown job.
        """
        job = await in_thread(self._sign_off.fail, job_id, state, message)
        await self._changes.announce()
        return job

    async def _job(self, job_id: str) -> JobRecord:
        return await in_thread(self._store.job, job_id)

    async def _order(self, job: JobRecord) -> TrainingOrder:
        contract = await self._contracts.get(job.manifest_digest)
        base, data = contract.manifest.base_model, contract.manifest.dataset
        return TrainingOrder(
            base_model=self._models.find(base.name, base.digest).folder.absolute(),
            dataset=self._blobs.path(data.sha256).absolute(),
            training=contract.manifest.training,
            max_cut_rows=self._max_cut_rows,
        )

    async def _begin(self, job: JobRecord) -> JobRecord:
        job = await in_thread(
            self._store.change_job,
            job.job_id,
            state=JobState.RUNNING,
            attempts=job.attempts + 1,
            started=job.started or self._clock(),
        )
        _log.info("training", job=job.job_id, attempt=job.attempts)
        await self._changes.announce()
        return job

    def _listener(self, job_id: str) -> ProgressListener:
        last = 0.0

        async def on_progress(event: ProgressEvent) -> None:
            nonlocal last
            if time.monotonic() - last >= _PROGRESS_SECONDS or event.step >= event.total_steps:
                last = time.monotonic()
                figures = event.model_dump(exclude={"event"})
                await in_thread(self._store.change_job, job_id, **figures)
                await self._changes.announce()

        return on_progress

    async def _conclude(self, job_id: str, end: RunEnd) -> Literal["done", "again"]:
        job = await self._job(job_id)
        if end.how == "finished":
            if not await self._complete(job):
                await self.end(job_id, JobState.FAILED, "the trainer left no result")
        elif job.cancel_requested:
            await self.end(job_id, JobState.CANCELLED, "cancelled")
        elif self._changes.closed:
            pass
        elif end.how == "stopped":
            # Somebody else asked the trainer to stop, for instance a service manager that stops the daemon next.
            return "again"
        else:
            await self.end(job_id, JobState.FAILED, end.message)
        return "done"

    async def _complete(self, job: JobRecord) -> bool:
        """True if a run of the job has finished; the job is then ended, as failed if its output can't be used."""
        try:
            output = await self._executor.collect(job.job_id)
            if output is None:
                return False
            await in_thread(self._sign_off.succeed, job, output)
        except WorkerResultError as error:
            _log.error("bad result", job=job.job_id, error=str(error))
            await self.end(job.job_id, JobState.FAILED, f"the trainer's result can't be used: {error}")
        return True
