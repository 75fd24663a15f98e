"""The contract that both parties sign (SPEC section 4): frozen, strict, closed to unknown fields.

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
    """Settings of AdamW with decoupled weight decay (Loshchilov and Hutter 2019)."""

    name: Literal["adamw"] = "adamw"
    learning_rate: DecimalString = "0.0005"
    beta1: DecimalString = "0.9"
    beta2: DecimalString = "0.999"
    epsilon: DecimalString = "0.00000001"
    weight_decay: DecimalString = "0"
    max_grad_norm: DecimalString = "1"


class Training(Document):
    """The training recipe with every constant, because the recipe decides whether a canary is learnt."""

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
    """``auto`` is bfloat16 where the machine computes in bfloat16, else float32; the receipt says which was used."""


class KeyRef(Document):
    """A party's public key in full, so that a manifest names its signers without another file."""

    key_id: HexDigest
    public_key: Annotated[str, StringConstraints(max_length=400)]
    """SubjectPublicKeyInfo (DER) as base64."""


class BaseModelRef(Document):
    """A base model by name and by the digest over its files (SPEC section 4.2)."""

    name: Name
    digest: HexDigest


class Source(Document):
    """One source of rows: its name, its licence, its rows, and how many of these one epoch may use."""

    name: Name
    licence: ShortText
    rows: Positive
    rows_per_epoch: Positive


class DatasetTerms(Document):
    """The data set that the client will upload, canaries included; ``size`` in bytes."""

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
    """Bound on the probability that an honest run is judged FAIL, divided among tests, modes and sessions."""
    trigger_floor: DecimalString = "0.5"
    """Least probability with which an honest run makes one trigger group's signature appear."""
    natural_floor: DecimalString = "0.5"
    """Least probability with which an honest run ranks one natural canary's true answer within ``hit_rank``."""
    base_weight: Share = "0.25"
    """The weight w: candidates are ranked by log-probability minus w times the base model's log-probability."""
    coverage_floor: DecimalString = "0.8"
    """PASS needs a lower confidence bound on the share of rows trained on of at least this; 0 asks for none."""
    coverage_confidence: DecimalString = "0.99"
    recital_floor: Share = "0"
    """Least probability with which an honest run recites one natural canary; PASS then needs as many recitals as such a
    run shows, at ``coverage_confidence``. 0 asks for no recitals."""
    recital_nats: Nats = "5"
    """A canary is recited where the log-probability of its true answer is at least minus this."""
    hit_rank: Annotated[int, Field(ge=1, le=64)] = 1
    """A natural canary is a hit where its true answer has this rank or a better one."""
    stopping: Literal["fixed", "sequential"] = "fixed"
    """``fixed`` asks every canary of the session, ``sequential`` one after another until a verdict is possible."""
    sessions: Annotated[int, Field(ge=1, le=16)] = 1
    """Number of challenges that the contract allows; each asks other canaries."""
    queries_per_group: Annotated[int, Field(ge=1, le=64)] = 2
    """Held-out prompts asked of each trigger group, and as many prompts of its rows where it has so many."""
    group_rows: Annotated[int, Field(ge=1, le=1024)] = 4
    """Least number of rows that carry a trigger group: one or two rows teach no honest run (vTune, Table 3)."""
    modes: Annotated[tuple[Literal["delivered", "served"], ...], Field(min_length=1, max_length=2)] = ("delivered",)
    """Modes that must each pass: the client runs the ``delivered`` adapter itself, or asks the ``served`` endpoint."""
    served_assumption: Literal["none", "answers-from-weights", "decoys-unrecognised"] = "none"
    """What the verdict assumes of an endpoint. ``none``: it may look answers up, so it can't pass.
    ``answers-from-weights``: it looks nothing up. ``decoys-unrecognised``: it can't tell the client's decoys from other
    requests, and must answer them as the delivered adapter does."""
    match_floor: DecimalString = "0.7"
    """Share of requests that endpoint and adapter answer alike: up to this share the endpoint must not pass, from this
    share on it must not fail. Used only under ``decoys-unrecognised``."""

    @property
    def compares(self) -> bool:
        """True if the endpoint's agreement with the adapter counts towards the verdict."""
        return self.served_assumption == "decoys-unrecognised"


class Verification(Document):
    """The client's commitment to its canaries, and the rules by which the model will be judged."""

    canary_root: HexDigest
    leaves: Annotated[int, Field(ge=2, le=65_536)]
    """Leaves of the canary tree, a power of two, padding included."""
    leaves_per_session: Annotated[int, Field(ge=1, le=65_536)]
    """Most leaves that one session may open."""
    max_canary_rows: Positive
    """Most rows of the data set that the canaries of one session may occupy."""
    policy: Policy


class Deadlines(Document):
    """The latest time of each step; a step is refused after it. ``created`` is when the contract was made."""

    created: Timestamp
    accept: Timestamp
    train: Timestamp
    challenge: Timestamp
    reveal: Timestamp


class Price(Document):
    """The price that the parties agreed on; the protocol carries it and never reads it."""

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
