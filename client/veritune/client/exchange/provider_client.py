"""The client's half of the exchange up to the adapter: negotiate, upload, train, download.

Each step may be repeated after a break: the provider's calls are idempotent or resume from an offset, and whatever
comes back is checked against what was asked before it is returned.
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
"""How long after the training deadline a signed answer is still waited for."""


@dataclass(frozen=True)
class JobView:
    """A job's figures, for people: unsigned, and cleaned of what no number may be."""

    state: str
    step: int
    total_steps: int
    epoch: float
    loss: float
    tokens: int


@dataclass(frozen=True)
class _Meter:
    """Progress of one file within that of all."""

    progress: Progress
    before: int
    total: int

    def __call__(self, offset: int) -> None:
        self.progress("download", self.before + offset, self.total)


class ProviderClient:
    """One contract with one provider. ``contract`` is what `negotiate` returned."""

    def __init__(self, channel: Channel, client: PublicKey, provider: PublicKey) -> None:
        self._channel, self._client, self._provider = channel, client, provider

    def provider_info(self) -> pb.GetProviderInfoResponse:
        """Who the provider says it is. Raises `DigestError` when its key is not the pinned one."""
        answer: pb.GetProviderInfoResponse = self._channel.call(
            lambda: self._channel.provider.GetProviderInfo(pb.GetProviderInfoRequest(), timeout=CALL_TIMEOUT)
        )
        if answer.key_id != self._provider.key_id:
            raise DigestError("the provider at this address goes by another key than the pinned one")
        return answer

    def negotiate(self, offer: Envelope) -> Signed[Manifest]:
        """The same bytes with both signatures. Raises `PolicyError` with the point that the provider refuses."""
        request = pb.NegotiateManifestRequest(manifest=envelope_to_wire(offer))
        answer = self._channel.call(lambda: self._channel.provider.NegotiateManifest(request, timeout=CALL_TIMEOUT))
        return check_countersigned(offer, envelope_from_wire(answer.manifest), self._client, self._provider)

    def upload(
        self, contract: Signed[Manifest], path: Path, progress: Progress = no_progress
    ) -> Signed[DatasetReceipt]:
        """Sends what the provider does not have yet and returns its dataset receipt."""
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
        """Starts training, or finds the job that the same request id started; returns its id."""
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
        """Follows a job to its end, over breaks, and returns its checked receipt."""
        job = self._last_state(contract, job_id, on_change)
        if not job.HasField("receipt"):
            raise MalformedRequestError("the job has ended without a receipt")
        receipt = envelope_from_wire(job.receipt)
        if job.state == pb.JOB_STATE_SUCCEEDED:
            return receive_training_receipt(receipt, contract, dataset_receipt, job_id, self._provider)
        return receive_failure_receipt(receipt, contract, dataset_receipt, job_id, self._provider)

    def cancel(self, contract: Signed[Manifest], job_id: str) -> None:
        """Asks a job to stop."""
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
        """Fetches every file that the receipt names, going on where a break left off, and checks each digest."""
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
            # A stranger in the folder would be loaded with the rest.
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
    """The provider's reason for a job without an adapter, fit for a terminal."""
    return f"training {receipt.outcome}: {clean(receipt.message)}"
