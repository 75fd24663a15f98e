"""One tree of errors, and the one table that gives each its reason and canonical gRPC code (SPEC section 9).

A peer's bad data is always a `VerituneError`; our own misuse of an API is a ``RuntimeError`` or ``ValueError``.
The message is public: it is sent to the peer, so it never carries a secret, a path or a foreign exception's text
that was not checked.
"""

from __future__ import annotations

from enum import Enum
from typing import ClassVar


class Code(Enum):
    """Canonical gRPC status codes by number; kept here so that ``common`` needs no grpc."""

    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class VerituneError(Exception):
    """Base of every error that crosses a boundary.

    ``reason`` is the stable, machine-readable code; ``metadata`` is small public detail, text to text.
    """

    code: ClassVar[Code] = Code.INTERNAL
    reason: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str, **metadata: str) -> None:
        super().__init__(message)
        self.message = message
        self.metadata = metadata

    def __str__(self) -> str:
        return f"[{self.reason}] {self.message}"


class MalformedDocumentError(VerituneError):
    """Bytes that are no document: not canonical JSON, a duplicate key, an unknown field, a value out of range."""

    code = Code.INVALID_ARGUMENT
    reason = "MALFORMED_DOCUMENT"


class MalformedRequestError(VerituneError):
    """A request whose fields are missing, of the wrong form or out of order."""

    code = Code.INVALID_ARGUMENT
    reason = "MALFORMED_REQUEST"


class TooLargeError(VerituneError):
    """Input over a limit of `veritune.common.limits`."""

    code = Code.RESOURCE_EXHAUSTED
    reason = "TOO_LARGE"


class QuotaError(VerituneError):
    """More of something than the provider's policy gives: queued jobs, open contracts, calls."""

    code = Code.RESOURCE_EXHAUSTED
    reason = "QUOTA_EXCEEDED"


class SignatureError(VerituneError):
    """A missing signature, one by another key, or one that does not verify."""

    code = Code.PERMISSION_DENIED
    reason = "BAD_SIGNATURE"


class UnauthenticatedError(VerituneError):
    """No access token, or one that is expired, for another provider or not by the contract's client."""

    code = Code.UNAUTHENTICATED
    reason = "UNAUTHENTICATED"


class KeyFileError(VerituneError):
    """A key file that can't be read: wrong passphrase, wrong kind of key, open to others."""

    code = Code.FAILED_PRECONDITION
    reason = "BAD_KEY_FILE"


class SecretsError(VerituneError):
    """A sealed file that can't be opened: wrong passphrase or damaged."""

    code = Code.FAILED_PRECONDITION
    reason = "BAD_SECRETS"


class ExpiredError(VerituneError):
    """A deadline of the contract has passed."""

    code = Code.FAILED_PRECONDITION
    reason = "EXPIRED"


class PolicyError(VerituneError):
    """A well-formed contract that the provider will not sign."""

    code = Code.FAILED_PRECONDITION
    reason = "POLICY_REFUSED"


class UnknownModelError(VerituneError):
    """A base model that the provider does not have, or has with another digest."""

    code = Code.NOT_FOUND
    reason = "UNKNOWN_MODEL"


class NotFoundError(VerituneError):
    """No such contract, job or artifact."""

    code = Code.NOT_FOUND
    reason = "NOT_FOUND"


class ConflictError(VerituneError):
    """The same thing again with other content, or a second job for one contract."""

    code = Code.ALREADY_EXISTS
    reason = "CONFLICT"


class OutOfOrderError(VerituneError):
    """A step of the protocol before the one it rests on: training without a data set, and so on."""

    code = Code.FAILED_PRECONDITION
    reason = "OUT_OF_ORDER"


class OffsetError(VerituneError):
    """An upload or download that does not begin where it must."""

    code = Code.OUT_OF_RANGE
    reason = "BAD_OFFSET"


class TruncatedError(VerituneError):
    """An upload or download that ended before its size."""

    code = Code.ABORTED
    reason = "TRUNCATED"


class DigestError(VerituneError):
    """Content whose digest, size or Merkle root is not the one that was signed."""

    code = Code.INVALID_ARGUMENT
    reason = "DIGEST_MISMATCH"


class DatasetError(VerituneError):
    """A data set with a row that is no row."""

    code = Code.INVALID_ARGUMENT
    reason = "BAD_DATASET"


class PlanError(VerituneError):
    """Parameters that can't be reached, with what would be needed."""

    code = Code.FAILED_PRECONDITION
    reason = "UNREACHABLE_PLAN"


class AuditError(VerituneError):
    """A report or its evidence fails a numbered check of SPEC section 8.

    The cause is always the client: it wrote the report, and had every document of the provider's to check before that.
    """

    code = Code.FAILED_PRECONDITION
    reason = "AUDIT_FAILED"

    def __init__(self, check: int, message: str) -> None:
        super().__init__(f"check ({check}): {message}", check=str(check), party="client")
        self.check = check


class TrainingError(VerituneError):
    """A training job that failed or was cancelled."""

    code = Code.ABORTED
    reason = "TRAINING_ENDED"


class UnavailableError(VerituneError):
    """The peer can't be reached or is shutting down; try again."""

    code = Code.UNAVAILABLE
    reason = "UNAVAILABLE"


class DeadlineError(VerituneError):
    """A call took longer than its deadline."""

    code = Code.DEADLINE_EXCEEDED
    reason = "DEADLINE_EXCEEDED"


class UnimplementedError(VerituneError):
    """A call that this peer does not know."""

    code = Code.UNIMPLEMENTED
    reason = "UNIMPLEMENTED"


class InternalError(VerituneError):
    """A fault of the peer; its log says more."""


def error_classes() -> dict[str, type[VerituneError]]:
    """Every error by its reason: the table of SPEC section 9."""
    return {cls.reason: cls for cls in VerituneError.__subclasses__()}
