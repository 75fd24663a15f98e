"""Documents in and out of envelopes: signature first, parsing after (SPEC section 5.3)."""

from __future__ import annotations

from typing import ClassVar, Protocol, Self, TypeVar

from veritune.common.envelope import Envelope, sign, verify
from veritune.common.keys import PrivateKey, PublicKey


class SignedDocument(Protocol):
    """What a document needs to travel in an envelope."""

    payload_type: ClassVar[str]

    def to_bytes(self) -> bytes: ...

    @classmethod
    def from_bytes(cls, data: bytes) -> Self: ...


D = TypeVar("D", bound=SignedDocument)


def sign_document(document: SignedDocument, key: PrivateKey) -> Envelope:
    """Signs a document's canonical bytes."""
    return sign(document.payload_type, document.to_bytes(), key)


def open_document(kind: type[D], envelope: Envelope, *signers: PublicKey) -> D:
    """The document, once exactly ``signers`` have signed it. Raises `SignatureError`, `MalformedDocumentError`."""
    return kind.from_bytes(verify(envelope, kind.payload_type, signers))
