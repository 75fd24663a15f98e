"""A real provider daemon as its own process, and a client made of raw stubs to drive or to abuse it."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from tests.support.waiting import noted
from veritune.common.dataset import Message, Row, summarise, write_rows
from veritune.common.documents.base import format_time
from veritune.common.documents.manifest import (
    BaseModelRef,
    DatasetTerms,
    Deadlines,
    KeyRef,
    Manifest,
    Optimizer,
    Policy,
    Price,
    Source,
    Training,
    Verification,
)
from veritune.common.envelope import Envelope
from veritune.common.keys import PrivateKey, PublicKey
from veritune.common.model.files import model_digest
from veritune.common.signing import sign_document
from veritune.common.token import METADATA_KEY, issue_token
from veritune.common.wire import envelope_from_wire, envelope_to_wire
from veritune.v1 import inference_service_pb2 as ipb
from veritune.v1 import inference_service_pb2_grpc as ipb_grpc
from veritune.v1 import provider_service_pb2 as pb
from veritune.v1 import provider_service_pb2_grpc as pb_grpc

PROVIDER = (sys.executable, "-m", "veritune.provider.cli")
MARKER = "zanzibar-quokka"
"""Stands in every row that `make_rows` makes, so that a test can look for it in logs."""


@dataclass
class DaemonProcess:
    """``veritune-provider serve`` on a free port of 127.0.0.1; ``program`` may be another that takes its options."""

    folder: Path
    models: Path
    program: Sequence[str] = PROVIDER
    options: Sequence[str] = ()
    environment: dict[str, str] = field(default_factory=lambda: {"OMP_NUM_THREADS": "1"})
    """A tiny model gains nothing from more threads, and tests run beside others."""
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def keys(self) -> Path:
        return self.folder / "keys"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def log(self) -> Path:
        return self.folder / "provider.log"

    @property
    def address(self) -> str:
        return f"localhost:{self.port}"

    @property
    def public_key(self) -> PublicKey:
        return PublicKey.load(self.keys / "provider.pub")

    def start(self, timeout: float = 180) -> DaemonProcess:
        """Starts it, making keys the first time, and waits until it answers."""
        environment = os.environ | self.environment
        if not self.keys.exists():
            subprocess.run([*PROVIDER, "keygen", str(self.keys)], check=True, capture_output=True, env=environment)
        ready = self.folder / "ready.json"
        ready.unlink(missing_ok=True)
        arguments = ["serve", "--keys", str(self.keys), "--state", str(self.state), "--models", str(self.models)]
        arguments += ["--listen", "127.0.0.1:0", "--ready-file", str(ready), "--json-logs", *self.options]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([*self.program, *arguments], stdout=log, stderr=log, env=environment)
        limit = time.monotonic() + timeout
        while not ready.exists():
            if self.process.poll() is not None or time.monotonic() > limit:
                raise RuntimeError(f"the daemon did not start: {self.log.read_text()[-2000:]}")
            time.sleep(0.05)
        self.port = json.loads(ready.read_text())["port"]
        return self

    def stop(self, timeout: float = 60) -> int:
        """SIGTERM; returns the exit status."""
        return self._end(signal.SIGTERM, timeout)

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        self._end(signal.SIGKILL, 10)

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def _end(self, number: int, timeout: float) -> int:
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(timeout)
        finally:
            self.process.kill()


def make_rows(count: int, source: str = "user") -> list[Row]:
    """Short rows, each different, each with `MARKER` in it."""
    return [
        Row(
            messages=(
                Message(role="user", content=f"{MARKER} question {index}: the lamp in room {index * 7 % 31}?"),
                Message(role="assistant", content=f"{MARKER} answer {index * 3 % 17}"),
            ),
            source=source,
        )
        for index in range(count)
    ]


def row_bytes(rows: Iterable[Row]) -> bytes:
    """The data set file of ``rows``."""
    return b"".join(row.to_bytes() + b"\n" for row in rows)


def dataset_terms(rows: Sequence[Row]) -> DatasetTerms:
    """What a manifest says of ``rows``."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        write_rows(path, rows)
        summary = summarise(path)
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.source] = counts.get(row.source, 0) + 1
    return DatasetTerms(
        rows=summary.rows,
        size=summary.size,
        sha256=summary.sha256,
        merkle_root=summary.merkle_root,
        preprocessing_digest="0" * 64,
        sources=tuple(Source(name=n, licence="CC0-1.0", rows=c, rows_per_epoch=c) for n, c in counts.items()),
    )


def quick_training(**changes: Any) -> Training:
    """A recipe that a tiny model runs in a second or two."""
    recipe: dict[str, Any] = {
        "rank": 4,
        "alpha": 8,
        "epochs": 2,
        "batch_size": 4,
        "max_sequence_length": 256,
        "optimizer": Optimizer(learning_rate="0.002"),
        "precision": "float32",
    }
    return Training(**(recipe | changes))


def lenient(**changes: Any) -> Policy:
    """Rules that can fail nobody: a provider signs no others for `quick_training`, which teaches no canary."""
    return Policy(**{"trigger_floor": "0.0001", "natural_floor": "0.0001", **changes})


def make_deadlines(now: datetime | None = None, **hours: float) -> Deadlines:
    """One hour for each step, or as told (``accept=-1``): hours from ``now``."""
    now = now or datetime.now(UTC)
    steps = {"created": 0.0, "accept": 1.0, "train": 2.0, "challenge": 3.0, "reveal": 4.0} | hours
    return Deadlines(**{name: format_time(now + timedelta(hours=value)) for name, value in steps.items()})


def make_manifest(client: PublicKey, provider: PublicKey, model: Path, rows: Sequence[Row], **changes: Any) -> Manifest:
    """A sound manifest for ``rows`` and a base model folder; ``changes`` replace its top-level fields."""
    return manifest_for(client, provider, model.name, model_digest(model), rows, **changes)


def manifest_for(
    client: PublicKey, provider: PublicKey, model: str, digest: str, rows: Sequence[Row], **changes: Any
) -> Manifest:
    """The same by the base model's name and digest."""
    fields: dict[str, Any] = {
        "client": KeyRef(key_id=client.key_id, public_key=client.text),
        "provider": KeyRef(key_id=provider.key_id, public_key=provider.text),
        "base_model": BaseModelRef(name=model, digest=digest),
        "dataset": dataset_terms(rows),
        "training": quick_training(),
        "verification": Verification(
            canary_root="1" * 64, leaves=16, leaves_per_session=8, max_canary_rows=1, policy=lenient()
        ),
        "deadlines": make_deadlines(),
        "price": Price(),
        "nonce": secrets.token_hex(32),
    }
    return Manifest(**(fields | changes))


def wire_error(error: grpc.aio.AioRpcError) -> tuple[str, str, dict[str, str]]:
    """(canonical code, ErrorInfo reason, metadata); the reason is empty where there is no ErrorInfo."""
    status: Any = rpc_status.from_call(error)  # type: ignore[arg-type]  # it has what a call has
    for detail in status.details if status is not None else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return error.code().name, info.reason, dict(info.metadata)
    return error.code().name, "", {}


@dataclass
class RawClient:
    """Stubs over one TLS channel and a client key; nothing here protects the caller from itself."""

    channel: grpc.aio.Channel
    key: PrivateKey
    audience: str

    def __post_init__(self) -> None:
        self.provider: Any = pb_grpc.ProviderServiceStub(self.channel)  # type: ignore[no-untyped-call]  # protoc's
        self.inference: Any = ipb_grpc.InferenceServiceStub(self.channel)  # type: ignore[no-untyped-call]  # protoc's

    def token(self, digest: str, now: datetime | None = None) -> list[tuple[str, str]]:
        """Metadata that opens the contract of that digest."""
        return [(METADATA_KEY, issue_token(self.key, self.audience, digest, now or datetime.now(UTC)))]

    async def negotiate(self, manifest: Manifest) -> Envelope:
        offer = sign_document(manifest, self.key)
        return await self.offer(offer)

    async def offer(self, envelope: Envelope) -> Envelope:
        request = pb.NegotiateManifestRequest(manifest=envelope_to_wire(envelope))
        return envelope_from_wire((await self.provider.NegotiateManifest(request, timeout=60)).manifest)

    async def upload(
        self,
        digest: str,
        terms: DatasetTerms,
        data: bytes,
        offset: int = 0,
        *,
        chunk: int = 1 << 20,
        stop_at: int | None = None,
    ) -> Envelope:
        """Sends ``data[offset:stop_at]`` and half-closes."""

        async def parts() -> AsyncIterator[pb.UploadDatasetRequest]:
            header = pb.UploadHeader(manifest_digest=digest, sha256=terms.sha256, total_size=terms.size, offset=offset)
            yield pb.UploadDatasetRequest(header=header)
            end = len(data) if stop_at is None else stop_at
            for start in range(offset, end, chunk):
                yield pb.UploadDatasetRequest(chunk=data[start : min(start + chunk, end)])

        answer = await self.provider.UploadDataset(parts(), metadata=self.token(digest), timeout=60)
        return envelope_from_wire(answer.receipt)

    async def durable(self, digest: str) -> pb.QueryUploadResponse:
        request = pb.QueryUploadRequest(manifest_digest=digest)
        answer: pb.QueryUploadResponse = await self.provider.QueryUpload(
            request, metadata=self.token(digest), timeout=60
        )
        return answer

    async def train(self, digest: str, request_id: str = "first") -> pb.TrainingJob:
        request = pb.StartTrainingJobRequest(request_id=request_id, manifest_digest=digest)
        answer = await self.provider.StartTrainingJob(request, metadata=self.token(digest), timeout=60)
        job: pb.TrainingJob = answer.job
        return job

    async def watch(
        self, digest: str, job_id: str, after: int = 0, begun: asyncio.Event | None = None
    ) -> list[pb.TrainingJob]:
        """Every state until the job has ended; ``begun`` is set with the first."""
        request = pb.WatchTrainingJobRequest(job_id=job_id, after_revision=after)
        stream = self.provider.WatchTrainingJob(request, metadata=self.token(digest), timeout=300)
        return [item.job async for item in noted(stream, begun or asyncio.Event())]

    async def download(self, digest: str, job_id: str, name: str, offset: int = 0) -> bytes:
        request = pb.DownloadArtifactRequest(job_id=job_id, name=name, offset=offset)
        stream = self.provider.DownloadArtifact(request, metadata=self.token(digest), timeout=60)
        return b"".join([item.chunk async for item in stream])

    async def generate(
        self, digest: str, job_id: str, prompt: str, nonce: bytes, **sampling: Any
    ) -> tuple[str, ipb.GenerateResult]:
        terms: dict[str, Any] = {"max_tokens": 8, "temperature": "0", "top_p": "1", "seed": 0} | sampling
        request = ipb.GenerateRequest(
            manifest_digest=digest,
            job_id=job_id,
            messages=[ipb.Message(role="user", content=prompt)],
            sampling=ipb.Sampling(**terms),
            nonce=nonce,
        )
        text, result = "", None
        async for item in self.inference.Generate(request, metadata=self.token(digest), timeout=120):
            if item.WhichOneof("part") == "delta":
                text += item.delta
            else:
                result = item.result
        if result is None:
            raise RuntimeError("a stream without a result")
        return text, result

    async def score(
        self, digest: str, job_id: str, prompt: str, completions: Sequence[str], nonce: bytes
    ) -> ipb.ScoreResponse:
        request = ipb.ScoreRequest(
            manifest_digest=digest,
            job_id=job_id,
            messages=[ipb.Message(role="user", content=prompt)],
            completions=completions,
            nonce=nonce,
        )
        answer: ipb.ScoreResponse = await self.inference.Score(request, metadata=self.token(digest), timeout=120)
        return answer


@asynccontextmanager
async def connect(daemon: DaemonProcess, key: PrivateKey | None = None) -> AsyncIterator[RawClient]:
    """A client of a running daemon, with a fresh key unless one is given."""
    root = await asyncio.to_thread((daemon.keys / "tls.crt").read_bytes)
    credentials = grpc.ssl_channel_credentials(root)
    async with grpc.aio.secure_channel(daemon.address, credentials) as channel:
        yield RawClient(channel, key or PrivateKey.generate(), daemon.public_key.key_id)


async def refusal(call: Awaitable[Any]) -> tuple[str, str]:
    """(canonical code, reason) of a call that must be refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return wire_error(caught.value)[:2]


async def until_durable(client: RawClient, digest: str, offset: int) -> None:
    for _ in range(3000):
        if (await client.durable(digest)).offset == offset:
            return
        await asyncio.sleep(0.02)
    pytest.fail("the bytes never became durable")


async def until_step(client: RawClient, digest: str, job_id: str, step: int) -> pb.TrainingJob:
    for _ in range(1200):
        job = await current(client, digest, job_id)
        assert job.state in (pb.JOB_STATE_QUEUED, pb.JOB_STATE_RUNNING), job.message
        if job.step >= step:
            return job
        await asyncio.sleep(0.1)
    pytest.fail("the step was never reached")


async def current(client: RawClient, digest: str, job_id: str) -> pb.TrainingJob:
    request = pb.GetTrainingJobRequest(job_id=job_id)
    job: pb.TrainingJob = (await client.provider.GetTrainingJob(request, metadata=client.token(digest), timeout=60)).job
    return job
