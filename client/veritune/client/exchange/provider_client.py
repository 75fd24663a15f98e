"""The client of `ProviderService`: negotiate a contract, upload the data set, train, download the adapter.

Each step may be repeated after a broken connection: calls are idempotent or resume from an offset. Every response is
checked against the request before it is returned.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import grpc

from veritune.arbiter.papers import (
    check_countersigned,
    receive_dataset_receipt,
    receive_failure_receipt,
    receive_training_receipt,
)
from veritune.client.exchange.channel import CALL_TIMEOUT, Channel, clean, to_error
from veritune.client.progress import Progress, no_progress
from veritune.common.documents.base import parse_time
from veritune.common.documents.manifest import Manifest
from veritune.common.documents.receipts import DatasetReceipt, FailureReceipt, FileRef, TrainingReceipt
from veritune.common.envelope import Envelope
from veritune.common.errors import (
    DeadlineError,
    DigestError,
    MalformedRequestError,
    OffsetError,
    OutOfOrderError,
    TooLargeError,
    TruncatedError,
    UnavailableError,
    VerituneError,
)
from veritune.common.keys import PublicKey
from veritune.common.limits import LIMITS
from veritune.common.signing import Signed
from veritune.common.wire import envelope_from_wire, envelope_to_wire
from veritune.v1 import provider_service_pb2 as pb

LATE = timedelta(minutes=5)
"""How long the client still waits for a signed answer after the training deadline."""


@dataclass(frozen=True)
class JobView:
    """The progress of a training job as the provider reports it: unsigned, for display only.

    ``step`` is between 0 and ``total_steps``, if that is known (not 0); ``tokens`` is at least 0.
    """

    state: str
    step: int
    total_steps: int
    epoch: float
    loss: float
    tokens: int


@dataclass(frozen=True)
class _Meter:
    """Reports the progress of one file as a part of all files' bytes."""

    progress: Progress
    before: int
    total: int

    def __call__(self, offset: int) -> None:
        self.progress("download", self.before + offset, self.total)


class ProviderClient:
    """Calls one provider about one contract; the ``contract`` of all methods is what `negotiate` returned.

    All methods raise the error with which the provider answers (`to_error`), `UnavailableError` if it can't be reached.
    Those that return a document raise `SignatureError`, `DigestError`, `MalformedDocumentError`, `TooLargeError` or
    `ExpiredError` if it doesn't pass its checks (`veritune.arbiter.papers`).
    """

    def __init__(self, channel: Channel, client: PublicKey, provider: PublicKey) -> None:
        self._channel, self._client, self._provider = channel, client, provider

    def provider_info(self) -> pb.GetProviderInfoResponse:
        """The provider's description of itself. Raises `DigestError` if its key isn't the pinned one."""
        answer: pb.GetProviderInfoResponse = self._channel.call(
            lambda: self._channel.provider.GetProviderInfo(pb.GetProviderInfoRequest(), timeout=CALL_TIMEOUT)
        )
        if answer.key_id != self._provider.key_id:
            raise DigestError("the provider at this address goes by another key than the pinned one")
        return answer

    def negotiate(self, offer: Envelope) -> Signed[Manifest]:
        """The contract in force: the offered bytes with both signatures.

        Raises `PolicyError` with the point that the provider refuses.
        """
        request = pb.NegotiateManifestRequest(manifest=envelope_to_wire(offer))
        answer = self._channel.call(lambda: self._channel.provider.NegotiateManifest(request, timeout=CALL_TIMEOUT))
        return check_countersigned(offer, envelope_from_wire(answer.manifest), self._client, self._provider)

    def upload(
        self, contract: Signed[Manifest], path: Path, progress: Progress = no_progress
    ) -> Signed[DatasetReceipt]:
        """The provider's dataset receipt, after sending the bytes of the file ``path`` that it doesn't have yet.

        Raises `OffsetError` if it claims to have more bytes than there are.
        """
        metadata, manifest = self._channel.metadata, contract.document
        query = pb.QueryUploadRequest(manifest_digest=contract.digest)
        pauses, last = self._channel.pauses(), -1
        while True:
            state = self._channel.call(
                lambda: self._channel.provider.QueryUpload(
                    query, timeout=CALL_TIMEOUT, metadata=metadata(contract.digest)
                )
            )
            if state.HasField("receipt"):
                envelope = envelope_from_wire(state.receipt)
                break
            if not 0 <= state.offset <= manifest.dataset.size:
                raise OffsetError("the provider claims to hold more of the data set than there is")
            if state.offset > last:
                pauses, last = self._channel.pauses(), state.offset
            try:
                answer = self._channel.provider.UploadDataset(
                    _pieces(contract, path, state.offset, progress),
                    timeout=self._channel.seconds_until(parse_time(manifest.deadlines.train)),
                    metadata=metadata(contract.digest),
                )
                envelope = envelope_from_wire(answer.receipt)
                break
            except grpc.RpcError as error:
                failure = to_error(error)
                pause = next(pauses, None)
                if not isinstance(failure, (UnavailableError, TruncatedError)) or pause is None:
                    raise failure from error
                self._channel.sleep(pause)
        receipt = receive_dataset_receipt(envelope, contract, self._provider)
        progress("upload", manifest.dataset.size, manifest.dataset.size)
        return receipt

    def start(self, contract: Signed[Manifest], request_id: str) -> str:
        """The id of the training job that this call, or an earlier one with the same request id, started.

        Raises `MalformedRequestError` for an unusable id, `DigestError` for a job of another contract.
        """
        request = pb.StartTrainingJobRequest(request_id=request_id, manifest_digest=contract.digest)
        answer = self._channel.call(
            lambda: self._channel.provider.StartTrainingJob(
                request, timeout=CALL_TIMEOUT, metadata=self._channel.metadata(contract.digest)
            )
        )
        job_id: str = answer.job.job_id
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}", job_id):
            raise MalformedRequestError("the provider answered without a usable job id")
        if answer.job.manifest_digest != contract.digest:
            raise DigestError("the provider started a job of another contract")
        return job_id

    def watch(
        self,
        contract: Signed[Manifest],
        dataset_receipt: Signed[DatasetReceipt],
        job_id: str,
        on_change: Callable[[JobView], None] = lambda view: None,
    ) -> Signed[TrainingReceipt] | Signed[FailureReceipt]:
        """The checked receipt of a job, once it has ended; the call is repeated after a broken connection.

        Raises `DeadlineError` after the contract's deadline for training, `OutOfOrderError` if the job's revisions
        decrease, `DigestError` for another job, `MalformedRequestError` for an unknown state or no receipt.
        """
        job = self._last_state(contract, job_id, on_change)
        if not job.HasField("receipt"):
            raise MalformedRequestError("the job has ended without a receipt")
        receipt = envelope_from_wire(job.receipt)
        if job.state == pb.JOB_STATE_SUCCEEDED:
            return receive_training_receipt(receipt, contract, dataset_receipt, job_id, self._provider)
        return receive_failure_receipt(receipt, contract, dataset_receipt, job_id, self._provider)

    def cancel(self, contract: Signed[Manifest], job_id: str) -> None:
        """Asks the provider to stop a job; its end still has a receipt (`watch`)."""
        request = pb.CancelTrainingJobRequest(job_id=job_id)
        self._channel.call(
            lambda: self._channel.provider.CancelTrainingJob(
                request, timeout=CALL_TIMEOUT, metadata=self._channel.metadata(contract.digest)
            )
        )

    def download(
        self,
        contract: Signed[Manifest],
        receipt: TrainingReceipt,
        folder: Path,
        progress: Progress = no_progress,
    ) -> None:
        """Downloads all files that the receipt names into ``folder`` and checks their digests.

        Partial files are resumed; other files in ``folder`` are deleted. Raises `TooLargeError` or `DigestError` for
        another file than the receipt's, `TruncatedError` for one that keeps ending early.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        total, done = sum(item.size for item in receipt.adapter), 0
        for item in receipt.adapter:
            whole = folder / item.name
            if not (whole.is_file() and whole.stat().st_size == item.size and _sha256(whole) == item.sha256):
                self._fetch(contract, receipt.job_id, item, folder, _Meter(progress, done, total))
            done += item.size
            progress("download", done, total)
        known = {item.name for item in receipt.adapter}
        for path in folder.iterdir():
            # A file that the receipt doesn't name would be loaded with the others.
            if path.name not in known and path.is_file():
                path.unlink()

    def _last_state(
        self, contract: Signed[Manifest], job_id: str, on_change: Callable[[JobView], None]
    ) -> pb.TrainingJob:
        revision, pauses = 0, self._channel.pauses()
        deadline = parse_time(contract.document.deadlines.train) + LATE
        while True:
            request = pb.WatchTrainingJobRequest(job_id=job_id, after_revision=revision)
            try:
                stream = self._channel.provider.WatchTrainingJob(
                    request,
                    timeout=self._channel.seconds_until(deadline),
                    metadata=self._channel.metadata(contract.digest),
                )
                for message in stream:
                    job: pb.TrainingJob = message.job
                    if job.job_id != job_id or job.manifest_digest != contract.digest:
                        raise DigestError("the provider reports on another job")
                    if job.revision < revision:
                        raise OutOfOrderError("the provider's job goes back in time")
                    revision, pauses = job.revision, self._channel.pauses()
                    on_change(_view(job))
                    if job.state in _ENDED:
                        return job
                failure: VerituneError = UnavailableError("the provider ended the watch before the job had ended")
            except grpc.RpcError as error:
                failure = to_error(error)
            pause = next(pauses, None)
            if self._channel.now() >= deadline:
                raise DeadlineError("the contract's deadline for training has passed") from failure
            if not isinstance(failure, (UnavailableError, DeadlineError)) or pause is None:
                raise failure
            self._channel.sleep(pause)

    def _fetch(
        self,
        contract: Signed[Manifest],
        job_id: str,
        item: FileRef,
        folder: Path,
        meter: _Meter,
    ) -> None:
        part = folder / f".{item.name}.part"
        pauses = self._channel.pauses()
        with part.open("ab") as file:
            if file.tell() > item.size:
                file.truncate(0)
            while (offset := file.seek(0, os.SEEK_END)) < item.size:
                request = pb.DownloadArtifactRequest(job_id=job_id, name=item.name, offset=offset)
                failure: VerituneError = TruncatedError(f"{item.name} ended before its size")
                try:
                    for message in self._channel.provider.DownloadArtifact(
                        request,
                        timeout=self._channel.seconds_until(parse_time(contract.document.deadlines.reveal)),
                        metadata=self._channel.metadata(contract.digest),
                    ):
                        offset += len(message.chunk)
                        if offset > item.size or len(message.chunk) > LIMITS.chunk:
                            raise TooLargeError(f"{item.name} is longer than the training receipt says")
                        file.write(message.chunk)
                        meter(offset)
                except grpc.RpcError as error:
                    failure = to_error(error)
                file.flush()
                if offset < item.size:
                    pause = next(pauses, None)
                    if not isinstance(failure, (UnavailableError, TruncatedError)) or pause is None:
                        raise failure
                    self._channel.sleep(pause)
            os.fsync(file.fileno())
        if _sha256(part) != item.sha256:
            part.unlink()
            raise DigestError(f"{item.name} is not the file that the training receipt names")
        part.replace(folder / item.name)


_ENDED = (pb.JOB_STATE_SUCCEEDED, pb.JOB_STATE_FAILED, pb.JOB_STATE_CANCELLED)
_STATES = {
    pb.JOB_STATE_QUEUED: "queued",
    pb.JOB_STATE_RUNNING: "training",
    pb.JOB_STATE_SUCCEEDED: "done",
    pb.JOB_STATE_FAILED: "failed",
    pb.JOB_STATE_CANCELLED: "cancelled",
}


def _view(job: pb.TrainingJob) -> JobView:
    state = _STATES.get(job.state)
    if state is None:
        raise MalformedRequestError("the provider sent a job in an unknown state")
    total = max(0, job.total_steps)
    return JobView(state, max(0, min(job.step, total or job.step)), total, job.epoch, job.loss, max(0, job.tokens))


def _pieces(
    contract: Signed[Manifest], path: Path, offset: int, progress: Progress
) -> Iterator[pb.UploadDatasetRequest]:
    terms = contract.document.dataset
    yield pb.UploadDatasetRequest(
        header=pb.UploadHeader(
            manifest_digest=contract.digest, sha256=terms.sha256, total_size=terms.size, offset=offset
        )
    )
    with path.open("rb") as file:
        file.seek(offset)
        while chunk := file.read(LIMITS.chunk):
            yield pb.UploadDatasetRequest(chunk=chunk)
            offset += len(chunk)
            progress("upload", offset, terms.size)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe_failure(receipt: FailureReceipt) -> str:
    """The provider's reason why a job ended without an adapter, as text that is safe for a terminal."""
    return f"training {receipt.outcome}: {clean(receipt.message)}"
