"""The gRPC ProviderService: translates requests for contracts, uploads, jobs and files, and answers them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

from veritune.common.envelope import Envelope
from veritune.common.errors import (
    ConflictError,
    MalformedRequestError,
    NotFoundError,
    OffsetError,
    OutOfOrderError,
    UnavailableError,
    VerituneError,
)
from veritune.common.limits import LIMITS
from veritune.common.wire import envelope_from_wire, envelope_to_wire
from veritune.provider.concurrency import in_thread
from veritune.provider.contracts.contracts import Contracts
from veritune.provider.contracts.gate import Gate
from veritune.provider.contracts.policy import ProviderPolicy
from veritune.provider.contracts.uploads import Header, Uploads
from veritune.provider.jobs.jobs import Jobs
from veritune.provider.models.catalog import ModelCatalog
from veritune.provider.rpc.access import Context, access_header
from veritune.provider.rpc.status import stream, unary
from veritune.provider.storage.blobs import BlobStore
from veritune.provider.storage.records import JobRecord, JobState
from veritune.v1 import provider_service_pb2 as pb
from veritune.v1 import provider_service_pb2_grpc as pb_grpc

_LINGER_SECONDS = 2.0
_LINGER_BYTES = 64 * LIMITS.chunk
"""How long and how much `_linger` reads."""
_REQUEST_ID = re.compile(r"^[A-Za-z0-9_-]{1,64}$")
_STATES = {
    JobState.QUEUED: pb.JOB_STATE_QUEUED,
    JobState.RUNNING: pb.JOB_STATE_RUNNING,
    JobState.SUCCEEDED: pb.JOB_STATE_SUCCEEDED,
    JobState.FAILED: pb.JOB_STATE_FAILED,
    JobState.CANCELLED: pb.JOB_STATE_CANCELLED,
}


class ProviderService(pb_grpc.ProviderServiceServicer):
    """Handlers of ProviderService; an error that a handler raises becomes a gRPC status (`rpc.status`).

    Every call but GetProviderInfo and NegotiateManifest needs an access token, or raises `UnauthenticatedError`.
    """

    def __init__(
        self,
        key_id: str,
        policy: ProviderPolicy,
        models: ModelCatalog,
        contracts: Contracts,
        gate: Gate,
        uploads: Uploads,
        jobs: Jobs,
        blobs: BlobStore,
    ) -> None:
        self._key_id = key_id
        self._policy = policy
        self._models = models
        self._contracts = contracts
        self._gate = gate
        self._uploads = uploads
        self._jobs = jobs
        self._blobs = blobs

    @unary
    async def GetProviderInfo(  # noqa: N802 - the name in the schema, here and below
        self, request: pb.GetProviderInfoRequest, context: Context
    ) -> pb.GetProviderInfoResponse:
        """Returns the provider's key id, base models, policy and software version, none of them signed."""
        return pb.GetProviderInfoResponse(
            key_id=self._key_id,
            models=[pb.BaseModel(name=model.name, digest=model.digest) for model in self._models.models],
            policy_json=self._policy.to_bytes().decode(),
            software_version=software_version(),
        )

    @unary
    async def NegotiateManifest(  # noqa: N802
        self, request: pb.NegotiateManifestRequest, context: Context
    ) -> pb.NegotiateManifestResponse:
        """Returns the manifest that was offered, with both signatures. Raises as `Contracts.negotiate` does."""
        envelope = await self._contracts.negotiate(envelope_from_wire(request.manifest))
        return pb.NegotiateManifestResponse(manifest=envelope_to_wire(envelope))

    @unary
    async def UploadDataset(  # noqa: N802
        self, request: AsyncIterator[pb.UploadDatasetRequest], context: Context
    ) -> pb.UploadDatasetResponse:
        """Receives a data set and returns its signed receipt.

        Raises as `Gate.contract` and `Uploads.receive` do, and `MalformedRequestError` if the stream is not one header
        and then chunks.
        """
        parts = aiter(request)
        try:
            receipt = await self._receive(parts, context)
        except (ConflictError, UnavailableError):  # the client has gone or sends nothing
            raise
        except VerituneError:
            await _linger(parts)
            raise
        await _linger(parts)
        return pb.UploadDatasetResponse(receipt=envelope_to_wire(receipt))

    async def _receive(self, parts: AsyncIterator[pb.UploadDatasetRequest], context: Context) -> Envelope:
        first = await anext(parts, None)
        if first is None or first.WhichOneof("part") != "header":
            raise MalformedRequestError("the first message of an upload must be its header")
        contract = await self._gate.contract(access_header(context), first.header.manifest_digest)
        header = Header(first.header.sha256, first.header.total_size, first.header.offset)
        return await self._uploads.receive(contract, header, _chunks(parts))

    @unary
    async def QueryUpload(  # noqa: N802
        self, request: pb.QueryUploadRequest, context: Context
    ) -> pb.QueryUploadResponse:
        """Returns the bytes of an upload that are on disk, and the receipt of a complete one.

        Raises as `Gate.contract` does.
        """
        contract = await self._gate.contract(access_header(context), request.manifest_digest)
        offset, receipt = await self._uploads.state(contract)
        return pb.QueryUploadResponse(offset=offset, receipt=None if receipt is None else envelope_to_wire(receipt))

    @unary
    async def StartTrainingJob(  # noqa: N802
        self, request: pb.StartTrainingJobRequest, context: Context
    ) -> pb.StartTrainingJobResponse:
        """Queues the contract's training job; the same ``request_id`` again returns the same job.

        Raises as `Gate.contract` and `Jobs.submit` do, and `MalformedRequestError` for a malformed ``request_id``.
        """
        if not _REQUEST_ID.fullmatch(request.request_id):
            raise MalformedRequestError("request_id must be 1 to 64 characters of A-Z, a-z, 0-9, _ and -")
        contract = await self._gate.contract(access_header(context), request.manifest_digest)
        job = await self._jobs.submit(contract, request.request_id)
        return pb.StartTrainingJobResponse(job=job_to_wire(job))

    @unary
    async def GetTrainingJob(  # noqa: N802
        self, request: pb.GetTrainingJobRequest, context: Context
    ) -> pb.GetTrainingJobResponse:
        """Returns the current state of a job. Raises as `Gate.job` does."""
        _, job = await self._gate.job(access_header(context), request.job_id)
        return pb.GetTrainingJobResponse(job=job_to_wire(job))

    @unary
    async def ListTrainingJobs(  # noqa: N802
        self, request: pb.ListTrainingJobsRequest, context: Context
    ) -> pb.ListTrainingJobsResponse:
        """Returns the jobs of one contract, oldest first. Raises as `Gate.contract` does."""
        contract = await self._gate.contract(access_header(context), request.manifest_digest)
        jobs = await self._jobs.of_contract(contract.digest)
        return pb.ListTrainingJobsResponse(jobs=[job_to_wire(job) for job in jobs])

    @stream
    async def WatchTrainingJob(  # noqa: N802
        self, request: pb.WatchTrainingJobRequest, context: Context
    ) -> AsyncIterator[pb.WatchTrainingJobResponse]:
        """Streams a job's state, then every change with a higher revision, until the job has ended.

        Raises as `Gate.job` and `Jobs.watch` do, and `MalformedRequestError` for a negative ``after_revision``.
        """
        if request.after_revision < 0:
            raise MalformedRequestError("after_revision must not be negative")
        await self._gate.job(access_header(context), request.job_id)
        async for job in self._jobs.watch(request.job_id, request.after_revision):
            yield pb.WatchTrainingJobResponse(job=job_to_wire(job))

    @unary
    async def CancelTrainingJob(  # noqa: N802
        self, request: pb.CancelTrainingJobRequest, context: Context
    ) -> pb.CancelTrainingJobResponse:
        """Asks a job to stop and returns its state. Raises as `Gate.job` does."""
        await self._gate.job(access_header(context), request.job_id)
        job = await self._jobs.cancel(request.job_id)
        return pb.CancelTrainingJobResponse(job=job_to_wire(job))

    @stream
    async def DownloadArtifact(  # noqa: N802
        self, request: pb.DownloadArtifactRequest, context: Context
    ) -> AsyncIterator[pb.DownloadArtifactResponse]:
        """Streams a file of a succeeded job from ``offset`` on, in chunks of at most 1 MiB.

        Raises as `Gate.job` does, `OutOfOrderError` if the job has not succeeded, `NotFoundError` for a file that the
        job does not have, and `OffsetError` for an offset past its end.
        """
        _, job = await self._gate.job(access_header(context), request.job_id)
        if job.state is not JobState.SUCCEEDED:
            raise OutOfOrderError("the job has not succeeded", missing="adapter")
        ref = next((item for item in job.artifacts if item.name == request.name), None)
        if ref is None:
            raise NotFoundError("the job has no artifact of that name")
        if not 0 <= request.offset <= ref.size:
            raise OffsetError(f"the offset must be from 0 to {ref.size}", size=str(ref.size))
        offset = request.offset
        while offset < ref.size:
            chunk = await in_thread(self._blobs.read, ref.sha256, offset, LIMITS.chunk)
            if not chunk:
                raise RuntimeError("a blob is shorter than it was")
            yield pb.DownloadArtifactResponse(chunk=chunk)
            offset += len(chunk)


def job_to_wire(job: JobRecord) -> pb.TrainingJob:
    """The state of a job as a protobuf message."""
    return pb.TrainingJob(
        job_id=job.job_id,
        manifest_digest=job.manifest_digest,
        state=_STATES[job.state],
        revision=job.revision,
        step=job.step,
        total_steps=job.total_steps,
        epoch=job.epoch,
        loss=job.loss,
        tokens=job.tokens,
        receipt=None if job.receipt is None else envelope_to_wire(job.receipt),
        artifacts=[pb.Artifact(name=ref.name, size=ref.size, sha256=ref.sha256) for ref in job.artifacts],
        message=job.message,
    )


def software_version() -> str:
    """The version of the installed package; ``unknown`` if the code runs from a checkout that isn't installed."""
    try:
        return version("veritune")
    except PackageNotFoundError:
        return "unknown"


async def _linger(parts: AsyncIterator[pb.UploadDatasetRequest]) -> None:
    """Reads and drops a few more messages of an upload that is answered before its end.

    Otherwise a client whose write fails because the call has ended may see that failure instead of the answer.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_SECONDS):
            seen = 0
            async for part in parts:
                seen += len(part.chunk)
                if seen > _LINGER_BYTES:
                    return


async def _chunks(parts: AsyncIterator[pb.UploadDatasetRequest]) -> AsyncIterator[bytes]:
    async for part in parts:
        if part.WhichOneof("part") != "chunk":
            raise MalformedRequestError("after the header an upload carries chunks only")
        yield part.chunk
