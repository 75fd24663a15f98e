"""Ends a job: by a signed training receipt and its adapter in the blob store, or by a signed failure receipt."""

from __future__ import annotations

from typing import Literal

from veritune.common.errors import DigestError
from veritune.provider.jobs.executor import TrainedOutput
from veritune.provider.jobs.job_output import adapter_files, checkpoint_refs
from veritune.provider.receipts import Receipts
from veritune.provider.storage.blobs import BlobStore
from veritune.provider.storage.records import Ending, JobRecord, JobState
from veritune.provider.storage.store import Store
from veritune.provider.training.worker_protocol import WorkerResultError, read_trace, trace_root


class SignOff:
    """Checks a trainer's output, signs the receipt that ends the job, and stores both.

    A job that has ended already is unchanged. Every method blocks.
    """

    def __init__(self, store: Store, blobs: BlobStore, receipts: Receipts) -> None:
        self._store = store
        self._blobs = blobs
        self._receipts = receipts

    def succeed(self, job: JobRecord, output: TrainedOutput) -> JobRecord:
        """The job, ended with its adapter and a training receipt.

        Raises `WorkerResultError` for output that can't be signed, `NotFoundError` for an unknown job or contract.
        """
        contract = self._store.contract(job.manifest_digest)
        result = output.result
        adapter = adapter_files(output.folder, result)
        checkpoints = checkpoint_refs(output.folder, result.checkpoints)
        root = trace_root(read_trace(output.trace, result.steps))
        for ref in adapter:
            # A copy: the trainer may be anybody's program, and what it left running could still write to its own file.
            try:
                self._blobs.add_copy(output.folder / result.adapter / ref.name, ref.sha256)
            except DigestError as error:
                raise WorkerResultError("an adapter file changed while it was stored") from error

        def make(current: JobRecord) -> Ending:
            receipt = self._receipts.training(contract, current, adapter, checkpoints, result, root)
            return Ending(JobState.SUCCEEDED, receipt, artifacts=adapter)

        return self._store.end_job(job.job_id, make)

    def fail(self, job_id: str, state: Literal[JobState.FAILED, JobState.CANCELLED], message: str) -> JobRecord:
        """The job, ended without an adapter by a failure receipt; ``message`` is for the client.

        Raises `NotFoundError` for an unknown job.
        """
        contract = self._store.contract(self._store.job(job_id).manifest_digest)
        outcome: Literal["failed", "cancelled"] = "cancelled" if state is JobState.CANCELLED else "failed"

        def make(current: JobRecord) -> Ending:
            return Ending(state, self._receipts.failure(contract, current, outcome, message), message)

        return self._store.end_job(job_id, make)
