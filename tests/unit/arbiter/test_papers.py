"""What a client refuses when a document arrives is what the audit refuses later: the same functions and vectors."""

from __future__ import annotations

import json

import pytest

from tests.conformance.make_audit_vectors import FOLDER
from tests.support.exchange import Exchange, fixed_key, small
from veritune.arbiter.documents.evidence import Evidence
from veritune.arbiter.papers import (
    check_countersigned,
    open_contract,
    receive_dataset_receipt,
    receive_failure_receipt,
    receive_training_receipt,
)
from veritune.common.documents.receipts import FailureReceipt, TrainingReceipt
from veritune.common.envelope import countersign
from veritune.common.errors import DigestError, SignatureError, VerituneError
from veritune.common.keys import PublicKey
from veritune.common.signing import sign_document

# The documents are in order; it is the report that names others, or comes late, or the policy that makes no sense.
THE_REPORT_ALONE = {
    "dataset-receipt-other-than-the-report-says",
    "manifest-other-than-the-report-says",
    "report-after-its-deadline",
    "subject-is-another-adapter",
    "training-receipt-other-than-the-report-says",
}
EARLY = range(4, 8)


def arrives(vector: dict[str, str]) -> None:
    """Hands the vector's documents to a client, one after the other."""
    keys = PublicKey.from_text(vector["client"]), PublicKey.from_text(vector["provider"])
    bundle = Evidence.from_bytes(vector["evidence"].encode())
    contract = open_contract(bundle.manifest.envelope(), *keys)
    data = receive_dataset_receipt(bundle.dataset_receipt.envelope(), contract, keys[1])
    trained = bundle.training_receipt.envelope()
    job = TrainingReceipt.from_bytes(trained.payload).job_id
    receive_training_receipt(trained, contract, data, job, keys[1])


def vectors() -> list[tuple[str, int | None]]:
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))]
    return [(item["name"], item["check"]) for item in found if item["check"] is None or item["check"] >= EARLY[0]]


@pytest.mark.parametrize(("name", "check"), vectors())
def test_a_client_refuses_on_arrival_what_the_audit_refuses(name: str, check: int | None) -> None:
    vector = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    assert dict(vectors()).keys() >= THE_REPORT_ALONE
    if check in EARLY and name not in THE_REPORT_ALONE:
        with pytest.raises(VerituneError):
            arrives(vector)
    else:
        arrives(vector)


@pytest.fixture(scope="module")
def exchange() -> Exchange:
    return small()


def test_a_provider_countersigns_what_was_offered(exchange: Exchange) -> None:
    keys = exchange.client.public, exchange.provider.public
    offer = sign_document(exchange.manifest, exchange.client)
    assert check_countersigned(offer, exchange.signed_manifest, *keys).document == exchange.manifest
    other = sign_document(exchange.manifest.model_copy(update={"nonce": "0" * 64}), exchange.client)
    with pytest.raises(DigestError):
        check_countersigned(offer, countersign(other, exchange.provider), *keys)


def test_nobody_makes_a_contract_with_itself(exchange: Exchange) -> None:
    alone = sign_document(exchange.manifest, exchange.client)
    with pytest.raises(SignatureError):
        open_contract(alone, exchange.client.public, exchange.client.public)


def test_a_receipt_is_for_the_job_that_was_started(exchange: Exchange) -> None:
    keys = exchange.client.public, exchange.provider.public
    contract = open_contract(exchange.signed_manifest, *keys)
    data = receive_dataset_receipt(exchange.signed_dataset_receipt, contract, keys[1])
    with pytest.raises(DigestError):
        receive_training_receipt(exchange.signed_training_receipt, contract, data, "job-2", keys[1])
    failure = FailureReceipt(
        manifest_digest=contract.digest,
        dataset_receipt_digest=data.digest,
        job_id="job-1",
        outcome="failed",
        message="out of memory",
        finished="2026-03-01T01:00:00Z",
    )
    signed = sign_document(failure, exchange.provider)
    assert receive_failure_receipt(signed, contract, data, "job-1", keys[1]).document == failure
    with pytest.raises(DigestError):
        receive_failure_receipt(signed, contract, data, "job-2", keys[1])
    with pytest.raises(SignatureError):
        receive_failure_receipt(sign_document(failure, fixed_key(9)), contract, data, "job-1", keys[1])
