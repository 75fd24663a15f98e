"""Signs documents and opens signed ones; signatures are verified before a byte is parsed (SPEC section 5.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Generic, Protocol, Self, TypeVar

from veritune.common.envelope import Envelope, sign, verify
from veritune.common.keys import PrivateKey, PublicKey


class SignedDocument(Protocol):
    """The interface of a document that an envelope can carry: its payload type, and its form as bytes."""

    payload_type: ClassVar[str]

    def to_bytes(self) -> bytes:
        """The canonical bytes that are signed."""

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The document that canonical bytes hold. Raises `MalformedDocumentError` or `TooLargeError`."""


D = TypeVar("D", bound=SignedDocument)


@dataclass(frozen=True)
class Signed(Generic[D]):
    """A DSSE envelope whose signatures have been verified, and the document that its payload holds.

    `open_document` makes it; code that constructs one itself must have verified the signatures.
    """

    envelope: Envelope
    document: D

    @property
    def digest(self) -> str:
        """SHA-256 (hexadecimal) of the payload, by which the next document of the chain names this one."""
        return self.envelope.digest


def sign_document(document: SignedDocument, key: PrivateKey) -> Envelope:
    """A new envelope with a document's canonical bytes, signed by ``key``."""
    return sign(document.payload_type, document.to_bytes(), key)


def open_document(kind: type[D], envelope: Envelope, *signers: PublicKey) -> Signed[D]:
    """The envelope with its document of ``kind``, after the signatures of exactly ``signers`` were verified.

    Raises `SignatureError` for other signers, payload types or signatures; `MalformedDocumentError` or `TooLargeError`
    for a payload that is no such document.
    """
    return Signed(envelope, kind.from_bytes(verify(envelope, kind.payload_type, signers)))
