"""DSSE v1 envelopes (SPEC section 5.2): signed bytes stay opaque until a pinned key has verified them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from veritune.common.canonical import canonical_bytes, parse_canonical, sha256_hex
from veritune.common.errors import MalformedDocumentError, SignatureError, TooLargeError
from veritune.common.keys import PrivateKey, PublicKey
from veritune.common.limits import LIMITS


@dataclass(frozen=True)
class Signature:
    """One signature (DER); ``key_id`` only picks among pinned keys and never introduces one."""

    key_id: str
    sig: bytes


@dataclass(frozen=True)
class Envelope:
    """A DSSE envelope: payload, its type and signatures, none of which has been verified.

    Raises `MalformedDocumentError` for an empty, too long or non-ASCII payload type, else `TooLargeError`.
    """

    payload_type: str
    payload: bytes
    signatures: tuple[Signature, ...]

    def __post_init__(self) -> None:
        if not 0 < len(self.payload_type) <= LIMITS.payload_type or not self.payload_type.isascii():
            raise MalformedDocumentError("an envelope's payload type is empty, too long or not ASCII")
        if len(self.payload) > LIMITS.document:
            raise TooLargeError(f"an envelope's payload is over {LIMITS.document} bytes")
        if len(self.signatures) > LIMITS.signatures:
            raise TooLargeError(f"an envelope carries more than {LIMITS.signatures} signatures")

    @property
    def digest(self) -> str:
        """SHA-256 (hexadecimal) of the payload, by which the next document of the chain names this one."""
        return sha256_hex(self.payload)

    def to_dict(self) -> dict[str, Any]:
        """The envelope as an object of DSSE's JSON form, bytes as standard base64."""
        return {
            "payload": base64.b64encode(self.payload).decode("ascii"),
            "payloadType": self.payload_type,
            "signatures": [
                {"keyid": s.key_id, "sig": base64.b64encode(s.sig).decode("ascii")} for s in self.signatures
            ],
        }

    def to_json(self) -> bytes:
        """The envelope as canonical JSON: RFC 8785 bytes of `to_dict`."""
        return canonical_bytes(self.to_dict())

    @classmethod
    def from_dict(cls, value: Any) -> Envelope:
        """The envelope in an object of DSSE's JSON form.

        Raises `MalformedDocumentError`, also for unknown fields and base64 that is not canonical, and `TooLargeError`.
        """
        if not isinstance(value, dict) or set(value) != {"payload", "payloadType", "signatures"}:
            raise MalformedDocumentError("not a DSSE envelope")
        payload_type, signatures = value["payloadType"], value["signatures"]
        if not isinstance(payload_type, str) or not isinstance(signatures, list):
            raise MalformedDocumentError("not a DSSE envelope")
        if len(signatures) > LIMITS.signatures:
            raise TooLargeError(f"an envelope carries more than {LIMITS.signatures} signatures")
        return cls(payload_type, _unbase64(value["payload"]), tuple(_signature(item) for item in signatures))

    @classmethod
    def from_json(cls, data: bytes) -> Envelope:
        """The envelope in the bytes that `to_json` writes. Raises `MalformedDocumentError` or `TooLargeError`."""
        return cls.from_dict(parse_canonical(data, LIMITS.envelope_json))


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """The bytes that a signature covers: DSSE v1's PAE of type and payload, each with its length."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign(payload_type: str, payload: bytes, key: PrivateKey) -> Envelope:
    """A new envelope around ``payload`` with one signature, by ``key``."""
    return countersign(Envelope(payload_type, payload, ()), key)


def countersign(envelope: Envelope, key: PrivateKey) -> Envelope:
    """The envelope with one more signature, by ``key``. Raises ``ValueError`` if this key has signed it already."""
    if any(item.key_id == key.public.key_id for item in envelope.signatures):
        raise ValueError("this key has signed the envelope already")
    message = pre_authentication_encoding(envelope.payload_type, envelope.payload)
    signature = Signature(key.public.key_id, key.sign(message))
    return replace(envelope, signatures=(*envelope.signatures, signature))


def verify(envelope: Envelope, payload_type: str, signers: Sequence[PublicKey]) -> bytes:
    """The payload, once every one of ``signers``, and nobody else, has signed it.

    Raises `SignatureError`, and ``ValueError`` without any signer. An extra signature is refused too: a document has
    exactly the signers its type asks for, so that its bytes on the wire can't be made to differ without notice.
    """
    if envelope.payload_type != payload_type:
        raise SignatureError(f"expected an envelope of type {payload_type}", cause="type")
    pinned = {key.key_id: key for key in signers}
    if not pinned:
        raise ValueError("no signer to check against")
    seen = [item.key_id for item in envelope.signatures]
    if sorted(seen) != sorted(pinned):
        raise SignatureError("the envelope is not signed by exactly the keys that must sign it", cause="signers")
    message = pre_authentication_encoding(envelope.payload_type, envelope.payload)
    for item in envelope.signatures:
        if not pinned[item.key_id].verifies(item.sig, message):
            raise SignatureError("a signature does not verify", cause="signature")
    return envelope.payload


def _signature(value: Any) -> Signature:
    if not isinstance(value, dict) or set(value) != {"keyid", "sig"} or not isinstance(value["keyid"], str):
        raise MalformedDocumentError("not a DSSE signature")
    return Signature(value["keyid"], _unbase64(value["sig"]))


def _unbase64(value: Any) -> bytes:
    if not isinstance(value, str):
        raise MalformedDocumentError("expected base64 text")
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedDocumentError("not base64") from error
    if base64.b64encode(data).decode("ascii") != value:
        raise MalformedDocumentError("base64 is not in its one canonical form")
    return data
