from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import ErrorDetails

from tests.support.errors import fails
from veritune.common.canonical import canonical_bytes
from veritune.common.documents.base import field_of
from veritune.common.documents.manifest import Training
from veritune.common.documents.receipts import DatasetReceipt
from veritune.common.envelope import Envelope, Signature, countersign, pre_authentication_encoding, sign, verify
from veritune.common.errors import MalformedDocumentError, SignatureError, TooLargeError, VerituneError
from veritune.common.keys import PrivateKey
from veritune.common.signing import Signed, open_document, sign_document
from veritune.common.wire import envelope_from_wire, envelope_to_wire
from veritune.v1 import envelope_pb2

CLIENT, PROVIDER, STRANGER = (PrivateKey.generate() for _ in range(3))
KIND = "application/vnd.veritune.test+json"
SIGNED = sign(KIND, b'{"a":1}', CLIENT).to_json()


def test_pre_authentication_encoding_is_the_standards_example() -> None:
    # The example of the DSSE protocol document.
    encoded = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world")
    assert encoded == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_two_parties_sign_the_same_bytes() -> None:
    both = countersign(sign(KIND, b"{}", CLIENT), PROVIDER)
    assert verify(both, KIND, [CLIENT.public, PROVIDER.public]) == b"{}"
    assert Envelope.from_json(both.to_json()) == both
    assert both.digest == hashlib.sha256(b"{}").hexdigest()
    assert envelope_from_wire(envelope_to_wire(both)) == both


def test_exactly_the_named_signers() -> None:
    one = sign(KIND, b"{}", CLIENT)
    both = countersign(one, PROVIDER)
    forged = replace(one, signatures=(Signature(PROVIDER.public.key_id, one.signatures[0].sig),))
    twice = replace(one, signatures=one.signatures * 2)
    cases = [
        (one, [PROVIDER.public]),
        (one, [CLIENT.public, PROVIDER.public]),
        (both, [CLIENT.public]),
        (both, [CLIENT.public, STRANGER.public]),
        (forged, [PROVIDER.public]),
        (twice, [CLIENT.public]),
        (replace(one, payload=b"[]"), [CLIENT.public]),
        (replace(one, payload_type="other"), [CLIENT.public]),
    ]
    for envelope, signers in cases:
        with pytest.raises(SignatureError):
            verify(envelope, KIND, signers)


def test_misuse_is_our_own_error() -> None:
    one = sign(KIND, b"{}", CLIENT)
    with pytest.raises(ValueError, match="no signer"):
        verify(one, KIND, [])
    with pytest.raises(ValueError, match="signed the envelope already"):
        countersign(one, CLIENT)


@given(st.data())
def test_flipping_any_byte_of_an_envelope_is_seen(data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(SIGNED) - 1))
    bad = bytearray(SIGNED)
    bad[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(VerituneError):
        verify(Envelope.from_json(bytes(bad)), KIND, [CLIENT.public])


def change(**changes: Any) -> dict[str, Any]:
    return {**json.loads(sign(KIND, b"{}", CLIENT).to_json()), **changes}


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        change(extra=1),
        change(payloadType=3),
        change(payloadType=""),
        change(payloadType="é"),
        change(payloadType="x" * 129),
        change(payload=3),
        change(payload="e30"),
        change(payload="e31="),
        change(payload="e*0="),
        change(signatures={}),
        change(signatures=[3]),
        change(signatures=[{"keyid": "a"}]),
        change(signatures=[{"keyid": 1, "sig": ""}]),
        change(signatures=[{"keyid": "a", "sig": "", "x": 1}]),
    ],
)
def test_refuses_malformed_envelopes(value: Any) -> None:
    with pytest.raises(MalformedDocumentError):
        Envelope.from_dict(value)


def test_limits() -> None:
    with pytest.raises(TooLargeError):
        Envelope(KIND, b"\0" * 10_000_000, ())
    with pytest.raises(TooLargeError):
        Envelope(KIND, b"", tuple(Signature("a", b"") for _ in range(5)))
    with pytest.raises(TooLargeError):
        Envelope.from_dict(change(signatures=[{"keyid": "a", "sig": ""}] * 5))
    with pytest.raises(TooLargeError):
        envelope_from_wire(envelope_pb2.Envelope(payload_type=KIND, signatures=[envelope_pb2.Signature()] * 5))
    with pytest.raises(TooLargeError):
        Envelope.from_json(b" " * 3_000_000)


def test_documents_are_parsed_only_after_the_signature() -> None:
    receipt = DatasetReceipt(
        manifest_digest="0" * 64, rows=1, size=2, sha256="1" * 64, merkle_root="2" * 64, received="2026-01-01T00:00:00Z"
    )
    envelope = sign_document(receipt, PROVIDER)
    signed = open_document(DatasetReceipt, envelope, PROVIDER.public)
    assert signed == Signed(envelope, receipt)
    assert signed.digest == envelope.digest
    with pytest.raises(SignatureError):
        open_document(DatasetReceipt, replace(envelope, payload=b"not even JSON"), PROVIDER.public)
    nonsense = sign(DatasetReceipt.payload_type, b"not even JSON", PROVIDER)
    with pytest.raises(MalformedDocumentError):
        open_document(DatasetReceipt, nonsense, PROVIDER.public)


@pytest.mark.parametrize(
    ("change_of", "metadata"),
    [
        ({"unknown": 1}, {"field": "document", "cause": "unknown_field"}),
        ({"rank": "32"}, {"field": "rank"}),
        ({"rank": True}, {"field": "rank"}),
        ({"rank": 0}, {"field": "rank"}),
        ({"dropout": "0x1"}, {"field": "dropout"}),
        ({"target_modules": []}, {"field": "target_modules"}),
        ({"optimizer": {"name": "sgd"}}, {"field": "optimizer.name"}),
    ],
)
def test_strict_documents(change_of: dict[str, Any], metadata: dict[str, str]) -> None:
    value = {**Training().model_dump(mode="json"), **change_of}
    with fails(MalformedDocumentError, **metadata):
        Training.from_bytes(canonical_bytes(value))


def test_metadata_holds_no_name_that_the_sender_made_up() -> None:
    key = ErrorDetails(type="string_type", loc=("software", "made up"), msg="", input=3)
    assert field_of(key) == {"field": "software"}
    with fails(MalformedDocumentError, field="optimizer", cause="unknown_field"):
        Training.from_bytes(canonical_bytes({"optimizer": {"made_up": 1}}))


def test_a_document_that_is_no_object_is_refused() -> None:
    with fails(MalformedDocumentError, field="document"):
        Training.from_bytes(b"[]")


def test_document_round_trip() -> None:
    assert Training.from_bytes(Training().to_bytes()) == Training()
