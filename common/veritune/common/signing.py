"""Documents in and out of envelopes: signature first, parsing after (SPEC section 5.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Generic, Protocol, Self, TypeVar

from veritune.common.envelope import Envelope, sign, verify
from veritune.common.keys import PrivateKey, PublicKey


class SignedDocument(Protocol):
    """What a document needs to travel in an envelope."""

    payload_type: ClassVar[str]

    def to_bytes(self) -> bytes: ...

    @classmethod
    def from_bytes(cls, data: bytes) -> Self: ...


D = TypeVar("D", bound=SignedDocument)


@dataclass(frozen=True)
class Signed(Generic[D]):
    """A DSSE envelope whose signatures have been verified, and the document that its payload holds.

    `open_document` makes it; whoever makes one by hand vouches for the signatures.
    """

    envelope: Envelope
    document: D

    @property
    def digest(self) -> str:
        """SHA-256 of the payload: what the next document of the chain names."""
        return self.envelope.digest


def sign_document(document: SignedDocument, key: PrivateKey) -> Envelope:
    """Signs a document's canonical bytes."""
    return sign(document.payload_type, document.to_bytes(), key)


def open_document(kind: type[D], envelope: Envelope, *signers: PublicKey) -> Signed[D]:
    """The envelope with its document, once exactly ``signers`` have signed it.

    Raises `SignatureError`, `MalformedDocumentError`.
    """
    return Signed(envelope, kind.from_bytes(verify(envelope, kind.payload_type, signers)))
