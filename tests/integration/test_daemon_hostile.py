"""Hostile calls to the real daemon: offers, uploads, tokens and requests that are not as they should be."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import (
    DaemonProcess,
    RawClient,
    connect,
    make_deadlines,
    make_manifest,
    make_rows,
    quick_training,
    refusal,
    row_bytes,
    until_durable,
)
from veritune.common.canonical import canonical_bytes
from veritune.common.documents.manifest import BaseModelRef, KeyRef, Manifest
from veritune.common.documents.receipts import InferenceReceipt
from veritune.common.envelope import Envelope, sign
from veritune.common.keys import PrivateKey
from veritune.common.signing import sign_document
from veritune.common.token import METADATA_KEY, issue_token
from veritune.v1 import envelope_pb2
from veritune.v1 import provider_service_pb2 as pb

ZEROS = bytes(10_000_000)
ROWS = make_rows(24)
DATA = row_bytes(ROWS)


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
            return await client.provider.NegotiateManifest(pb.NegotiateManifestRequest(manifest=message), timeout=60)

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
        call = client.provider.UploadDataset(iter(sent), metadata=client.token(digest), timeout=60)
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
                pb.QueryUploadRequest(manifest_digest=digest), metadata=metadata, timeout=60
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
                timeout=60,
            )
            assert await refusal(call) == ("UNAUTHENTICATED", "UNAUTHENTICATED")

    async def test_another_clients_job(self, client: RawClient, daemon: DaemonProcess, manifest: Manifest) -> None:
        digest = (await client.negotiate(manifest)).digest
        await client.upload(digest, manifest.dataset, DATA)
        job = await client.train(digest)
        async with connect(daemon) as stranger:
            assert await refusal(stranger.watch(digest, job.job_id)) == ("UNAUTHENTICATED", "UNAUTHENTICATED")
            request = pb.CancelTrainingJobRequest(job_id=job.job_id)
            call = stranger.provider.CancelTrainingJob(request, metadata=stranger.token(digest), timeout=60)
            assert await refusal(call) == ("UNAUTHENTICATED", "UNAUTHENTICATED")
        await client.provider.CancelTrainingJob(request, metadata=client.token(digest), timeout=60)

    async def test_nothing_of_that_name(self, client: RawClient, manifest: Manifest) -> None:
        assert await refusal(client.durable("0" * 64)) == ("NOT_FOUND", "NOT_FOUND")
        odd = pb.QueryUploadRequest(manifest_digest="../etc")
        call = client.provider.QueryUpload(odd, metadata=client.token("0" * 64), timeout=60)
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
