"""Jobs over an executor that trains nothing: how they are queued, run again, cancelled and signed off."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.daemon import make_deadlines, make_rows, manifest_for
from veritune.common.canonical import canonical_bytes
from veritune.common.documents.receipts import FailureReceipt, TrainingReceipt
from veritune.common.envelope import Envelope, Signature
from veritune.common.errors import OutOfOrderError, UnavailableError
from veritune.common.keys import PrivateKey
from veritune.common.signing import open_document, sign_document
from veritune.provider.contracts.contracts import Contract, Contracts
from veritune.provider.contracts.policy import ProviderPolicy
from veritune.provider.jobs.changes import Changes
from veritune.provider.jobs.executor import Executor, ProgressListener, RunEnd, TrainedOutput, TrainingOrder
from veritune.provider.jobs.jobs import JobOptions, Jobs
from veritune.provider.jobs.runner import Runner
from veritune.provider.jobs.sign_off import SignOff
from veritune.provider.models.catalog import ModelCatalog, OfferedModel
from veritune.provider.receipts import Receipts
from veritune.provider.storage.blobs import BlobStore
from veritune.provider.storage.records import JobRecord, JobState
from veritune.provider.storage.store import Store
from veritune.provider.training.worker_protocol import ProgressEvent, WorkerResult, WorkerResultError

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
KEY, CLIENT = PrivateKey.generate(), PrivateKey.generate()
Script = Callable[[asyncio.Event, ProgressListener], Awaitable[RunEnd]]


class FakeExecutor(Executor):
    """Does one script for each run; its output appears once a run has finished."""

    def __init__(self, folder: Path, *scripts: Script) -> None:
        self.folder = folder
        self.scripts = list(scripts)
        self.orders: list[TrainingOrder] = []
        self.running = asyncio.Event()
        self.output: TrainedOutput | None = None
        self.bad = False

    async def run(
        self, job_id: str, order: TrainingOrder, stop: asyncio.Event, on_progress: ProgressListener
    ) -> RunEnd:
        self.orders.append(order)
        self.running.set()
        end = await self.scripts.pop(0)(stop, on_progress)
        if end.how == "finished" and end.message != "nothing":
            self.output = leave_output(self.folder)
        return end

    async def collect(self, job_id: str) -> TrainedOutput | None:
        if self.bad:
            raise WorkerResultError("odd")
        return self.output


def leave_output(folder: Path) -> TrainedOutput:
    """What a trainer of one step leaves."""
    adapter = folder / "output" / "adapter"
    adapter.mkdir(parents=True, exist_ok=True)
    (adapter / "adapter_model.safetensors").write_bytes(b"weights")
    trace = folder / "trace.jsonl"
    trace.write_bytes(canonical_bytes({"loss": "1.5", "rows": [0], "step": 1}) + b"\n")
    result = {"adapter": "adapter", "checkpoints": [], "steps": 1, "tokens": 9, "label_tokens": 4, "rows_trained": 4}
    body = result | {"rows_dropped": 0, "rows_cut": 0, "software": {}, "hardware": {}}
    return TrainedOutput(WorkerResult.model_validate_json(json.dumps(body)), folder / "output", trace)


async def finish(stop: asyncio.Event, on_progress: ProgressListener) -> RunEnd:
    await on_progress(ProgressEvent(step=1, total_steps=1, epoch=1.0, loss=1.5, tokens=9))
    return RunEnd("finished")


async def leave_nothing(stop: asyncio.Event, on_progress: ProgressListener) -> RunEnd:
    return RunEnd("finished", "nothing")


async def wait_for_stop(stop: asyncio.Event, on_progress: ProgressListener) -> RunEnd:
    await stop.wait()
    return RunEnd("stopped")


async def be_stopped(stop: asyncio.Event, on_progress: ProgressListener) -> RunEnd:
    return RunEnd("stopped")


async def fail(stop: asyncio.Event, on_progress: ProgressListener) -> RunEnd:
    return RunEnd("failed", "row 3 is bad")


async def crash(stop: asyncio.Event, on_progress: ProgressListener) -> RunEnd:
    raise OSError("a private path")


class Shop:
    """`Jobs` over a real store, with one contract whose data set is there."""

    def __init__(self, folder: Path, *scripts: Script) -> None:
        self.store = Store(f"sqlite:///{folder / 'db'}")
        self.blobs = BlobStore(folder / "blobs")
        self.executor = FakeExecutor(folder, *scripts)
        models = ModelCatalog((OfferedModel("tiny", "2" * 64, folder),))
        self.contracts = Contracts(self.store, KEY, models, ProviderPolicy(), lambda: NOW)
        self.leased = 0
        sign_off = SignOff(self.store, self.blobs, Receipts(KEY, lambda: NOW))
        changes = Changes()
        self.runner = Runner(
            self.store,
            self.blobs,
            self.contracts,
            models,
            self.executor,
            sign_off,
            self.lease,
            changes,
            lambda: NOW,
            max_cut_rows=7,
        )
        self.jobs = Jobs(self.store, self.contracts, self.runner, changes, lambda: NOW, JobOptions(grace=5))
        self.manifest = manifest_for(
            CLIENT.public, KEY.public, "tiny", "2" * 64, make_rows(4), deadlines=make_deadlines(NOW)
        )
        self.data = folder / "rows"
        self.data.write_bytes(b"rows")
        self.blobs.add(self.data, self.manifest.dataset.sha256)

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[None]:
        self.leased += 1
        try:
            yield
        finally:
            self.leased -= 1

    async def contract(self) -> Contract:
        digest = (await self.contracts.negotiate(sign_document(self.manifest, CLIENT))).digest
        self.store.add_dataset_receipt(digest, lambda: Envelope("text/plain", b"receipt", (Signature("k", b"s"),)))
        return await self.contracts.get(digest)

    async def end(self) -> JobRecord:
        """Starts, submits the contract's job, and waits for its end."""
        await self.jobs.start()
        job = await self.jobs.submit(await self.contract(), "first")
        return await self.last(job.job_id)

    async def last(self, job_id: str) -> JobRecord:
        async with asyncio.timeout(20):
            seen = await states(self.jobs, job_id)
        await self.jobs.stop()
        return seen[-1]


async def states(jobs: Jobs, job_id: str) -> list[JobRecord]:
    return [state async for state in jobs.watch(job_id, 0)]


def failure(job: JobRecord) -> FailureReceipt:
    assert job.receipt is not None
    return open_document(FailureReceipt, job.receipt, KEY.public).document


async def test_a_job_that_finishes_is_signed_and_its_adapter_stored(tmp_path: Path) -> None:
    shop = Shop(tmp_path, finish)
    job = await shop.end()
    assert (job.state, job.step, job.loss, job.attempts) == (JobState.SUCCEEDED, 1, 1.5, 1)
    assert job.receipt is not None
    receipt = open_document(TrainingReceipt, job.receipt, KEY.public).document
    assert (receipt.job_id, receipt.adapter, receipt.rows_trained) == (job.job_id, job.artifacts, 4)
    blob = shop.blobs.path(job.artifacts[0].sha256)
    assert blob.read_bytes() == b"weights"
    # The trainer's own file is another one: to write to it is not to write to what was signed.
    assert blob.stat().st_nlink == 1
    (order,) = shop.executor.orders
    assert (order.dataset.read_bytes(), order.base_model, order.max_cut_rows) == (b"rows", tmp_path, 7)
    assert order.training == shop.manifest.training
    assert shop.leased == 0


async def test_a_trainer_that_is_stopped_by_somebody_else_runs_again(tmp_path: Path) -> None:
    shop = Shop(tmp_path, be_stopped, be_stopped, finish)
    job = await shop.end()
    assert (job.state, job.attempts, len(shop.executor.orders)) == (JobState.SUCCEEDED, 3, 3)


async def test_it_does_not_run_again_for_ever(tmp_path: Path) -> None:
    shop = Shop(tmp_path, *[be_stopped] * 11)
    job = await shop.end()
    assert (job.state, job.attempts) == (JobState.FAILED, 10)
    assert failure(job).message == job.message == "the job was interrupted too often"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (fail, "row 3 is bad"),
        (leave_nothing, "the trainer left no result"),
        (crash, "the provider could not run the job"),
    ],
)
async def test_a_job_that_fails_says_why_in_a_receipt(tmp_path: Path, script: Script, message: str) -> None:
    job = await Shop(tmp_path, script).end()
    assert job.state is JobState.FAILED
    assert (failure(job).outcome, failure(job).message, job.message) == ("failed", message, message)


async def test_output_that_can_not_be_used_fails_the_job(tmp_path: Path) -> None:
    shop = Shop(tmp_path, finish)
    shop.executor.bad = True
    job = await shop.end()
    assert (job.state, job.message) == (JobState.FAILED, "the trainer's result can't be used: odd")
    assert shop.executor.orders == []


async def test_cancel_asks_a_running_job_to_stop(tmp_path: Path) -> None:
    shop = Shop(tmp_path, wait_for_stop)
    await shop.jobs.start()
    job = await shop.jobs.submit(await shop.contract(), "first")
    await shop.executor.running.wait()
    await shop.jobs.cancel(job.job_id)
    ended = await shop.last(job.job_id)
    assert (ended.state, failure(ended).outcome) == (JobState.CANCELLED, "cancelled")


async def test_cancel_ends_a_queued_job_at_once(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    job = await shop.jobs.submit(await shop.contract(), "first")  # nobody works yet
    ended = await shop.jobs.cancel(job.job_id)
    assert (ended.state, ended.message) == (JobState.CANCELLED, "cancelled before it began")
    await shop.jobs.start()
    assert await shop.last(job.job_id) == ended
    assert shop.executor.orders == []


async def test_a_stop_of_the_daemon_leaves_the_job_for_the_next_start(tmp_path: Path) -> None:
    shop = Shop(tmp_path, wait_for_stop)
    await shop.jobs.start()
    job = await shop.jobs.submit(await shop.contract(), "first")
    await shop.executor.running.wait()
    watcher = asyncio.create_task(states(shop.jobs, job.job_id))
    await shop.jobs.stop()
    with pytest.raises(UnavailableError):
        await watcher
    assert (await shop.jobs.get(job.job_id)).state is JobState.RUNNING

    again = _reopened(shop, finish)
    await again.jobs.start()
    ended = await again.last(job.job_id)
    assert (ended.state, ended.attempts) == (JobState.SUCCEEDED, 2)


async def test_what_an_earlier_daemon_finished_is_signed_off_and_not_trained_again(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    job = await shop.jobs.submit(await shop.contract(), "first")
    again = _reopened(shop)
    again.executor.output = leave_output(tmp_path)
    await again.jobs.start()
    ended = await again.last(job.job_id)
    assert (ended.state, ended.attempts) == (JobState.SUCCEEDED, 0)
    assert again.executor.orders == []


def _reopened(shop: Shop, *scripts: Script) -> Shop:
    """Another daemon over the same state folder."""
    other = Shop(shop.executor.folder, *scripts)
    other.manifest = shop.manifest
    other.blobs.add(other.data, shop.manifest.dataset.sha256)
    return other


async def test_without_a_data_set_nothing_is_queued(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    digest = (await shop.contracts.negotiate(sign_document(shop.manifest, CLIENT))).digest
    with pytest.raises(OutOfOrderError):
        await shop.jobs.submit(await shop.contracts.get(digest), "first")


async def test_the_same_request_is_the_same_job(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    contract = await shop.contract()
    job = await shop.jobs.submit(contract, "first")
    assert await shop.jobs.submit(contract, "first") == job
    assert await shop.jobs.of_contract(contract.digest) == [job]
