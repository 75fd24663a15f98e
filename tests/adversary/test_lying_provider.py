"""A provider that breaks the protocol at one point: the client notices each with a coded error of its own."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.adversary.deals import FILES, Deal, open_deal
from tests.adversary.fake_provider import FakeProvider
from veritune.client.exchange.channel import Channel
from veritune.client.exchange.provider_client import JobView, ProviderClient
from veritune.common.dataset import Message
from veritune.common.documents.base import format_time
from veritune.common.documents.manifest import Manifest
from veritune.common.documents.receipts import FailureReceipt, FileRef, TrainingReceipt
from veritune.common.envelope import Envelope, Signature
from veritune.common.errors import (
    ConflictError,
    DeadlineError,
    DigestError,
    ExpiredError,
    InternalError,
    MalformedDocumentError,
    MalformedRequestError,
    OffsetError,
    OutOfOrderError,
    PolicyError,
    SignatureError,
    TooLargeError,
    TruncatedError,
    UnavailableError,
    VerituneError,
)
from veritune.common.inference import SamplingTerms
from veritune.common.keys import PrivateKey
from veritune.v1 import provider_service_pb2 as pb

CHAT = (Message(role="user", content="hello"),)


@pytest.fixture
def deal(tmp_path: Path) -> Iterator[Deal]:
    with open_deal(tmp_path) as opened:
        yield opened


def changed(**changes: Any) -> Callable[[Any], Any]:
    return lambda document: document.model_copy(update=changes)


def test_an_honest_provider_gets_through(deal: Deal) -> None:
    seen: list[JobView] = []
    deal.session.provider_info()
    assert isinstance(deal.to_training(seen.append).document, TrainingReceipt)
    assert [view.state for view in seen] == ["queued", "training", "done"]
    folder = deal.to_adapter()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    endpoint = deal.endpoint()
    answer = endpoint.generate(CHAT, SamplingTerms(max_tokens=4), b"n" * 32)
    assert (answer.text, answer.sequence) == ("echo hello", 1)
    scores = endpoint.score(CHAT, ["a", "bc"], b"m" * 32)
    assert (scores.totals, scores.sequence) == (("-1.000000", "-2.000000"), 2)


# Negotiation


def _other_terms(offer: Envelope) -> Envelope:
    body = json.loads(offer.payload)
    body["training"]["epochs"] = 1
    changed_payload = Manifest.model_validate_json(json.dumps(body)).to_bytes()
    return dataclasses.replace(offer, payload=changed_payload)


def _forged(envelope: Envelope) -> Envelope:
    *first, last = envelope.signatures
    return dataclasses.replace(envelope, signatures=(*first, Signature(last.key_id, PrivateKey.generate().sign(b"x"))))


@pytest.mark.parametrize(
    ("point", "lie", "error"),
    [
        ("key id", lambda _: "0" * 64, DigestError),
        ("offer", _other_terms, DigestError),
        ("contract", _forged, SignatureError),
        ("contract", lambda e: dataclasses.replace(e, signatures=e.signatures[:1]), SignatureError),
        ("contract", lambda e: dataclasses.replace(e, signatures=e.signatures[1:]), SignatureError),
        ("contract", lambda e: dataclasses.replace(e, payload_type="text/plain"), SignatureError),
    ],
)
def test_contract_lies(deal: Deal, point: str, lie: Any, error: type[VerituneError]) -> None:
    deal.fake.lies[point] = lie
    with pytest.raises(error):
        deal.to_contract_with_a_look()


def test_refusal_comes_with_its_reason_and_metadata(deal: Deal) -> None:
    deal.fake.failures["negotiate"] = [
        RuntimeError((9, "POLICY_REFUSED", {"point": "rank", "message": "x", "Bad Key": "y"}))
    ]
    with pytest.raises(PolicyError) as caught:
        deal.to_contract()
    assert caught.value.message == "as told"
    assert (caught.value.fault, caught.value.told) == ("peer", True)
    assert caught.value.metadata == {"point": "rank"}


@pytest.mark.parametrize("reason", ["NO_SUCH_REASON", "AUDIT_FAILED", "BAD_SECRETS", "STEP_MISSING", ""])
def test_strange_reasons_become_internal(deal: Deal, reason: str) -> None:
    deal.fake.failures["negotiate"] = [RuntimeError((9, reason, {}))]
    with pytest.raises(InternalError) as caught:
        deal.to_contract()
    assert caught.value.told


def test_a_busy_provider_is_waited_for_a_dead_one_not_for_ever(deal: Deal) -> None:
    deal.fake.failures["negotiate"] = [RuntimeError(grpc.StatusCode.UNAVAILABLE)] * 2
    assert deal.to_contract()
    assert deal.fake.calls.count("negotiate") == 3
    deal.fake.failures["query"] = [RuntimeError(grpc.StatusCode.UNAVAILABLE)] * 50
    with pytest.raises(UnavailableError):
        deal.to_upload()


def test_another_tls_certificate_is_not_trusted(deal: Deal, tmp_path: Path) -> None:
    other = FakeProvider(tmp_path, FILES)
    wrong = Channel(
        deal.fake.address, deal.key, deal.fake.key.public, other.tls_ca, sleep=lambda seconds: None, patience=0.5
    )
    with pytest.raises(UnavailableError):
        ProviderClient(wrong, deal.key.public, deal.fake.key.public).provider_info()
    wrong.close()
    other.stop()


# Upload


@pytest.mark.parametrize(
    ("lie", "error"),
    [
        (changed(merkle_root="6" * 64), DigestError),
        (changed(rows=4), DigestError),
        (changed(sha256="7" * 64), DigestError),
        (changed(manifest_digest="8" * 64), DigestError),
        (changed(received="2999-01-01T00:00:00Z"), ExpiredError),
        (changed(received="2024-13-45T00:00:00Z"), MalformedDocumentError),
    ],
)
def test_dataset_receipt_lies(deal: Deal, lie: Any, error: type[VerituneError]) -> None:
    deal.fake.lies["dataset receipt"] = lie
    with pytest.raises(error):
        deal.to_upload()


def test_dataset_receipt_by_a_stranger(deal: Deal) -> None:
    deal.fake.lies["dataset receipt envelope"] = _forged
    with pytest.raises(SignatureError):
        deal.to_upload()


def test_offset_beyond_the_data_set(deal: Deal) -> None:
    deal.fake.lies["offset"] = lambda _: 10**9
    with pytest.raises(OffsetError):
        deal.to_upload()


def test_a_broken_upload_goes_on_from_its_offset(deal: Deal) -> None:
    deal.fake.failures["chunk"] = [RuntimeError(grpc.StatusCode.UNAVAILABLE)]
    assert deal.to_upload()
    assert deal.fake.received == deal.rows.read_bytes()


# Training


def _file(name: str) -> Callable[[TrainingReceipt], TrainingReceipt]:
    def lie(receipt: TrainingReceipt) -> TrainingReceipt:
        # As a signer that checks nothing would write it.
        odd = FileRef.model_construct(name=name, size=1, sha256="9" * 64)
        return receipt.model_copy(update={"adapter": (*receipt.adapter, odd)})

    return lie


@pytest.mark.parametrize(
    ("lie", "error"),
    [
        (changed(manifest_digest="8" * 64), DigestError),
        (changed(dataset_receipt_digest="8" * 64), DigestError),
        (changed(job_id="job-2"), DigestError),
        (changed(rows_trained=4), MalformedDocumentError),
        (changed(rows_cut=6), MalformedDocumentError),
        (changed(steps=0), MalformedDocumentError),
        (changed(steps=10**9), MalformedDocumentError),
        (changed(label_tokens=1001), MalformedDocumentError),
        (changed(checkpoints=()), None),
        (changed(adapter=()), MalformedDocumentError),
        (changed(started="2998-01-01T00:00:00Z"), MalformedDocumentError),
        (changed(finished="2999-01-01T00:00:00Z"), ExpiredError),
        (_file("../../evil.json"), MalformedDocumentError),
        (_file("/etc/passwd.json"), MalformedDocumentError),
        (_file(".."), MalformedDocumentError),
        (_file("adapter_model.bin"), MalformedDocumentError),
        (_file("setup.py"), MalformedDocumentError),
        (_file("adapter_config.json"), MalformedDocumentError),
        (_file("ADAPTER_CONFIG.json"), MalformedDocumentError),
    ],
)
def test_training_receipt_lies(deal: Deal, lie: Any, error: type[VerituneError] | None) -> None:
    deal.fake.lies["training receipt"] = lie
    if error is None:
        assert deal.to_training()
        return
    with pytest.raises(error):
        deal.to_training()


def test_a_failed_job_is_told_by_its_receipt(deal: Deal) -> None:
    deal.fake.outcome = pb.JOB_STATE_FAILED
    receipt = deal.to_training().document
    assert isinstance(receipt, FailureReceipt)
    assert receipt.message == "out of memory"


def test_a_success_without_or_with_the_wrong_receipt(deal: Deal) -> None:
    def strip(job: pb.TrainingJob) -> pb.TrainingJob:
        job.ClearField("receipt")
        return job

    deal.fake.lies["job"] = strip
    with pytest.raises(MalformedRequestError):
        deal.to_training()


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("job_id", "../x y", MalformedRequestError),
        ("manifest_digest", "8" * 64, DigestError),
    ],
)
def test_job_lies(deal: Deal, field: str, value: str, error: type[VerituneError]) -> None:
    def lie(job: pb.TrainingJob) -> pb.TrainingJob:
        setattr(job, field, value)
        return job

    deal.fake.lies["job"] = lie
    with pytest.raises(error):
        deal.to_training()


def test_a_watch_goes_on_after_a_break(deal: Deal) -> None:
    deal.fake.failures["watching"] = [RuntimeError(grpc.StatusCode.UNAVAILABLE)] * 2
    seen: list[JobView] = []
    deal.to_training(seen.append)
    assert [view.state for view in seen] == ["queued", "training", "done"]


def test_a_job_that_never_ends_is_given_up_after_the_deadline(deal: Deal) -> None:
    deal.fake.outcome = pb.JOB_STATE_RUNNING
    late = datetime.now(UTC) + timedelta(days=30)
    deal.channel._now = lambda: late
    receipt = deal.to_upload()
    assert deal.contract is not None
    with pytest.raises(DeadlineError):
        deal.session.watch(deal.contract, receipt, "job-1")


# Download


@pytest.mark.parametrize(
    ("lie", "error"),
    [
        (lambda data: data + b"more", TooLargeError),
        (lambda data: data[:-1], TruncatedError),
        (lambda data: data[:-1] + b"\x00", DigestError),
    ],
)
def test_artifact_lies(deal: Deal, lie: Any, error: type[VerituneError]) -> None:
    deal.fake.lies["artifact"] = lie
    with pytest.raises(error):
        deal.to_adapter()
    assert not (deal.folder / "adapter_model.safetensors").exists()


def test_a_broken_download_goes_on(deal: Deal) -> None:
    deal.fake.failures["downloading"] = [RuntimeError(grpc.StatusCode.UNAVAILABLE)] * 2
    folder = deal.to_adapter()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES


def test_strangers_in_the_adapter_folder_are_removed(deal: Deal) -> None:
    deal.folder.mkdir()
    (deal.folder / "adapter_model.bin").write_bytes(b"x")
    assert {path.name for path in deal.to_adapter().iterdir()} == set(FILES)


# Inference


def test_inference_receipt_lies(deal: Deal) -> None:
    endpoint = deal.endpoint()
    for lie, error in (
        (changed(manifest_digest="8" * 64), DigestError),
        (changed(training_receipt_digest="8" * 64), DigestError),
        (changed(training_receipt_digest=None), DigestError),
        (changed(kind="score"), DigestError),
        (changed(request_digest="8" * 64), DigestError),
        (changed(output_digest="8" * 64), DigestError),
        (changed(sequence=1000), OutOfOrderError),
    ):
        deal.fake.lies["inference receipt"] = lie
        with pytest.raises(error):
            endpoint.generate(CHAT, SamplingTerms(max_tokens=4), repr(error).encode() + str(lie).encode()[-20:])


def test_a_gap_and_a_replay(deal: Deal) -> None:
    endpoint = deal.endpoint()
    terms = SamplingTerms(max_tokens=4)
    endpoint.generate(CHAT, terms, b"1" * 32)
    with pytest.raises(OutOfOrderError):
        endpoint.generate(CHAT, terms, b"1" * 32)
    deal.fake.sequence += 1
    with pytest.raises(OutOfOrderError):
        endpoint.generate(CHAT, terms, b"2" * 32)


@pytest.mark.parametrize(
    ("point", "lie", "error"),
    [
        ("pieces", lambda pieces: [*pieces, "!"], DigestError),
        ("pieces", lambda pieces: ["x" * 60_000] * 3, TooLargeError),
        ("inference receipt envelope", _forged, SignatureError),
    ],
)
def test_answer_lies(deal: Deal, point: str, lie: Any, error: type[VerituneError]) -> None:
    endpoint = deal.endpoint()
    deal.fake.lies[point] = lie
    with pytest.raises(error):
        endpoint.generate(CHAT, SamplingTerms(max_tokens=4), b"1" * 32)


def test_an_answer_that_breaks_off(deal: Deal) -> None:
    endpoint = deal.endpoint()
    deal.fake.failures["generating"] = [RuntimeError(grpc.StatusCode.UNAVAILABLE)]
    terms = SamplingTerms(max_tokens=4)
    with pytest.raises(TruncatedError):
        endpoint.generate(CHAT, terms, b"1" * 32)
    # The same nonce again gets the receipt that was signed the first time.
    assert endpoint.generate(CHAT, terms, b"1" * 32).sequence == 1


@pytest.mark.parametrize(
    "totals",
    [["-1.0", "-2.000000"], ["-1.000000"], ["nan", "-1.000000"], ["1.000000", "-1.000000"], ["-1e5", "-1.000000"]],
)
def test_score_lies(deal: Deal, totals: list[str]) -> None:
    endpoint = deal.endpoint()
    deal.fake.lies["totals"] = lambda _: totals
    with pytest.raises(MalformedRequestError):
        endpoint.score(CHAT, ["a", "b"], b"1" * 32)


def test_other_scores_than_the_signed_ones(deal: Deal) -> None:
    endpoint = deal.endpoint()
    deal.fake.lies["sent totals"] = lambda totals: list(reversed(totals))
    with pytest.raises(DigestError):
        endpoint.score(CHAT, ["a", "bc"], b"1" * 32)


def test_a_conflict_is_passed_on(deal: Deal) -> None:
    deal.fake.failures["start"] = [RuntimeError((6, "CONFLICT", {"job_id": "other"}))]
    with pytest.raises(ConflictError):
        deal.to_training()


def test_clock_of_the_token(deal: Deal) -> None:
    first = deal.channel.metadata("0" * 64)
    assert deal.channel.metadata("0" * 64) == first
    later = datetime.now(UTC) + timedelta(minutes=40)
    deal.channel._now = lambda: later
    assert deal.channel.metadata("0" * 64) != first
    assert format_time(later)
