"""The documents both parties sign (SPEC section 4): frozen, strict, closed to unknown fields.

Numbers are integers below 2**53 or decimal strings, so that every language canonicalises them to the
same bytes (RFC 8785) and no probability ever underflows a float.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from veritune.common.documents.base import (
    Count,
    DecimalString,
    Document,
    HexDigest,
    Name,
    Nats,
    Positive,
    Share,
    ShortText,
    Timestamp,
)


class Optimizer(Document):
    """AdamW with decoupled weight decay (Loshchilov and Hutter 2019)."""

    name: Literal["adamw"] = "adamw"
    learning_rate: DecimalString = "0.0005"
    beta1: DecimalString = "0.9"
    beta2: DecimalString = "0.999"
    epsilon: DecimalString = "0.00000001"
    weight_decay: DecimalString = "0"
    max_grad_norm: DecimalString = "1"


class Training(Document):
    """The whole recipe: a canary is learnt or not by recipe, so the contract carries every constant."""

    method: Literal["lora"] = "lora"
    rank: Annotated[int, Field(ge=1, le=512)] = 32
    alpha: Annotated[int, Field(ge=1, le=4096)] = 16
    dropout: DecimalString = "0"
    target_modules: Annotated[tuple[Name, ...], Field(min_length=1, max_length=32)] = ("all-linear",)
    epochs: Annotated[int, Field(ge=1, le=100)] = 3
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 8
    gradient_accumulation: Annotated[int, Field(ge=1, le=1024)] = 1
    optimizer: Optimizer = Optimizer()
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    warmup_steps: Count = 0
    max_sequence_length: Annotated[int, Field(ge=16, le=131072)] = 512
    loss_on: Literal["completion"] = "completion"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    precision: Literal["float32", "bfloat16", "auto"] = "auto"
    """``auto``: bfloat16 where the machine has bfloat16 arithmetic, else float32; the receipt says which ran."""


class KeyRef(Document):
    """A party's key: what it signs with, in full, so that a manifest stands alone."""

    key_id: HexDigest
    public_key: Annotated[str, StringConstraints(max_length=400)]
    """SubjectPublicKeyInfo (DER) as base64."""


class BaseModelRef(Document):
    """A base model by name and by the digest over its files (SPEC section 4.2)."""

    name: Name
    digest: HexDigest


class Source(Document):
    """Where rows come from and under which licence; its quota is how many of them one epoch may use."""

    name: Name
    licence: ShortText
    rows: Positive
    rows_per_epoch: Positive


class DatasetTerms(Document):
    """The data set that will be uploaded, canaries included."""

    rows: Positive
    size: Positive
    sha256: HexDigest
    merkle_root: HexDigest
    """RFC 9162 root over the rows' canonical bytes, metadata included."""
    preprocessing_digest: HexDigest
    """SHA-256 over the canonical description of how rows were made from the user's file."""
    sources: Annotated[tuple[Source, ...], Field(min_length=1, max_length=64)]


class Policy(Document):
    """The rules of the verdict (docs/statistics.md); both parties sign them before training."""

    alpha: DecimalString = "1e-20"
    """PASS needs an influence p-value of at most alpha / sessions."""
    beta: DecimalString = "1e-6"
    """FAIL needs that an honest run gives what was seen with probability of at most beta."""
    trigger_floor: DecimalString = "0.5"
    """Least probability that an honest run makes one group's signature appear."""
    natural_floor: DecimalString = "0.5"
    """Least probability that an honest run ranks one natural canary's answer within ``hit_rank``."""
    base_weight: Share = "0.25"
    """How much of the base model's log-probability is taken off a candidate's before candidates are ranked."""
    coverage_floor: DecimalString = "0.8"
    """PASS needs a lower confidence bound on the share of rows trained on of at least this."""
    coverage_confidence: DecimalString = "0.99"
    recital_floor: Share = "0"
    """Least probability that an honest run recites one natural canary; 0: the contract does not ask. Above, PASS needs
    no fewer recitals than such a run shows, at ``coverage_confidence``."""
    recital_nats: Nats = "5"
    """A canary is recited where the log-probability of its true answer is at least minus this."""
    hit_rank: Annotated[int, Field(ge=1, le=64)] = 1
    stopping: Literal["fixed", "sequential"] = "fixed"
    """``sequential``: canaries are asked one after the other, until the evidence is enough either way."""
    sessions: Annotated[int, Field(ge=1, le=16)] = 1
    queries_per_group: Annotated[int, Field(ge=1, le=64)] = 2
    group_rows: Annotated[int, Field(ge=1, le=1024)] = 4
    """Least rows that carry a trigger group: of one or two no honest run learns it (vTune, Table 3)."""
    modes: Annotated[tuple[Literal["delivered", "served"], ...], Field(min_length=1, max_length=2)] = ("delivered",)
    """Ways of looking at the model that must each pass."""
    served_assumption: Literal["none", "answers-from-weights", "decoys-unrecognised"] = "none"
    """``none``: an endpoint can't pass, because it may look answers up. ``answers-from-weights``: it looks nothing up.
    ``decoys-unrecognised``: it can't tell the client's decoys from other requests; it must then answer them as the
    delivered adapter does."""
    match_floor: DecimalString = "0.7"
    """Share of decoys: an endpoint that agrees with the adapter on no more than this must not pass, one that agrees on
    this or more must not fail. Decides under ``decoys-unrecognised`` only."""

    @property
    def compares(self) -> bool:
        """Whether the endpoint's agreement with the adapter decides."""
        return self.served_assumption == "decoys-unrecognised"


class Verification(Document):
    """What was committed to, and how it will be judged."""

    canary_root: HexDigest
    leaves: Annotated[int, Field(ge=2, le=65_536)]
    """Leaves of the canary tree, a power of two, padding included."""
    leaves_per_session: Annotated[int, Field(ge=1, le=65_536)]
    max_canary_rows: Positive
    policy: Policy


class Deadlines(Document):
    """Each step is refused after its time."""

    created: Timestamp
    accept: Timestamp
    train: Timestamp
    challenge: Timestamp
    reveal: Timestamp


class Price(Document):
    """Opaque to the protocol."""

    amount: DecimalString = "0"
    currency: Annotated[str, StringConstraints(max_length=32)] = ""
    escrow: ShortText = ""


class Manifest(Document):
    """The contract: the same bytes signed by both parties."""

    payload_type: ClassVar[str] = "application/vnd.veritune.manifest.v1+json"

    version: Literal[1] = 1
    client: KeyRef
    provider: KeyRef
    base_model: BaseModelRef
    dataset: DatasetTerms
    training: Training
    verification: Verification
    deadlines: Deadlines
    price: Price
    nonce: HexDigest
