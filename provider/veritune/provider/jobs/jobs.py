"""Training jobs: queued, run in child processes, watched, cancelled, and taken up again after any kind of end.

A job's state is in the store; what its worker makes is in its folder. After a kill -9 of the daemon the next start
queues every unfinished job again: one whose result file is there is completed, another goes on from its checkpoint.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from veritune.common.errors import OutOfOrderError, UnavailableError
from veritune.provider.clock import Clock
from veritune.provider.concurrency import in_thread
from veritune.provider.contracts.contracts import Contract, Contracts
from veritune.provider.hardware.accelerator import Accelerator
from veritune.provider.jobs.child_process import run_child
from veritune.provider.jobs.job_output import adapter_files, checkpoint_refs
from veritune.provider.models.catalog import ModelCatalog
from veritune.provider.receipts import Receipts
from veritune.provider.storage.blobs import BlobStore
from veritune.provider.storage.records import ContractRecord, Ending, JobRecord, JobState
from veritune.provider.storage.store import Store
from veritune.provider.telemetry.logs import describe, get_logger
from veritune.provider.training.base import TrainingTask
from veritune.provider.training.worker_protocol import (
    EXIT_CANCELLED,
    Event,
    FailedEvent,
    JobFiles,
    WorkerResult,
    WorkerResultError,
    read_result,
    read_trace,
    trace_root,
    write_task,
)

_PROGRESS_SECONDS = 0.25
_MAX_ATTEMPTS = 10

_log = get_logger("jobs")


@dataclass(frozen=True)
class JobOptions:
    """How jobs run on this machine."""

    folder: Path
    command: tuple[str, ...]
    """The worker; the task file is added as its last argument."""
    parallel: int = 1
    grace: float = 60.0
    """Seconds between asking a worker to stop and killing it."""
    threads: int = 0
    max_queued: int = 16
    max_cut_rows: int | None = None
    """As `TrainingTask` has it."""


class Jobs:
    """Every training job of this provider."""

    def __init__(
        self,
        store: Store,
        blobs: BlobStore,
        contracts: Contracts,
        models: ModelCatalog,
        receipts: Receipts,
        accelerator: Accelerator,
        options: JobOptions,
        clock: Clock,
        before_training: Callable[[], Awaitable[None]],
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._contracts = contracts
        self._models = models
        self._receipts = receipts
        self._accelerator = accelerator
        self._options = options
        self._clock = clock
        self._before_training = before_training
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._stops: dict[str, asyncio.Event] = {}
        self._changed = asyncio.Condition()
        self._version = 0
        self._closing = False
        self._runners: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Queues what an earlier run of the daemon left, and begins to work."""
        for job in await in_thread(self._store.unfinished):
            _log.info("resumed", job=job.job_id, state=job.state.value, attempts=job.attempts)
            self._enqueue(job)
        self._runners = [asyncio.create_task(self._work()) for _ in range(self._options.parallel)]

    async def stop(self) -> None:
        """Ends the watchers and the workers; jobs under way write a checkpoint and go on at the next start."""
        await self.close_watchers()
        for stop in self._stops.values():
            stop.set()
        for _ in self._runners:
            self._queue.put_nowait("")  # wakes a runner that has nothing to do
        if self._runners:
            await asyncio.wait(self._runners, timeout=self._options.grace + 5)
        for runner in self._runners:
            runner.cancel()
        await asyncio.gather(*self._runners, return_exceptions=True)

    async def close_watchers(self) -> None:
        """Tells every watcher that the daemon is about to stop; no job begins any more."""
        self._closing = True
        await self._announce()

    async def submit(self, contract: Contract, request_id: str) -> JobRecord:
        """Queues the contract's job, or returns the one of the same ``request_id``.

        Raises `OutOfOrderError` without a data set, `ExpiredError`, `ConflictError`, `QuotaError`.
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
        """Raises `NotFoundError`."""
        return await in_thread(self._store.job, job_id)

    async def of_contract(self, manifest_digest: str) -> list[JobRecord]:
        """The jobs of one contract, oldest first."""
        return await in_thread(self._store.jobs, manifest_digest)

    async def cancel(self, job_id: str) -> JobRecord:
        """Ends a queued job; asks a running one to stop. One that has ended stays as it is."""
        job = await in_thread(self._store.change_job, job_id, cancel_requested=True)
        if job.state is JobState.QUEUED:
            job = await self._fail(job_id, JobState.CANCELLED, "cancelled before it began")
        stop = self._stops.get(job_id)
        if stop is not None:
            stop.set()
        await self._announce()
        return job

    async def watch(self, job_id: str, after_revision: int) -> AsyncIterator[JobRecord]:
        """The job's state, then every change, until it has ended."""
        while True:
            seen = self._version
            job = await self.get(job_id)
            if job.revision > after_revision or job.state.ended:
                yield job
                after_revision = job.revision
            if job.state.ended:
                return
            async with self._changed:
                while not self._closing and self._version == seen:
                    await self._changed.wait()
            if self._closing:
                raise UnavailableError("the provider is shutting down; watch again later")

    def _files(self, job_id: str) -> JobFiles:
        return JobFiles(self._options.folder / job_id)

    def _enqueue(self, job: JobRecord) -> None:
        self._stops[job.job_id] = asyncio.Event()
        if job.cancel_requested:
            self._stops[job.job_id].set()
        self._queue.put_nowait(job.job_id)

    async def _announce(self) -> None:
        async with self._changed:
            self._version += 1
            self._changed.notify_all()

    async def _work(self) -> None:
        while not self._closing:
            job_id = await self._queue.get()
            if self._closing:
                return
            try:
                await self._do(job_id)
            except Exception as error:  # noqa: BLE001 - one broken job must not end the others
                _log.error("job broke", job=job_id, error=describe(error))
                await self._fail(job_id, JobState.FAILED, "the provider could not run the job")
            job = await self.get(job_id)
            if job.state.ended:
                self._stops.pop(job_id, None)
                _log.info("ended", job=job_id, state=job.state.value, step=job.step)
            await self._announce()

    async def _do(self, job_id: str) -> None:
        job, files, stop = await self.get(job_id), self._files(job_id), self._stops[job_id]
        if job.state.ended:
            return
        record = await in_thread(self._store.contract, job.manifest_digest)
        if await self._complete(record, job, files):
            return
        async with self._accelerator.training():
            await self._before_training()
            job = await self.get(job_id)
            if self._closing or job.state.ended:
                return
            if job.cancel_requested:
                await self._fail(job_id, JobState.CANCELLED, "cancelled")
                return
            if job.attempts >= _MAX_ATTEMPTS:
                await self._fail(job_id, JobState.FAILED, "the job was interrupted too often")
                return
            job = await self._begin(job)
            if job.state.ended:  # cancelled in this very moment
                return
            said: list[FailedEvent] = []
            status = await run_child(
                self._options.command, files, stop, self._options.grace, self._listener(job_id, said)
            )
        await self._conclude(record, job_id, files, status, said)

    async def _begin(self, job: JobRecord) -> JobRecord:
        contract, files = await self._contracts.get(job.manifest_digest), self._files(job.job_id)
        base, data = contract.manifest.base_model, contract.manifest.dataset
        task = TrainingTask(
            base_model=self._models.find(base.name, base.digest).folder.absolute(),
            dataset=self._blobs.path(data.sha256).absolute(),
            output=files.output.absolute(),
            training=contract.manifest.training,
            threads=self._options.threads,
            max_cut_rows=self._options.max_cut_rows,
        )

        def prepare() -> JobRecord:
            files.output.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_task(files, task)
            return self._store.change_job(
                job.job_id,
                state=JobState.RUNNING,
                attempts=job.attempts + 1,
                started=job.started or self._clock(),
            )

        job = await in_thread(prepare)
        _log.info("training", job=job.job_id, attempt=job.attempts)
        await self._announce()
        return job

    def _listener(self, job_id: str, said: list[FailedEvent]) -> Callable[[Event], Awaitable[None]]:
        last = 0.0

        async def on_event(event: Event) -> None:
            nonlocal last
            if isinstance(event, FailedEvent):
                said[:] = [event]
            elif time.monotonic() - last >= _PROGRESS_SECONDS or event.step >= event.total_steps:
                last = time.monotonic()
                figures = event.model_dump(exclude={"event"})
                await in_thread(self._store.change_job, job_id, **figures)
                await self._announce()

        return on_event

    async def _conclude(
        self, record: ContractRecord, job_id: str, files: JobFiles, status: int, said: Sequence[FailedEvent]
    ) -> None:
        job = await self.get(job_id)
        if status == 0:
            if not await self._complete(record, job, files):
                await self._fail(job_id, JobState.FAILED, "the trainer left no result")
        elif job.cancel_requested:
            await self._fail(job_id, JobState.CANCELLED, "cancelled")
        elif self._closing:
            return
        elif status == EXIT_CANCELLED:
            # Somebody else asked the worker to stop, for instance a service manager that stops us next.
            self._enqueue(job)
        elif said:
            await self._fail(job_id, JobState.FAILED, said[0].message)
        else:
            how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
            await self._fail(job_id, JobState.FAILED, f"the trainer {how}")

    async def _complete(self, record: ContractRecord, job: JobRecord, files: JobFiles) -> bool:
        """Signs off a job whose worker has left its result; False where there is none."""

        def complete() -> bool:
            result = read_result(files.result)
            if result is None:
                return False
            self._sign_off(record, job, files, result)
            return True

        try:
            return await in_thread(complete)
        except WorkerResultError as error:
            _log.error("bad result", job=job.job_id, error=str(error))
            await self._fail(job.job_id, JobState.FAILED, f"the trainer's result can't be used: {error}")
            return True

    def _sign_off(self, record: ContractRecord, job: JobRecord, files: JobFiles, result: WorkerResult) -> None:
        adapter = adapter_files(files.output, result)
        checkpoints = checkpoint_refs(files.output, result.checkpoints)
        root = trace_root(read_trace(files.trace, result.steps))
        for ref in adapter:
            self._blobs.add(files.output / result.adapter / ref.name, ref.sha256)

        def make(current: JobRecord) -> Ending:
            receipt = self._receipts.training(record, current, adapter, checkpoints, result, root)
            return Ending(JobState.SUCCEEDED, receipt, artifacts=adapter)

        self._store.end_job(job.job_id, make)

    async def _fail(self, job_id: str, state: JobState, message: str) -> JobRecord:
        outcome: Literal["failed", "cancelled"] = "cancelled" if state is JobState.CANCELLED else "failed"

        def end() -> JobRecord:
            record = self._store.contract(self._store.job(job_id).manifest_digest)
            return self._store.end_job(
                job_id,
                lambda job: Ending(state, self._receipts.failure(record, job, outcome, message), message),
            )

        job = await in_thread(end)
        await self._announce()
        return job
