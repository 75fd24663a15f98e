"""A provider in this process that speaks the protocol over TLS with real signatures, and lies where it is told to.

`FakeProvider.lies` maps a point of the protocol to a function that changes what would honestly be sent there, before
it is signed (documents) or after (bytes on the wire).
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from veritune.common.dataset import summarise
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
from veritune.common.envelope import Envelope, countersign
from veritune.common.inference import (
    SamplingTerms,
    format_logprob,
    generate_digest,
    score_digest,
    score_output_digest,
    text_output_digest,
)
from veritune.common.keys import PrivateKey
from veritune.common.signing import sign_document
from veritune.common.wire import envelope_from_wire, envelope_to_wire, messages_from_wire
from veritune.v1 import (
    inference_service_pb2,
    inference_service_pb2_grpc,
    provider_service_pb2,
    provider_service_pb2_grpc,
)

pb, inf = provider_service_pb2, inference_service_pb2
Lie = Callable[[Any], Any]


def tls_files(folder: Path) -> tuple[bytes, Path]:
    """(key PEM, certificate file) for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost"), _loopback()]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "tls.crt"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem, path


def _loopback() -> x509.IPAddress:
    import ipaddress

    return x509.IPAddress(ipaddress.ip_address("127.0.0.1"))


class FakeProvider:
    """Holds one contract at a time. ``answer(messages)`` and ``logprob(messages, completion)`` are the model."""

    def __init__(self, folder: Path, files: dict[str, bytes]) -> None:
        self.key = PrivateKey.generate()
        self.files = files
        self.lies: dict[str, Lie] = {}
        self.failures: dict[str, list[BaseException]] = {}
        """By call: raised once each, in order, before the call is served."""
        self.received = b""
        self.request_id = ""
        self.calls: list[str] = []
        self.contract: Envelope | None = None
        self.answer: Callable[[tuple[Any, ...]], str] = lambda chat: f"echo {chat[-1].content}"
        self.logprob: Callable[[tuple[Any, ...], str], float] = lambda chat, text: -float(len(text))
        self.dataset_receipt: Envelope | None = None
        self.outcome = pb.JOB_STATE_SUCCEEDED
        self.sequence = 0
        self._numbering = threading.Lock()
        self.answers: dict[str, Any] = {}
        self.folder = folder
        pem, self.tls_ca = tls_files(folder)
        self._server = grpc.server(futures.ThreadPoolExecutor(4))
        provider_service_pb2_grpc.add_ProviderServiceServicer_to_server(_Provider(self), self._server)  # type: ignore[no-untyped-call]  # generated code
        inference_service_pb2_grpc.add_InferenceServiceServicer_to_server(_Inference(self), self._server)  # type: ignore[no-untyped-call]  # generated code
        credentials = grpc.ssl_server_credentials([(pem, self.tls_ca.read_bytes())])
        self.port = self._server.add_secure_port("127.0.0.1:0", credentials)
        self._server.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def stop(self) -> None:
        self._server.stop(0)

    def tell(self, point: str, value: Any) -> Any:
        """What is sent at a point of the protocol: the truth unless there is a lie for it."""
        return self.lies[point](value) if point in self.lies else value

    def enter(self, call: str, context: grpc.ServicerContext) -> None:
        self.calls.append(call)
        if self.failures.get(call):
            raise_status(self.failures[call].pop(0), context)

    def manifest(self) -> Manifest:
        assert self.contract is not None
        return Manifest.from_bytes(self.contract.payload)

    def now(self) -> str:
        return format_time(datetime.now(UTC))

    def sign(self, point: str, document: Any) -> Envelope:
        """Signs the document, a lie included; then lies about the envelope."""
        envelope = sign_document(self.tell(point, document), self.key)
        lied: Envelope = self.tell(f"{point} envelope", envelope)
        return lied

    def training_receipt(self) -> Envelope:
        assert self.contract is not None
        assert self.dataset_receipt is not None
        rows = self.manifest().dataset.rows
        return self.sign(
            "training receipt",
            TrainingReceipt(
                manifest_digest=self.contract.digest,
                dataset_receipt_digest=self.dataset_receipt.digest,
                job_id="job-1",
                adapter=tuple(
                    FileRef(name=name, size=len(data), sha256=hashlib.sha256(data).hexdigest())
                    for name, data in sorted(self.files.items())
                ),
                checkpoints=(Checkpoint(step=1, sha256="0" * 64),),
                steps=2,
                tokens=1000,
                label_tokens=500,
                rows_trained=rows,
                rows_dropped=0,
                rows_cut=0,
                trace_root="1" * 64,
                software={},
                hardware={},
                started=self.now(),
                finished=self.now(),
            ),
        )

    def failure_receipt(self) -> Envelope:
        assert self.contract is not None
        assert self.dataset_receipt is not None
        return self.sign(
            "failure receipt",
            FailureReceipt(
                manifest_digest=self.contract.digest,
                dataset_receipt_digest=self.dataset_receipt.digest,
                job_id="job-1",
                outcome="failed",
                message="out of memory",
                finished=self.now(),
            ),
        )

    def inference_receipt(self, kind: Any, request: str, output: str, base: bool) -> Envelope:
        assert self.contract is not None
        with self._numbering:
            self.sequence += 1
            number = self.sequence
        document = InferenceReceipt(
            manifest_digest=self.contract.digest,
            training_receipt_digest=None if base else self.trained.digest,
            sequence=number,
            kind=kind,
            request_digest=request,
            output_digest=output,
            issued=self.now(),
        )
        return self.sign("inference receipt", document)

    @property
    def trained(self) -> Envelope:
        if not hasattr(self, "_trained"):
            self._trained = self.training_receipt()
        return self._trained


def raise_status(error: BaseException, context: grpc.ServicerContext) -> None:
    """Ends a call with a bare code, or with an ErrorInfo given as (code number, reason, metadata)."""
    detail = error.args[0]
    if isinstance(detail, grpc.StatusCode):
        context.abort(detail, "as told")
    code, reason, metadata = detail
    packed = any_pb2.Any()
    packed.Pack(error_details_pb2.ErrorInfo(reason=reason, domain="veritune", metadata=metadata))
    context.abort_with_status(rpc_status.to_status(status_pb2.Status(code=code, message="as\ntold", details=[packed])))


class _Provider(provider_service_pb2_grpc.ProviderServiceServicer):
    def __init__(self, fake: FakeProvider) -> None:
        self.fake = fake

    def GetProviderInfo(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self.fake.enter("info", context)
        return pb.GetProviderInfoResponse(key_id=self.fake.tell("key id", self.fake.key.public.key_id))

    def NegotiateManifest(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self.fake.enter("negotiate", context)
        offer = self.fake.tell("offer", envelope_from_wire(request.manifest))
        self.fake.contract = self.fake.tell("contract", countersign(offer, self.fake.key))
        return pb.NegotiateManifestResponse(manifest=envelope_to_wire(self.fake.contract))

    def UploadDataset(self, request_iterator: Iterator[Any], context: grpc.ServicerContext) -> Any:  # noqa: N802
        fake = self.fake
        header = next(request_iterator).header
        assert header.offset == len(fake.received)
        for message in request_iterator:
            fake.received += message.chunk
            if fake.failures.get("chunk"):
                raise_status(fake.failures["chunk"].pop(0), context)
        path = fake.folder / "received.jsonl"
        path.write_bytes(fake.received)
        summary = summarise(path)
        assert fake.contract is not None
        receipt = DatasetReceipt(
            manifest_digest=fake.contract.digest,
            rows=summary.rows,
            size=summary.size,
            sha256=summary.sha256,
            merkle_root=summary.merkle_root,
            received=fake.now(),
        )
        fake.dataset_receipt = fake.sign("dataset receipt", receipt)
        return pb.UploadDatasetResponse(receipt=envelope_to_wire(fake.dataset_receipt))

    def QueryUpload(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self.fake.enter("query", context)
        receipt = self.fake.dataset_receipt
        return pb.QueryUploadResponse(
            offset=self.fake.tell("offset", len(self.fake.received)),
            receipt=None if receipt is None else envelope_to_wire(receipt),
        )

    def StartTrainingJob(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self.fake.enter("start", context)
        self.fake.request_id = request.request_id
        return pb.StartTrainingJobResponse(job=self._job(pb.JOB_STATE_QUEUED, 1))

    def WatchTrainingJob(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:  # noqa: N802
        self.fake.enter("watch", context)
        states = [pb.JOB_STATE_QUEUED, pb.JOB_STATE_RUNNING, self.fake.outcome]
        for revision, state in enumerate(states, start=1):
            if revision > request.after_revision:
                yield pb.WatchTrainingJobResponse(job=self._job(state, revision))
                if self.fake.failures.get("watching"):
                    raise_status(self.fake.failures["watching"].pop(0), context)

    def DownloadArtifact(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:  # noqa: N802
        self.fake.enter("download", context)
        data = self.fake.tell("artifact", self.fake.files[request.name])[request.offset :]
        for start in range(0, len(data), 1000):
            yield pb.DownloadArtifactResponse(chunk=data[start : start + 1000])
            if self.fake.failures.get("downloading"):
                raise_status(self.fake.failures["downloading"].pop(0), context)

    def _job(self, state: Any, revision: int) -> Any:
        assert self.fake.contract is not None
        job = pb.TrainingJob(
            job_id="job-1", manifest_digest=self.fake.contract.digest, state=state, revision=revision, total_steps=2
        )
        if state == pb.JOB_STATE_SUCCEEDED:
            job.receipt.CopyFrom(envelope_to_wire(self.fake.trained))
        elif state == pb.JOB_STATE_FAILED:
            job.receipt.CopyFrom(envelope_to_wire(self.fake.failure_receipt()))
        return self.fake.tell("job", job)


class _Inference(inference_service_pb2_grpc.InferenceServiceServicer):
    def __init__(self, fake: FakeProvider) -> None:
        self.fake = fake

    def Generate(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:  # noqa: N802
        fake = self.fake
        fake.enter("generate", context)
        chat = messages_from_wire(request.messages)
        sampling = SamplingTerms(
            max_tokens=request.sampling.max_tokens,
            temperature=request.sampling.temperature,
            top_p=request.sampling.top_p,
            seed=request.sampling.seed,
        )
        digest = generate_digest(request.job_id, chat, sampling, request.nonce)
        if digest not in fake.answers:
            text = fake.answer(chat)
            output = text_output_digest(text, "stop", request.nonce)
            fake.answers[digest] = text, fake.inference_receipt("generate", digest, output, not request.job_id)
        text, receipt = fake.answers[digest]
        for piece in fake.tell("pieces", [text[:3], text[3:]]):
            yield inf.GenerateResponse(delta=piece)
        if fake.failures.get("generating"):
            raise_status(fake.failures["generating"].pop(0), context)
        result = inf.GenerateResult(finish_reason="stop", receipt=envelope_to_wire(receipt))
        yield inf.GenerateResponse(result=fake.tell("result", result))

    def Score(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        fake = self.fake
        fake.enter("score", context)
        chat = messages_from_wire(request.messages)
        completions = list(request.completions)
        totals = fake.tell("totals", [format_logprob(fake.logprob(chat, text)) for text in completions])
        digest = score_digest(request.job_id, chat, completions, request.nonce)
        output = score_output_digest(totals, request.nonce)
        receipt = fake.inference_receipt("score", digest, output, not request.job_id)
        return inf.ScoreResponse(
            scores=[inf.CompletionScore(total=total) for total in fake.tell("sent totals", totals)],
            receipt=envelope_to_wire(receipt),
        )
