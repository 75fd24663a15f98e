"""The report and its derived attestations, as stock in-toto tools see them (in-toto's package ships no types)."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from google.protobuf import json_format
from in_toto_attestation.predicates.test_result.v0.test_result_pb2 import TestResult as StockTestResult  # type: ignore[import-untyped]
from in_toto_attestation.v1.statement import Statement as StockStatement  # type: ignore[import-untyped]
from in_toto_attestation.v1.statement_pb2 import Statement as StatementMessage  # type: ignore[import-untyped]
from securesystemslib.dsse import Envelope as StockEnvelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import Key  # type: ignore[attr-defined]  # re-exported, undeclared

from tests.support.errors import fails
from tests.support.exchange import UNTRAINED, Exchange, digest
from tests.support.sowing import GENERATOR
from veritune.arbiter.documents.evidence import EnvelopeDocument
from veritune.arbiter.documents.statement import ReportStatement, SvrStatement, TestResultStatement
from veritune.arbiter.report import DELIVERED_ASSUMPTION, ESTIMATE_ASSUMPTION, NO_SERVED_ASSUMPTION, SERVED_ASSUMPTION
from veritune.common.documents.manifest import Policy
from veritune.common.documents.receipts import FileRef
from veritune.common.envelope import Envelope
from veritune.common.errors import MalformedDocumentError
from veritune.common.keys import PublicKey
from veritune.common.signing import open_document, sign_document

HONEST = Exchange()
BASE = Exchange(behaviour=UNTRAINED, naturals=40, leaves=64, leaves_per_session=64)


def stock_key(key: PublicKey) -> Key:
    pem = load_der_public_key(key.der).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    value = {"keytype": "ecdsa", "scheme": "ecdsa-sha2-nistp256", "keyval": {"public": pem}}
    return Key.from_dict(key.key_id, value)


def every_envelope(exchange: Exchange) -> list[Envelope]:
    report = exchange.report
    return [report.report, report.test_result, *([report.svr] if report.svr else [])]


@pytest.mark.parametrize("exchange", [HONEST, BASE], ids=["pass", "fail"])
def test_securesystemslib_verifies_every_envelope(exchange: Exchange) -> None:
    for envelope in every_envelope(exchange):
        stock = StockEnvelope.from_dict(json.loads(envelope.to_json()))
        assert stock.payload_type == "application/vnd.in-toto+json"
        assert list(stock.verify([stock_key(exchange.client.public)], 1)) == [exchange.client.public.key_id]
        stock.payload += b" "
        with pytest.raises(VerificationError):
            stock.verify([stock_key(exchange.client.public)], 1)


@pytest.mark.parametrize("exchange", [HONEST, BASE], ids=["pass", "fail"])
def test_in_toto_parses_and_validates_every_statement(exchange: Exchange) -> None:
    for envelope in every_envelope(exchange):
        message = json_format.Parse(envelope.payload.decode(), StatementMessage())
        StockStatement.copy_from_pb(message).validate()
        assert message.type == "https://in-toto.io/Statement/v1"
        assert message.subject[0].name == "adapter_model.safetensors"
        assert message.subject[0].digest["sha256"] == digest("weights")


def test_the_test_result_is_one_that_in_toto_knows() -> None:
    for exchange, result in ((HONEST, "PASSED"), (BASE, "FAILED")):
        value = json.loads(exchange.report.test_result.payload)
        assert value["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
        message = json_format.ParseDict(value["predicate"], StockTestResult())
        assert message.result == result
        assert message.configuration[0].name == "veritune policy"
    assert list(message.failed_tests) == ["veritune/delivered"]


def test_a_mode_nobody_looked_at_is_warned_of() -> None:
    exchange = Exchange(policy=Policy(modes=("delivered", "served")))
    statement = open_document(TestResultStatement, exchange.report.test_result, exchange.client.public).document
    assert statement.predicate.result == "WARNED"
    assert statement.predicate.warnedTests == ("veritune/served",)
    assert statement.predicate.passedTests == ("veritune/delivered",)


def test_there_is_a_simple_verification_result_only_on_pass() -> None:
    assert BASE.report.svr is None
    assert HONEST.report.svr is not None
    value = json.loads(HONEST.report.svr.payload)
    assert value["predicateType"] == "https://in-toto.io/attestation/svr/v0.2"
    assert set(value["predicate"]) == {"verifier", "timeCreated", "properties"}
    assert value["predicate"]["properties"] == ["VERITUNE_PASS", "VERITUNE_DELIVERED_PASS"]
    policies = {item["name"]: item["digest"]["sha256"] for item in value["predicate"]["verifier"]["policies"]}
    assert policies["veritune report"] == HONEST.report.report.digest
    assert (
        open_document(SvrStatement, HONEST.report.svr, HONEST.client.public).document.to_bytes()
        == HONEST.report.svr.payload
    )


def test_the_report_says_everything_that_was_asked_of_it() -> None:
    statement = open_document(ReportStatement, HONEST.report.report, HONEST.client.public).document
    said = statement.predicate
    assert statement.verdict == said.verdict == said.judgement.verdict == "PASS"
    assert said.chain.manifest == HONEST.signed_manifest.digest
    assert said.chain.training_receipt == HONEST.signed_training_receipt.digest
    assert said.policy == HONEST.signed_policy
    assert (said.canaries.groups, said.canaries.group_rows, said.canaries.naturals, said.canaries.padding) == (
        3,
        6,
        24,
        5,
    )
    assert said.overhead is not None
    assert said.overhead.extra_tokens_percent == "0.84"
    assert said.task is not None
    assert said.task.after == "0.61"
    assert json.loads(base64.b64decode(HONEST.report.report.to_dict()["payload"]))["_type"].endswith("Statement/v1")


@pytest.mark.parametrize(
    ("knobs", "expected"),
    [
        ({}, {DELIVERED_ASSUMPTION}),
        ({"modes": ("served",), "policy": Policy(modes=("served",))}, {NO_SERVED_ASSUMPTION}),
        (
            {"modes": ("served",), "policy": Policy(modes=("served",), served_assumption="answers-from-weights")},
            {SERVED_ASSUMPTION},
        ),
        (
            {"generator": GENERATOR.model_copy(update={"certified": False})},
            {DELIVERED_ASSUMPTION, ESTIMATE_ASSUMPTION},
        ),
    ],
)
def test_assumptions_are_put_into_words(knobs: dict[str, Any], expected: set[str]) -> None:
    said = set(replace(HONEST, **knobs).report.statement.predicate.assumptions)
    of_modes = {DELIVERED_ASSUMPTION, SERVED_ASSUMPTION, NO_SERVED_ASSUMPTION, ESTIMATE_ASSUMPTION}
    assert said & of_modes == expected


@pytest.mark.parametrize("names", [(), ("adapter_model.safetensors", "adapter_model.safetensors")])
def test_the_receipt_must_name_one_adapter(names: tuple[str, ...]) -> None:
    files: tuple[FileRef, ...] = (FileRef(name="adapter_config.json", size=2, sha256=digest("{}")),)
    files += tuple(FileRef(name=name, size=7, sha256=digest("weights")) for name in names)
    receipt = HONEST.training_receipt.model_copy(update={"adapter": files})
    signed = EnvelopeDocument.of(sign_document(receipt, HONEST.provider))
    with fails(MalformedDocumentError, field="adapter"):
        HONEST.report_on(HONEST.evidence.model_copy(update={"training_receipt": signed}))
