"""The real daemon as its own process over TLS: the whole job, the hostile cases, and what survives a kill."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.daemon import (
    MARKER,
    DaemonProcess,
    RawClient,
    connect,
    make_deadlines,
    make_manifest,
    make_rows,
    quick_training,
    row_bytes,
    wire_error,
)
from veritune.common.canonical import canonical_bytes
from veritune.common.dataset import Message, Row
from veritune.common.documents import (
    BaseModelRef,
    DatasetReceipt,
    FailureReceipt,
    InferenceReceipt,
    KeyRef,
    Manifest,
    TrainingReceipt,
)
from veritune.common.envelope import Envelope, sign
from veritune.common.inference import (
    SamplingTerms,
    generate_digest,
    score_digest,
    score_output_digest,
    text_output_digest,
)
from veritune.common.keys import PrivateKey
from veritune.common.signing import open_document, sign_document
from veritune.common.token import METADATA_KEY, issue_token
from veritune.common.wire import envelope_from_wire
from veritune.v1 import envelope_pb2
from veritune.v1 import inference_service_pb2 as ipb
from veritune.v1 import provider_service_pb2 as pb

ZEROS = bytes(10_000_000)
ROWS = make_rows(24)
DATA = row_bytes(ROWS)


@pytest.fixture(scope="module")
def daemon(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    process = DaemonProcess(tmp_path_factory.mktemp("provider"), tiny_model.parent).start()
    yield process
    assert process.alive(), "the daemon died under the tests"
    assert process.stop() == 0


@pytest.fixture
async def client(daemon: DaemonProcess) -> AsyncIterator[RawClient]:
    async with connect(daemon) as raw:
        yield raw


@pytest.fixture
def manifest(client: RawClient, daemon: DaemonProcess, tiny_model: Path) -> Manifest:
    return make_manifest(client.key.public, daemon.public_key, tiny_model, ROWS)


async def refusal(call: Awaitable[Any]) -> tuple[str, str]:
    """(canonical code, reason) of a call that must be refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return wire_error(caught.value)[:2]


async def test_the_whole_job(client: RawClient, daemon: DaemonProcess, manifest: Manifest) -> None:
    provider = daemon.public_key
    contract = await client.negotiate(manifest)
    digest = contract.digest
    assert open_document(Manifest, contract, client.key.public, provider) == manifest

    assert await refusal(client.train(digest)) == ("FAILED_PRECONDITION", "OUT_OF_ORDER")
    stopped = client.upload(digest, manifest.dataset, DATA, chunk=500, stop_at=2000)
    assert await refusal(stopped) == ("ABORTED", "TRUNCATED")
    assert (await client.durable(digest)).offset == 2000
    receipt = await client.upload(digest, manifest.dataset, DATA, 2000)
    received = open_document(DatasetReceipt, receipt, provider)
    assert received.manifest_digest == digest
    assert received.merkle_root == manifest.dataset.merkle_root
    assert await client.upload(digest, manifest.dataset, DATA) == receipt
    assert envelope_from_wire((await client.durable(digest)).receipt) == receipt

    job = await client.train(digest)
    assert (await client.train(digest)).job_id == job.job_id
    assert await refusal(client.train(digest, "second")) == ("ALREADY_EXISTS", "CONFLICT")
    assert await refusal(client.download(digest, job.job_id, "adapter_config.json")) == (
        "FAILED_PRECONDITION",
        "OUT_OF_ORDER",
    )
    states = await client.watch(digest, job.job_id)
    assert [state.revision for state in states] == sorted({state.revision for state in states})
    assert states[-1].state == pb.JOB_STATE_SUCCEEDED, states[-1].message
    assert (states[-1].step, states[-1].total_steps) == (12, 12)
    assert (await client.watch(digest, job.job_id, states[-1].revision))[-1] == states[-1]

    trained_envelope = envelope_from_wire(states[-1].receipt)
    trained = open_document(TrainingReceipt, trained_envelope, provider)
    assert trained.dataset_receipt_digest == receipt.digest
    assert (trained.steps, trained.rows_trained, trained.rows_dropped) == (12, 24, 0)
    assert len(trained.checkpoints) == 2
    for ref in trained.adapter:
        whole = await client.download(digest, job.job_id, ref.name)
        assert (len(whole), hashlib.sha256(whole).hexdigest()) == (ref.size, ref.sha256)
        assert await client.download(digest, job.job_id, ref.name, 100) == whole[100:]
        assert await client.download(digest, job.job_id, ref.name, ref.size) == b""

    await check_inference(client, digest, job.job_id, trained_envelope, provider)


async def check_inference(client: RawClient, digest: str, job_id: str, trained: Envelope, provider: Any) -> None:
    prompt, nonce = f"{MARKER} what now?", b"n" * 16
    messages = [Message(role="user", content=prompt)]
    text, result = await client.generate(digest, job_id, prompt, nonce)
    first = open_document(InferenceReceipt, envelope_from_wire(result.receipt), provider)
    assert first.training_receipt_digest == trained.digest
    assert first.request_digest == generate_digest(job_id, messages, SamplingTerms(max_tokens=8), nonce)
    assert first.output_digest == text_output_digest(text, result.finish_reason, nonce)
    assert (first.sequence, first.kind) == (1, "generate")
    # The very same call again, as after a break: the same receipt, no new number.
    assert await client.generate(digest, job_id, prompt, nonce) == (text, result)

    completions = ["yes", f"{MARKER} no"]
    scored = await client.score(digest, "", prompt, completions, nonce)
    second = open_document(InferenceReceipt, envelope_from_wire(scored.receipt), provider)
    assert (second.sequence, second.kind, second.training_receipt_digest) == (2, "score", None)
    assert second.request_digest == score_digest("", messages, completions, nonce)
    assert second.output_digest == score_output_digest([score.total for score in scored.scores], nonce)
    for score in scored.scores:
        assert sum(score.token_logprobs) == pytest.approx(float(score.total), abs=1e-4)

    tasks = [client.generate(digest, job_id, prompt, bytes([n]) * 16, temperature="1.5", seed=n) for n in range(6)]
    sequences = [
        InferenceReceipt.from_bytes(result.receipt.payload).sequence for _, result in await asyncio.gather(*tasks)
    ]
    assert sorted(sequences) == [3, 4, 5, 6, 7, 8]


async def test_an_offer_made_again_gets_the_stored_contract(client: RawClient, manifest: Manifest) -> None:
    offer = sign_document(manifest, client.key)
    contract = await client.offer(offer)
    assert await client.offer(offer) == contract
    assert await client.offer(sign_document(manifest, client.key)) == contract


async def test_health_and_reflection(client: RawClient) -> None:
    health: Any = health_pb2_grpc.HealthStub(client.channel)
    for service in ("", "veritune.v1.ProviderService", "veritune.v1.InferenceService"):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(client.channel)
    asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    answers = [item async for item in stub.ServerReflectionInfo(asked, timeout=5)]
    names = {service.name for service in answers[0].list_services_response.service}
    assert {"veritune.v1.ProviderService", "veritune.v1.InferenceService", "grpc.health.v1.Health"} <= names


async def test_info_says_what_a_manifest_needs(client: RawClient, daemon: DaemonProcess, manifest: Manifest) -> None:
    info = await client.provider.GetProviderInfo(pb.GetProviderInfoRequest(), timeout=5)
    assert info.key_id == daemon.public_key.key_id
    models = {model.name: model.digest for model in info.models}
    assert models[manifest.base_model.name] == manifest.base_model.digest
    assert json.loads(info.policy_json)["max_rank"] == 256


class TestHostileOffers:
    async def test_signed_by_another_key(self, client: RawClient, manifest: Manifest) -> None:
        offer = sign_document(manifest, PrivateKey.generate())
        assert await refusal(client.offer(offer)) == ("PERMISSION_DENIED", "BAD_SIGNATURE")

    async def test_unsigned_or_signed_twice(self, client: RawClient, manifest: Manifest) -> None:
        offer = sign_document(manifest, client.key)
        none = Envelope(offer.payload_type, offer.payload, ())
        twice = Envelope(offer.payload_type, offer.payload, offer.signatures * 2)
        assert await refusal(client.offer(none)) == ("PERMISSION_DENIED", "BAD_SIGNATURE")
        assert await refusal(client.offer(twice)) == ("PERMISSION_DENIED", "BAD_SIGNATURE")

    async def test_for_another_provider(self, client: RawClient, tiny_model: Path) -> None:
        other = make_manifest(client.key.public, PrivateKey.generate().public, tiny_model, ROWS)
        assert await refusal(client.negotiate(other)) == ("PERMISSION_DENIED", "BAD_SIGNATURE")

    async def test_key_id_of_another_key(self, client: RawClient, manifest: Manifest) -> None:
        bent = manifest.model_copy(update={"client": KeyRef(key_id="0" * 64, public_key=client.key.public.text)})
        assert await refusal(client.negotiate(bent)) == ("INVALID_ARGUMENT", "MALFORMED_DOCUMENT")

    async def test_expired(self, client: RawClient, manifest: Manifest) -> None:
        late = manifest.model_copy(update={"deadlines": make_deadlines(created=-2, accept=-1)})
        assert await refusal(client.negotiate(late)) == ("FAILED_PRECONDITION", "EXPIRED")

    async def test_unknown_model(self, client: RawClient, manifest: Manifest) -> None:
        for model in (
            BaseModelRef(name="no-such-model", digest=manifest.base_model.digest),
            BaseModelRef(name=manifest.base_model.name, digest="0" * 64),
        ):
            other = manifest.model_copy(update={"base_model": model})
            assert await refusal(client.negotiate(other)) == ("NOT_FOUND", "UNKNOWN_MODEL")

    async def test_against_the_policy(self, client: RawClient, manifest: Manifest) -> None:
        greedy = manifest.model_copy(update={"training": quick_training(rank=512)})
        assert await refusal(client.negotiate(greedy)) == ("FAILED_PRECONDITION", "POLICY_REFUSED")

    @pytest.mark.parametrize("kind", ["unknown field", "duplicate key", "not canonical", "not JSON", "deep", "zeros"])
    async def test_broken_payloads(self, client: RawClient, manifest: Manifest, kind: str) -> None:
        good = manifest.to_bytes()
        payload = {
            "unknown field": canonical_bytes({**manifest.model_dump(mode="json"), "extra": 1}),
            "duplicate key": good[:-1] + b',"version":1}',
            "not canonical": b" " + good,
            "not JSON": good[:-10],
            "deep": b"[" * 100_000,
            "zeros": bytes(1 << 20),
        }[kind]
        offer = sign(Manifest.payload_type, payload, client.key)
        assert await refusal(client.offer(offer)) == ("INVALID_ARGUMENT", "MALFORMED_DOCUMENT")

    async def test_zeros(self, client: RawClient) -> None:
        async def send(size: int) -> Any:
            message = envelope_pb2.Envelope(payload_type=Manifest.payload_type, payload=ZEROS[:size])
            return await client.provider.NegotiateManifest(pb.NegotiateManifestRequest(manifest=message), timeout=20)

        assert await refusal(send(3_000_000)) == ("RESOURCE_EXHAUSTED", "TOO_LARGE")
        # Over gRPC's own limit for one message, which answers before the daemon sees a byte.
        assert await refusal(send(10_000_000)) == ("RESOURCE_EXHAUSTED", "")

    async def test_another_document_is_no_manifest(self, client: RawClient, manifest: Manifest) -> None:
        offer = sign("application/vnd.veritune.access-token.v1+json", manifest.to_bytes(), client.key)
        assert await refusal(client.offer(offer)) == ("PERMISSION_DENIED", "BAD_SIGNATURE")


class TestHostileUploads:
    async def test_wrong_root(self, client: RawClient, manifest: Manifest) -> None:
        terms = manifest.dataset.model_copy(update={"merkle_root": "0" * 64})
        digest = (await client.negotiate(manifest.model_copy(update={"dataset": terms}))).digest
        assert await refusal(client.upload(digest, terms, DATA)) == ("INVALID_ARGUMENT", "DIGEST_MISMATCH")
        assert (await client.durable(digest)).offset == 0

    async def test_other_bytes_then_the_right_ones(self, client: RawClient, manifest: Manifest) -> None:
        digest = (await client.negotiate(manifest)).digest
        wrong = DATA.replace(b"lamp", b"damp", 1)
        assert await refusal(client.upload(digest, manifest.dataset, wrong)) == ("INVALID_ARGUMENT", "DIGEST_MISMATCH")
        await client.upload(digest, manifest.dataset, DATA)

    async def test_rows_that_are_no_rows(self, client: RawClient, manifest: Manifest) -> None:
        data = b'{"messages":[],"source":"user"}\n' * 24
        terms = manifest.dataset.model_copy(
            update={"size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "merkle_root": "0" * 64}
        )
        digest = (await client.negotiate(manifest.model_copy(update={"dataset": terms}))).digest
        assert await refusal(client.upload(digest, terms, data)) == ("INVALID_ARGUMENT", "BAD_DATASET")

    async def test_rows_of_another_source(self, client: RawClient, manifest: Manifest) -> None:
        sources = (manifest.dataset.sources[0].model_copy(update={"name": "other"}),)
        terms = manifest.dataset.model_copy(update={"sources": sources})
        digest = (await client.negotiate(manifest.model_copy(update={"dataset": terms}))).digest
        assert await refusal(client.upload(digest, terms, DATA)) == ("INVALID_ARGUMENT", "DIGEST_MISMATCH")

    async def test_too_long(self, client: RawClient, manifest: Manifest) -> None:
        digest = (await client.negotiate(manifest)).digest
        long = client.upload(digest, manifest.dataset, DATA + b"x", chunk=1000)
        assert await refusal(long) == ("INVALID_ARGUMENT", "DIGEST_MISMATCH")
        offset = (await client.durable(digest)).offset
        assert offset == len(DATA) // 1000 * 1000
        await client.upload(digest, manifest.dataset, DATA, offset)

    async def test_zeros(self, client: RawClient, manifest: Manifest) -> None:
        digest = (await client.negotiate(manifest)).digest
        chunks = client.upload(digest, manifest.dataset, ZEROS)
        assert await refusal(chunks) == ("INVALID_ARGUMENT", "DIGEST_MISMATCH")
        large = client.upload(digest, manifest.dataset, ZEROS, chunk=2 << 20)
        assert await refusal(large) == ("RESOURCE_EXHAUSTED", "TOO_LARGE")
        whole = client.upload(digest, manifest.dataset, ZEROS, chunk=10_000_000)
        assert await refusal(whole) == ("RESOURCE_EXHAUSTED", "")
        assert (await client.durable(digest)).offset == 0

    async def test_header_of_another_file_or_offset(self, client: RawClient, manifest: Manifest) -> None:
        digest = (await client.negotiate(manifest)).digest
        other = manifest.dataset.model_copy(update={"sha256": "0" * 64})
        assert await refusal(client.upload(digest, other, DATA)) == ("INVALID_ARGUMENT", "DIGEST_MISMATCH")
        assert await refusal(client.upload(digest, manifest.dataset, DATA, 7)) == ("OUT_OF_RANGE", "BAD_OFFSET")

    @pytest.mark.parametrize("order", ["nothing", "chunk first", "two headers", "empty chunk"])
    async def test_messages_out_of_order(self, client: RawClient, manifest: Manifest, order: str) -> None:
        digest = (await client.negotiate(manifest)).digest
        terms = manifest.dataset
        header = pb.UploadDatasetRequest(
            header=pb.UploadHeader(manifest_digest=digest, sha256=terms.sha256, total_size=terms.size)
        )
        chunk, empty = pb.UploadDatasetRequest(chunk=DATA[:10]), pb.UploadDatasetRequest(chunk=b"")
        sent = {
            "nothing": [],
            "chunk first": [chunk, header],
            "two headers": [header, header],
            "empty chunk": [header, empty],
        }[order]
        call = client.provider.UploadDataset(iter(sent), metadata=client.token(digest), timeout=20)
        assert await refusal(call) == ("INVALID_ARGUMENT", "MALFORMED_REQUEST")

    async def test_a_newer_stream_takes_over(self, client: RawClient, manifest: Manifest) -> None:
        digest = (await client.negotiate(manifest)).digest
        terms = manifest.dataset
        hung = client.provider.UploadDataset(metadata=client.token(digest), timeout=60)
        header = pb.UploadHeader(manifest_digest=digest, sha256=terms.sha256, total_size=terms.size)
        await hung.write(pb.UploadDatasetRequest(header=header))
        await hung.write(pb.UploadDatasetRequest(chunk=DATA[:600]))
        await until_durable(client, digest, 600)
        await client.upload(digest, terms, DATA, 600)
        assert await refusal(hung) == ("ALREADY_EXISTS", "CONFLICT")

    async def test_a_client_that_vanishes_leaves_what_it_sent(
        self, client: RawClient, daemon: DaemonProcess, manifest: Manifest
    ) -> None:
        digest = (await client.negotiate(manifest)).digest
        terms = manifest.dataset
        async with connect(daemon, client.key) as other:
            call = other.provider.UploadDataset(metadata=client.token(digest))
            header = pb.UploadHeader(manifest_digest=digest, sha256=terms.sha256, total_size=terms.size)
            await call.write(pb.UploadDatasetRequest(header=header))
            await call.write(pb.UploadDatasetRequest(chunk=DATA[:600]))
            await until_durable(client, digest, 600)
            call.cancel()
        await client.upload(digest, terms, DATA, 600)


class TestTokens:
    async def test_none_two_or_rubbish(self, client: RawClient, manifest: Manifest) -> None:
        digest = (await client.negotiate(manifest)).digest
        good = client.token(digest)
        for metadata in (
            [],
            good * 2,
            [(METADATA_KEY, "Bearer x")],
            [(METADATA_KEY, "Veritune " + "A" * 8000)],
            [(METADATA_KEY, good[0][1][:-8])],
        ):
            call = client.provider.QueryUpload(
                pb.QueryUploadRequest(manifest_digest=digest), metadata=metadata, timeout=5
            )
            assert await refusal(call) == ("UNAUTHENTICATED", "UNAUTHENTICATED")

    async def test_for_another_contract_provider_or_time(self, client: RawClient, manifest: Manifest) -> None:
        digest = (await client.negotiate(manifest)).digest
        now = datetime.now(UTC)
        for token in (
            issue_token(client.key, client.audience, "0" * 64, now),
            issue_token(client.key, "0" * 64, digest, now),
            issue_token(PrivateKey.generate(), client.audience, digest, now),
            issue_token(client.key, client.audience, digest, now - timedelta(hours=2)),
            issue_token(client.key, client.audience, digest, now + timedelta(hours=2)),
        ):
            call = client.provider.StartTrainingJob(
                pb.StartTrainingJobRequest(request_id="a", manifest_digest=digest),
                metadata=[(METADATA_KEY, token)],
                timeout=5,
            )
            assert await refusal(call) == ("UNAUTHENTICATED", "UNAUTHENTICATED")

    async def test_another_clients_job(self, client: RawClient, daemon: DaemonProcess, manifest: Manifest) -> None:
        digest = (await client.negotiate(manifest)).digest
        await client.upload(digest, manifest.dataset, DATA)
        job = await client.train(digest)
        async with connect(daemon) as stranger:
            assert await refusal(stranger.watch(digest, job.job_id)) == ("UNAUTHENTICATED", "UNAUTHENTICATED")
            request = pb.CancelTrainingJobRequest(job_id=job.job_id)
            call = stranger.provider.CancelTrainingJob(request, metadata=stranger.token(digest), timeout=5)
            assert await refusal(call) == ("UNAUTHENTICATED", "UNAUTHENTICATED")
        await client.provider.CancelTrainingJob(request, metadata=client.token(digest), timeout=5)

    async def test_nothing_of_that_name(self, client: RawClient, manifest: Manifest) -> None:
        assert await refusal(client.durable("0" * 64)) == ("NOT_FOUND", "NOT_FOUND")
        odd = pb.QueryUploadRequest(manifest_digest="../etc")
        call = client.provider.QueryUpload(odd, metadata=client.token("0" * 64), timeout=5)
        assert await refusal(call) == ("INVALID_ARGUMENT", "MALFORMED_REQUEST")
        assert await refusal(client.watch("0" * 64, "no-such-job")) == ("NOT_FOUND", "NOT_FOUND")
        digest = (await client.negotiate(manifest)).digest
        await client.upload(digest, manifest.dataset, DATA)
        assert await refusal(client.train(digest, "no spaces")) == ("INVALID_ARGUMENT", "MALFORMED_REQUEST")
        assert await refusal(client.generate(digest, "no-such-job", "hello", b"n" * 16)) == ("NOT_FOUND", "NOT_FOUND")


async def test_broken_inference_requests(client: RawClient, manifest: Manifest) -> None:
    digest = (await client.negotiate(manifest)).digest
    bad = ("INVALID_ARGUMENT", "MALFORMED_REQUEST")
    large = ("RESOURCE_EXHAUSTED", "TOO_LARGE")
    nonce = b"n" * 16
    for changes in (
        {"max_tokens": 0},
        {"max_tokens": 4097},
        {"temperature": ""},
        {"temperature": "2.1"},
        {"temperature": "nan"},
        {"temperature": "1e0"},
        {"temperature": "-1"},
        {"top_p": "0"},
        {"top_p": "1.01"},
    ):
        assert await refusal(client.generate(digest, "", "hello", nonce, **changes)) == bad
    assert await refusal(client.generate(digest, "", "hello", b"short")) == bad
    assert await refusal(client.generate(digest, "", "", nonce)) == bad
    assert await refusal(client.generate(digest, "", "a" * 131_073, nonce)) == large
    assert await refusal(client.generate(digest, "", "hello", nonce, max_tokens=4096)) == large
    assert await refusal(client.score(digest, "", "hello", [], nonce)) == bad
    assert await refusal(client.score(digest, "", "hello", [""], nonce)) == bad
    assert await refusal(client.score(digest, "", "hello", ["a"] * 257, nonce)) == bad
    # None of these has taken a number.
    _, result = await client.generate(digest, "", "hello", nonce)
    assert InferenceReceipt.from_bytes(result.receipt.payload).sequence == 1


async def test_a_cancelled_answer_takes_no_number(client: RawClient, manifest: Manifest) -> None:
    digest = (await client.negotiate(manifest)).digest
    request = ipb.GenerateRequest(
        manifest_digest=digest,
        messages=[ipb.Message(role="user", content="hello")],
        sampling=ipb.Sampling(max_tokens=900, temperature="0", top_p="1"),
        nonce=b"a" * 16,
    )
    call = client.inference.Generate(request, metadata=client.token(digest), timeout=60)
    assert (await call.read()).delta
    call.cancel()
    _, result = await client.generate(digest, "", "hello", b"b" * 16)
    assert InferenceReceipt.from_bytes(result.receipt.payload).sequence == 1


async def test_cancel_ends_with_a_signed_receipt(client: RawClient, daemon: DaemonProcess, tiny_model: Path) -> None:
    manifest = make_manifest(
        client.key.public, daemon.public_key, tiny_model, ROWS, training=quick_training(epochs=50, batch_size=1)
    )
    digest = (await client.negotiate(manifest)).digest
    await client.upload(digest, manifest.dataset, DATA)
    job = await client.train(digest)
    watcher = asyncio.create_task(client.watch(digest, job.job_id))
    await until_step(client, digest, job.job_id, 5)
    refused = client.generate(digest, "", "hello", b"n" * 16)
    assert await refusal(refused) == ("UNAVAILABLE", "UNAVAILABLE")
    request = pb.CancelTrainingJobRequest(job_id=job.job_id)
    await client.provider.CancelTrainingJob(request, metadata=client.token(digest), timeout=5)
    last = (await watcher)[-1]
    assert last.state == pb.JOB_STATE_CANCELLED
    receipt = open_document(FailureReceipt, envelope_from_wire(last.receipt), daemon.public_key)
    assert (receipt.outcome, receipt.job_id, receipt.manifest_digest) == ("cancelled", job.job_id, digest)
    again = await client.train(digest, "again")
    assert again.job_id != job.job_id
    await client.provider.CancelTrainingJob(
        pb.CancelTrainingJobRequest(job_id=again.job_id), metadata=client.token(digest), timeout=5
    )


async def until_durable(client: RawClient, digest: str, offset: int) -> None:
    for _ in range(500):
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
    job: pb.TrainingJob = (await client.provider.GetTrainingJob(request, metadata=client.token(digest), timeout=5)).job
    return job


async def test_a_row_that_trains_to_nothing_fails_with_a_receipt(
    client: RawClient, daemon: DaemonProcess, tiny_model: Path
) -> None:
    long = "the lamp " * 50
    rows = [Row(messages=(Message(role="user", content=long), Message(role="assistant", content="x")))]
    rows.append(rows[0].model_copy(update={"source": "user"}))
    rows = rows * 3
    manifest = make_manifest(
        client.key.public, daemon.public_key, tiny_model, rows, training=quick_training(max_sequence_length=16)
    )
    digest = (await client.negotiate(manifest)).digest
    await client.upload(digest, manifest.dataset, row_bytes(rows))
    last = (await client.watch(digest, (await client.train(digest)).job_id))[-1]
    assert last.state == pb.JOB_STATE_FAILED
    receipt = open_document(FailureReceipt, envelope_from_wire(last.receipt), daemon.public_key)
    assert receipt.outcome == "failed"
    assert receipt.message == last.message != ""


async def test_all_survives_a_kill(tiny_model: Path, tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path, tiny_model.parent).start()
    key = PrivateKey.generate()
    training = quick_training(epochs=8, batch_size=2)
    manifest = make_manifest(key.public, daemon.public_key, tiny_model, ROWS, training=training)
    try:
        async with connect(daemon, key) as client:
            contract = await client.negotiate(manifest)
            digest = contract.digest
            await refusal(client.upload(digest, manifest.dataset, DATA, stop_at=1500))
            daemon.kill()
        daemon.start()
        async with connect(daemon, key) as client:
            assert await client.negotiate(manifest) == contract
            offset = (await client.durable(digest)).offset
            assert offset == 1500
            receipt = await client.upload(digest, manifest.dataset, DATA, offset)
            job = await client.train(digest)
            seen = await until_step(client, digest, job.job_id, 30)
            daemon.kill()
        daemon.start()
        async with connect(daemon, key) as client:
            assert envelope_from_wire((await client.durable(digest)).receipt) == receipt
            states = await client.watch(digest, job.job_id, seen.revision)
            assert all(state.revision > seen.revision for state in states)
            assert states[-1].state == pb.JOB_STATE_SUCCEEDED, states[-1].message
            trained = open_document(TrainingReceipt, envelope_from_wire(states[-1].receipt), daemon.public_key)
            assert (trained.steps, len(trained.checkpoints)) == (96, 8)
        # From a checkpoint, not from the start: the second worker's first step is not step 1.
        task = json.loads((daemon.state / "jobs" / job.job_id / "task.json").read_text())
        assert task["training"]["epochs"] == 8
        resumed = [state.step for state in states if state.state == pb.JOB_STATE_RUNNING and state.step != seen.step]
        assert resumed
        assert min(resumed) > 12
        assert daemon.stop() == 0
        # A whole job is not done again.
        daemon.start()
        async with connect(daemon, key) as client:
            assert await current(client, digest, job.job_id) == states[-1]
    finally:
        daemon.kill()


async def test_a_stop_in_mid_training_is_no_cancel(tiny_model: Path, tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path, tiny_model.parent).start()
    key = PrivateKey.generate()
    training = quick_training(epochs=8, batch_size=2)
    manifest = make_manifest(key.public, daemon.public_key, tiny_model, ROWS, training=training)
    try:
        async with connect(daemon, key) as client:
            digest = (await client.negotiate(manifest)).digest
            await client.upload(digest, manifest.dataset, DATA)
            job = await client.train(digest)
            await until_step(client, digest, job.job_id, 20)
            watcher = asyncio.create_task(client.watch(digest, job.job_id))
            await asyncio.sleep(0.1)
            assert await asyncio.to_thread(daemon.stop) == 0
            assert (await refusal(watcher))[0] == "UNAVAILABLE"
        daemon.start()
        async with connect(daemon, key) as client:
            states = await client.watch(digest, job.job_id)
            assert states[-1].state == pb.JOB_STATE_SUCCEEDED, states[-1].message
            # The worker was asked, not killed: it left a checkpoint, and no step was done twice.
            assert all(state.step >= 20 for state in states)
    finally:
        daemon.kill()


async def test_another_trainer_is_another_command(tiny_model: Path, tmp_path: Path) -> None:
    """The cheating provider of the demo: all its papers are in order, and its adapter changes nothing."""
    script = Path(__file__).parents[2] / "examples" / "cheating_provider.py"
    daemon = DaemonProcess(tmp_path, tiny_model.parent, program=(sys.executable, str(script))).start()
    try:
        async with connect(daemon) as client:
            manifest = make_manifest(client.key.public, daemon.public_key, tiny_model, ROWS)
            digest = (await client.negotiate(manifest)).digest
            await client.upload(digest, manifest.dataset, DATA)
            job = await client.train(digest)
            last = (await client.watch(digest, job.job_id))[-1]
            assert last.state == pb.JOB_STATE_SUCCEEDED, last.message
            trained = open_document(TrainingReceipt, envelope_from_wire(last.receipt), daemon.public_key)
            assert (trained.steps, trained.rows_trained) == (12, 24)
            base = await client.score(digest, "", "hello", ["one", "two"], b"n" * 16)
            tuned = await client.score(digest, job.job_id, "hello", ["one", "two"], b"n" * 16)
            assert [score.total for score in tuned.scores] == [score.total for score in base.scores]
    finally:
        daemon.kill()


def test_nothing_private_is_in_any_log(daemon: DaemonProcess) -> None:
    """Runs last in this module: every test above has sent rows, prompts and tokens."""
    logs = [daemon.log, *daemon.state.glob("jobs/*/worker.log")]
    assert daemon.log.stat().st_size > 10_000
    for log in logs:
        text = log.read_text("utf-8", errors="replace")
        assert MARKER not in text
        assert "Veritune " not in text
        assert "Traceback" not in text
        assert '"level": "error"' not in text, text


def test_two_daemons_can_not_share_a_state(daemon: DaemonProcess, tiny_model: Path) -> None:
    second = DaemonProcess(daemon.folder, tiny_model.parent)
    ready = daemon.folder / "ready.json"
    kept = ready.read_bytes()
    with pytest.raises(RuntimeError, match="another daemon"):
        second.start()
    ready.write_bytes(kept)
