"""The real daemon as its own process over TLS: the whole job, and how jobs end."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.support.daemon import (
    MARKER,
    DaemonProcess,
    RawClient,
    make_manifest,
    make_rows,
    quick_training,
    refusal,
    row_bytes,
    until_step,
)
from veritune.common.dataset import Message, Row
from veritune.common.documents.manifest import Manifest
from veritune.common.documents.receipts import DatasetReceipt, FailureReceipt, InferenceReceipt, TrainingReceipt
from veritune.common.envelope import Envelope
from veritune.common.inference import (
    SamplingTerms,
    generate_digest,
    score_digest,
    score_output_digest,
    text_output_digest,
)
from veritune.common.signing import open_document, sign_document
from veritune.common.wire import envelope_from_wire
from veritune.v1 import inference_service_pb2 as ipb
from veritune.v1 import provider_service_pb2 as pb

ROWS = make_rows(24)
DATA = row_bytes(ROWS)


async def test_the_whole_job(client: RawClient, daemon: DaemonProcess, manifest: Manifest) -> None:
    provider = daemon.public_key
    contract = await client.negotiate(manifest)
    digest = contract.digest
    assert open_document(Manifest, contract, client.key.public, provider).document == manifest

    assert await refusal(client.train(digest)) == ("FAILED_PRECONDITION", "OUT_OF_ORDER")
    stopped = client.upload(digest, manifest.dataset, DATA, chunk=500, stop_at=2000)
    assert await refusal(stopped) == ("ABORTED", "TRUNCATED")
    assert (await client.durable(digest)).offset == 2000
    receipt = await client.upload(digest, manifest.dataset, DATA, 2000)
    received = open_document(DatasetReceipt, receipt, provider).document
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
    trained = open_document(TrainingReceipt, trained_envelope, provider).document
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
    first = open_document(InferenceReceipt, envelope_from_wire(result.receipt), provider).document
    assert first.training_receipt_digest == trained.digest
    assert first.request_digest == generate_digest(job_id, messages, SamplingTerms(max_tokens=8), nonce)
    assert first.output_digest == text_output_digest(text, result.finish_reason, nonce)
    assert (first.sequence, first.kind) == (1, "generate")
    # The very same call again, as after a break: the same receipt, no new number.
    assert await client.generate(digest, job_id, prompt, nonce) == (text, result)

    completions = ["yes", f"{MARKER} no"]
    scored = await client.score(digest, "", prompt, completions, nonce)
    second = open_document(InferenceReceipt, envelope_from_wire(scored.receipt), provider).document
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
        answer = await health.Check(health_pb2.HealthCheckRequest(service=service), timeout=60)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(client.channel)
    asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    answers = [item async for item in stub.ServerReflectionInfo(asked, timeout=60)]
    names = {service.name for service in answers[0].list_services_response.service}
    assert {"veritune.v1.ProviderService", "veritune.v1.InferenceService", "grpc.health.v1.Health"} <= names


async def test_info_says_what_a_manifest_needs(client: RawClient, daemon: DaemonProcess, manifest: Manifest) -> None:
    info = await client.provider.GetProviderInfo(pb.GetProviderInfoRequest(), timeout=60)
    assert info.key_id == daemon.public_key.key_id
    models = {model.name: model.digest for model in info.models}
    assert models[manifest.base_model.name] == manifest.base_model.digest
    assert json.loads(info.policy_json)["max_rank"] == 256


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
    await client.provider.CancelTrainingJob(request, metadata=client.token(digest), timeout=60)
    last = (await watcher)[-1]
    assert last.state == pb.JOB_STATE_CANCELLED
    receipt = open_document(FailureReceipt, envelope_from_wire(last.receipt), daemon.public_key).document
    assert (receipt.outcome, receipt.job_id, receipt.manifest_digest) == ("cancelled", job.job_id, digest)
    again = await client.train(digest, "again")
    assert again.job_id != job.job_id
    await client.provider.CancelTrainingJob(
        pb.CancelTrainingJobRequest(job_id=again.job_id), metadata=client.token(digest), timeout=60
    )


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
    receipt = open_document(FailureReceipt, envelope_from_wire(last.receipt), daemon.public_key).document
    assert receipt.outcome == "failed"
    assert receipt.message == last.message != ""
