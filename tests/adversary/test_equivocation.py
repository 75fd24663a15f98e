"""Two documents where there can be one, and silence where there should be one: by either party."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.adversary.deals import Deal, open_deal
from tests.adversary.forging import forge
from tests.support.exchange import Exchange, small
from veritune.arbiter.audit.audit import audit
from veritune.arbiter.documents.evidence import EnvelopeDocument
from veritune.client.exchange import inference_client
from veritune.client.exchange.inference_client import InferenceClient
from veritune.common.dataset import Message
from veritune.common.documents.receipts import InferenceReceipt, TrainingReceipt
from veritune.common.envelope import Envelope, sign
from veritune.common.errors import AuditError, DeadlineError, DigestError, OutOfOrderError, SignatureError
from veritune.common.inference import SamplingTerms
from veritune.common.signing import open_document, sign_document

CHAT = (Message(role="user", content="hello"),)
TERMS = SamplingTerms(max_tokens=4)


@pytest.fixture
def deal(tmp_path: Path) -> Iterator[Deal]:
    with open_deal(tmp_path) as opened:
        yield opened


def test_two_training_receipts_for_one_job(deal: Deal) -> None:
    """Each looks right by itself; both together are evidence, and an answer under one is none under the other."""
    first = deal.to_training()
    receipt = first.document
    assert isinstance(receipt, TrainingReceipt)
    assert deal.contract is not None
    assert deal.receipt is not None
    deal.fake._trained = deal.fake.sign("other", receipt.model_copy(update={"trace_root": "9" * 64}))
    second = deal.session.watch(deal.contract, deal.receipt, receipt.job_id)
    signed = [open_document(TrainingReceipt, item.envelope, deal.fake.key.public).document for item in (first, second)]
    assert signed[0].job_id == signed[1].job_id
    assert signed[0].manifest_digest == signed[1].manifest_digest
    assert first.digest != second.digest
    # What was pinned first is what counts: the fake now answers for its second receipt.
    endpoint = InferenceClient(deal.channel, deal.fake.key.public, deal.contract.digest, first.digest, receipt.job_id)
    with pytest.raises(DigestError):
        endpoint.generate(CHAT, TERMS, b"1" * 32)


def test_two_answers_under_one_number(deal: Deal) -> None:
    endpoint = deal.endpoint()
    endpoint.generate(CHAT, TERMS, b"1" * 32)
    deal.fake.sequence -= 1
    with pytest.raises(OutOfOrderError):
        endpoint.generate(CHAT, TERMS, b"2" * 32)


def test_the_receipt_of_another_answer(deal: Deal) -> None:
    """Signed by the provider, of this very job, yet not of this question."""
    endpoint = deal.endpoint()
    kept: list[Envelope] = []

    def replay(envelope: Envelope) -> Envelope:
        kept.append(envelope)
        return kept[0]

    deal.fake.lies["inference receipt envelope"] = replay
    endpoint.generate(CHAT, TERMS, b"1" * 32)
    with pytest.raises(DigestError):
        endpoint.generate(CHAT, TERMS, b"2" * 32)


def test_an_endpoint_that_stalls(deal: Deal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither an answer nor an end: the call has a deadline of its own."""
    monkeypatch.setattr(inference_client, "ANSWER_TIMEOUT", 0.5)
    endpoint, over = deal.endpoint(), threading.Event()

    def wait(chat: Any) -> str:
        over.wait(30)
        return "too late"

    deal.fake.answer = wait
    try:
        with pytest.raises(DeadlineError):
            endpoint.generate(CHAT, TERMS, b"1" * 32)
    finally:
        over.set()


@pytest.fixture(scope="module")
def exchange() -> Exchange:
    return small()


def test_evidence_with_two_receipts_of_one_number(exchange: Exchange) -> None:
    """A provider that signed both is found by whoever keeps both; a bundle can hold but one."""
    served = next(item for item in exchange.evidence.observations if item.mode == "served")
    receipt = InferenceReceipt.from_bytes(served.receipts[1].envelope().payload)
    twin = sign_document(receipt.model_copy(update={"sequence": 1}), exchange.provider)

    def insert(bundle: dict[str, Any]) -> None:
        found = next(item for item in bundle["observations"] if item["mode"] == "served")
        found["receipts"].insert(1, EnvelopeDocument.of(twin).model_dump(mode="json"))

    with pytest.raises(AuditError) as refused:
        audit(*forge(exchange, insert), *exchange.keys)
    assert refused.value.metadata == {"check": "13", "party": "client"}


def test_a_manifest_that_changes_between_signatures(exchange: Exchange) -> None:
    """The client signs other terms under the provider's signature of the first ones."""
    contract = exchange.signed_manifest
    kinder = exchange.manifest.model_copy(update={"nonce": "7" * 64})
    mine = sign_document(kinder, exchange.client)
    spliced = replace(mine, signatures=(*mine.signatures, contract.signatures[1]))
    with pytest.raises(SignatureError):
        open_document(type(kinder), spliced, *exchange.keys)
    other = exchange.having(manifest=kinder, signed_manifest=spliced)
    with pytest.raises(AuditError) as refused:
        audit(other.report_bytes, other.evidence_bytes, *exchange.keys)
    assert refused.value.metadata == {"check": "4", "party": "client"}


def test_two_reports_on_one_session_can_not_differ_in_what_they_saw(exchange: Exchange) -> None:
    """Asking the endpoint until it fails: what was left out of the second report is a gap in the receipts."""
    served = next(item for item in exchange.evidence.observations if item.mode == "served")
    asked_first = [item.asked.sequence for item in served.triggers if item.asked]

    def forget(bundle: dict[str, Any]) -> None:
        found = next(item for item in bundle["observations"] if item["mode"] == "served")
        found["triggers"] = found["triggers"][1:]
        del found["receipts"][asked_first[0] - 1]

    with pytest.raises(AuditError) as refused:
        audit(*forge(exchange, forget), *exchange.keys)
    assert refused.value.metadata == {"check": "13", "party": "client"}


def test_the_wrong_type_is_no_receipt(deal: Deal) -> None:
    """A signature of the provider's on other words is no signature on these."""
    receipt = deal.to_training().document
    envelope = sign("application/json", receipt.to_bytes(), deal.fake.key)
    with pytest.raises(SignatureError):
        open_document(TrainingReceipt, envelope, deal.fake.key.public)
