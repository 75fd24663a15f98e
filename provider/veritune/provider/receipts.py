"""Builds and signs the provider's receipts; the caller stores each receipt before it is sent."""

from __future__ import annotations

from typing import Literal

from veritune.arbiter.papers import check_training
from veritune.common.dataset import DatasetSummary
from veritune.common.documents.base import format_time
from veritune.common.documents.manifest import Manifest
from veritune.common.documents.receipts import (
    Checkpoint,
    DatasetReceipt,
    FailureReceipt,
    FileRef,
    InferenceReceipt,
    TrainingReceipt,
)
from veritune.common.envelope import Envelope
from veritune.common.errors import MalformedDocumentError
from veritune.common.keys import PrivateKey
from veritune.common.signing import sign_document
from veritune.provider.clock import Clock
from veritune.provider.storage.records import ContractRecord, JobRecord
from veritune.provider.training.worker_protocol import WorkerResult, WorkerResultError


class Receipts:
    """Makes receipts, signed with the provider's key and dated by ``clock``."""

    def __init__(self, key: PrivateKey, clock: Clock) -> None:
        self._key = key
        self._clock = clock

    def dataset(self, manifest_digest: str, summary: DatasetSummary) -> Envelope:
        """The signed receipt of a data set that was received completely and checked."""
        receipt = DatasetReceipt(
            manifest_digest=manifest_digest,
            rows=summary.rows,
            size=summary.size,
            sha256=summary.sha256,
            merkle_root=summary.merkle_root,
            received=self._now(),
        )
        return sign_document(receipt, self._key)

    def training(
        self,
        contract: ContractRecord,
        job: JobRecord,
        adapter: tuple[FileRef, ...],
        checkpoints: tuple[Checkpoint, ...],
        result: WorkerResult,
        root: str,
    ) -> Envelope:
        """The signed receipt of a job that left an adapter; ``root`` is the Merkle root (hexadecimal) of its trace.

        Raises `WorkerResultError` if the receipt's figures or files can't be true under the contract.
        """
        receipt = TrainingReceipt(
            manifest_digest=job.manifest_digest,
            dataset_receipt_digest=_dataset_digest(contract),
            job_id=job.job_id,
            adapter=adapter,
            checkpoints=checkpoints,
            steps=result.steps,
            tokens=result.tokens,
            label_tokens=result.label_tokens,
            rows_trained=result.rows_trained,
            rows_dropped=result.rows_dropped,
            rows_cut=result.rows_cut,
            trace_root=root,
            software=result.software,
            hardware=result.hardware,
            started=format_time(job.started or job.created),
            finished=self._now(),
        )
        # Client and audit make the same check later; a receipt that they would refuse must not be signed.
        try:
            check_training(receipt, Manifest.from_bytes(contract.envelope.payload))
        except MalformedDocumentError as error:
            raise WorkerResultError(error.message) from error
        return sign_document(receipt, self._key)

    def failure(
        self, contract: ContractRecord, job: JobRecord, outcome: Literal["failed", "cancelled"], message: str
    ) -> Envelope:
        """The signed receipt of a job that ended without an adapter; ``message`` is cut after 1,000 characters."""
        receipt = FailureReceipt(
            manifest_digest=job.manifest_digest,
            dataset_receipt_digest=_dataset_digest(contract),
            job_id=job.job_id,
            outcome=outcome,
            message=message[:1000],
            finished=self._now(),
        )
        return sign_document(receipt, self._key)

    def inference(
        self,
        manifest_digest: str,
        training_receipt: Envelope | None,
        sequence: int,
        kind: Literal["generate", "score"],
        request_digest: str,
        output_digest: str,
    ) -> Envelope:
        """The signed receipt of one answer, the contract's number ``sequence`` (from 1).

        ``training_receipt`` is None for an answer of the base model. The digests are those of SPEC section 6.2.
        """
        receipt = InferenceReceipt(
            manifest_digest=manifest_digest,
            training_receipt_digest=None if training_receipt is None else training_receipt.digest,
            sequence=sequence,
            kind=kind,
            request_digest=request_digest,
            output_digest=output_digest,
            issued=self._now(),
        )
        return sign_document(receipt, self._key)

    def _now(self) -> str:
        return format_time(self._clock())


def _dataset_digest(contract: ContractRecord) -> str:
    if contract.dataset_receipt is None:
        raise RuntimeError("a job without a data set")
    return contract.dataset_receipt.digest
