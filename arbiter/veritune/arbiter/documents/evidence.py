"""The evidence bundle: all that an arbiter needs, beside two public keys, to recompute a verdict (SPEC section 6.4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, ValidationError, model_validator

from veritune.arbiter.documents.canary import AnyCanary, AnyGenerator, Chat
from veritune.common.canonical import parse_canonical
from veritune.common.dataset import Row
from veritune.common.documents.base import Count, Document, HexDigest, Name, Positive, ShortText, field_of
from veritune.common.envelope import Envelope
from veritune.common.errors import MalformedDocumentError
from veritune.common.inference import SamplingTerms
from veritune.common.limits import LIMITS

Answer = Annotated[str, StringConstraints(max_length=65_536)]
LogProb = Annotated[str, StringConstraints(pattern=r"^-?(0|[1-9][0-9]{0,8})\.[0-9]{6}$")]
"""A log-probability in nats with six places, as `veritune.common.inference.format_logprob` writes it."""
Nonce = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{2}){16,64}$")]


class EnvelopeDocument(Document):
    """An envelope as part of another document, in DSSE's JSON form."""

    payload: Annotated[str, StringConstraints(max_length=2 * LIMITS.document)]
    payloadType: Annotated[str, StringConstraints(max_length=LIMITS.payload_type)]  # noqa: N815 - DSSE's own name
    signatures: Annotated[tuple[dict[str, str], ...], Field(min_length=1, max_length=LIMITS.signatures)]

    def envelope(self) -> Envelope:
        """The envelope as our own type. Raises `MalformedDocumentError` or `TooLargeError`."""
        return Envelope.from_dict({**self.model_dump(), "signatures": [dict(s) for s in self.signatures]})

    @classmethod
    def of(cls, envelope: Envelope) -> EnvelopeDocument:
        """The document form of an envelope."""
        value = envelope.to_dict()
        return cls.model_validate({**value, "signatures": tuple(value["signatures"])})


class OpenedRow(Document):
    """A row of the data set with its index and inclusion proof, lowest sibling first."""

    index: Count
    row: Row
    proof: Annotated[tuple[HexDigest, ...], Field(max_length=64)]


class Opening(Document):
    """One opened leaf of the canary tree: salt, canary, and every row that the canary names."""

    leaf: Count
    salt: HexDigest
    canary: AnyCanary
    rows: Annotated[tuple[OpenedRow, ...], Field(max_length=1024)]


class ReceiptRef(Document):
    """The inference receipt of a served answer, by sequence number, and the nonce that the request carried.

    Answers of the delivered mode have none, because the client computes them itself.
    """

    nonce: Nonce
    sequence: Positive


class TriggerObservation(Document):
    """The answer to one prompt with T after it; ``query`` is its index among held-out prompts or the group's rows."""

    leaf: Count
    held_out: bool
    query: Count
    answer: Answer
    finish_reason: Literal["stop", "length"]
    asked: ReceiptRef | None


class DecoyObservation(Document):
    """The answer to a decoy, a prompt without a trigger that is in no row of the data set."""

    prompt: Chat
    answer: Answer
    finish_reason: Literal["stop", "length"]
    asked: ReceiptRef | None


class NaturalObservation(Document):
    """Log-probabilities (nats, six places) of a natural canary's candidates: of the tuned model after the prompt, and
    of the base model after the generator's or rewording's examples and the prompt."""

    leaf: Count
    tuned: Annotated[tuple[LogProb, ...], Field(min_length=2, max_length=256)]
    base: Annotated[tuple[LogProb, ...], Field(min_length=2, max_length=256)]
    asked: ReceiptRef | None


class Observations(Document):
    """All answers of one mode: the client ran the ``delivered`` adapter, or asked the ``served`` endpoint."""

    mode: Literal["delivered", "served"]
    sampling: SamplingTerms
    triggers: Annotated[tuple[TriggerObservation, ...], Field(max_length=65_536)]
    decoys: Annotated[tuple[DecoyObservation, ...], Field(max_length=4096)]
    naturals: Annotated[tuple[NaturalObservation, ...], Field(max_length=65_536)]
    receipts: Annotated[tuple[EnvelopeDocument, ...], Field(max_length=65_536)]
    """Inference receipts with sequence 1, 2, 3 ... of every call under the contract, also calls of other purposes."""


class Evidence(Document):
    """The evidence of one session: contract, receipts, opened canaries, answers; fields follow the protocol's order."""

    version: Literal[1] = 1
    manifest: EnvelopeDocument
    dataset_receipt: EnvelopeDocument
    training_receipt: EnvelopeDocument
    session: Positive
    generators: Annotated[tuple[AnyGenerator, ...], Field(min_length=1, max_length=16)]
    leaf_hashes: Annotated[tuple[HexDigest, ...], Field(min_length=2, max_length=LIMITS.leaves)]
    """Hashes of all leaves of the canary tree, from which the order of the challenge is recomputed."""
    openings: Annotated[tuple[Opening, ...], Field(min_length=1, max_length=LIMITS.leaves)]
    """Opened leaves in the order of the challenge."""
    observations: Annotated[tuple[Observations, ...], Field(min_length=1, max_length=2)]
    software: Annotated[dict[Name, ShortText], Field(max_length=64)]

    @model_validator(mode="after")
    def _one_of_each_mode(self) -> Evidence:
        if len({item.mode for item in self.observations}) != len(self.observations):
            raise ValueError("two observations of one mode")
        return self

    @classmethod
    def from_bytes(cls, data: bytes) -> Evidence:
        """The bundle in canonical bytes. Raises `MalformedDocumentError`; `TooLargeError` over `LIMITS.evidence`."""
        parse_canonical(data, LIMITS.evidence)
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            where = ".".join(map(str, first["loc"]))[:200]
            raise MalformedDocumentError(f"evidence: {where}: not of the right form", **field_of(first)) from error


def envelopes(evidence: Evidence) -> Iterator[tuple[str, Envelope]]:
    """Yields every envelope of a bundle with its name for messages. Raises `MalformedDocumentError`."""
    yield "manifest", evidence.manifest.envelope()
    yield "dataset receipt", evidence.dataset_receipt.envelope()
    yield "training receipt", evidence.training_receipt.envelope()
    for observations in evidence.observations:
        for number, receipt in enumerate(observations.receipts, start=1):
            yield f"inference receipt {number}", receipt.envelope()
