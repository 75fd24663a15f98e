"""Documents signed after the contract: the provider's receipts, the client's access tokens (SPEC sections 4 and 7)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from veritune.common.documents.base import Count, Document, HexDigest, Name, Positive, ShortText, Timestamp

ADAPTER_WEIGHTS = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
"""The two files that every adapter has."""


class DatasetReceipt(Document):
    """The provider's statement that it received the data set; it computed every figure itself."""

    payload_type: ClassVar[str] = "application/vnd.veritune.dataset-receipt.v1+json"

    version: Literal[1] = 1
    manifest_digest: HexDigest
    rows: Positive
    size: Positive
    sha256: HexDigest
    merkle_root: HexDigest
    received: Timestamp


class FileRef(Document):
    """One file by name, size in bytes and SHA-256."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
    size: Count
    sha256: HexDigest


class Checkpoint(Document):
    """The adapter's weights at the end of one epoch, after ``step`` optimizer steps."""

    step: Positive
    sha256: HexDigest
    """SHA-256 of the checkpoint's adapter_model.safetensors."""


class TrainingReceipt(Document):
    """The provider's statement that it trained: the adapter's files, and the steps, tokens and rows it trained on."""

    payload_type: ClassVar[str] = "application/vnd.veritune.training-receipt.v1+json"

    version: Literal[1] = 1
    manifest_digest: HexDigest
    dataset_receipt_digest: HexDigest
    job_id: Name
    adapter: Annotated[tuple[FileRef, ...], Field(min_length=1, max_length=64)]
    checkpoints: Annotated[tuple[Checkpoint, ...], Field(max_length=1000)]
    steps: Count
    tokens: Count
    label_tokens: Count
    """Tokens on which the loss was computed."""
    rows_trained: Count
    rows_dropped: Count
    """Rows of which cutting at max_sequence_length left no answer token."""
    rows_cut: Count
    """Rows trained on that were cut at max_sequence_length."""
    trace_root: HexDigest
    """RFC 9162 root over the canonical bytes of every step's record: step, rows, loss."""
    software: Annotated[dict[ShortText, ShortText], Field(max_length=64)]
    hardware: Annotated[dict[ShortText, ShortText], Field(max_length=64)]
    started: Timestamp
    finished: Timestamp


class FailureReceipt(Document):
    """The provider's statement that a job ended without an adapter."""

    payload_type: ClassVar[str] = "application/vnd.veritune.failure-receipt.v1+json"

    version: Literal[1] = 1
    manifest_digest: HexDigest
    dataset_receipt_digest: HexDigest
    job_id: Name
    outcome: Literal["failed", "cancelled"]
    message: ShortText
    finished: Timestamp


class InferenceReceipt(Document):
    """The provider's statement of one answer. ``sequence`` counts all calls under one contract from 1, without gaps."""

    payload_type: ClassVar[str] = "application/vnd.veritune.inference-receipt.v1+json"

    version: Literal[1] = 1
    manifest_digest: HexDigest
    training_receipt_digest: HexDigest | None
    """None where the base model answered."""
    sequence: Positive
    kind: Literal["generate", "score"]
    request_digest: HexDigest
    output_digest: HexDigest
    issued: Timestamp


class AccessToken(Document):
    """A token by which the holder of the contract's client key may call the provider until it expires."""

    payload_type: ClassVar[str] = "application/vnd.veritune.access-token.v1+json"

    version: Literal[1] = 1
    audience: HexDigest
    """Key id of the provider that may accept the token."""
    manifest_digest: HexDigest
    issued: Timestamp
    expires: Timestamp
