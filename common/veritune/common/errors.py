"""Every error that crosses a boundary, in one tree that says whose fault it is (SPEC section 9).

::

    VerituneError
    ├── PeerError                    the other party: its bytes break the protocol, it refuses, or it can't be reached
    │   ├── MalformedDocumentError     MALFORMED_DOCUMENT
    │   ├── MalformedRequestError      MALFORMED_REQUEST
    │   ├── TooLargeError              TOO_LARGE
    │   ├── QuotaError                 QUOTA_EXCEEDED
    │   ├── SignatureError             BAD_SIGNATURE
    │   ├── UnauthenticatedError       UNAUTHENTICATED
    │   ├── ExpiredError               EXPIRED
    │   ├── PolicyError                POLICY_REFUSED
    │   ├── UnknownModelError          UNKNOWN_MODEL
    │   ├── NotFoundError              NOT_FOUND
    │   ├── ConflictError              CONFLICT
    │   ├── OutOfOrderError            OUT_OF_ORDER
    │   ├── OffsetError                BAD_OFFSET
    │   ├── TruncatedError             TRUNCATED
    │   ├── DigestError                DIGEST_MISMATCH
    │   ├── DatasetError               BAD_DATASET
    │   ├── TrainingError              TRAINING_ENDED
    │   ├── UnavailableError           UNAVAILABLE
    │   ├── DeadlineError              DEADLINE_EXCEEDED
    │   └── UnimplementedError         UNIMPLEMENTED
    ├── OwnError                     this side: its files, keys, settings, or the order of its steps; never sent
    │   ├── UsageError                 USAGE
    │   ├── StepError                  STEP_MISSING
    │   ├── LateError                  TOO_LATE
    │   ├── BusyError                  IN_USE
    │   ├── ChangedError               CHANGED_JOB
    │   ├── MissingFileError           FILE_MISSING
    │   ├── BadFileError               BAD_FILE
    │   ├── WrongFileError             WRONG_FILE
    │   ├── RowsError                  BAD_ROWS
    │   ├── ModelFolderError           BAD_MODEL_FOLDER
    │   ├── KeyFileError               BAD_KEY_FILE
    │   ├── SecretsError               BAD_SECRETS
    │   ├── PlanError                  UNREACHABLE_PLAN
    │   ├── EndpointError              ENDPOINT_FAILED
    │   ├── JobError                   BAD_JOB               veritune.client.errors
    │   ├── MissingExtraError          MISSING_EXTRA         veritune.client.errors
    │   ├── ConfigError                BAD_CONFIG            veritune.provider.daemon.config
    │   ├── StoreError                 BAD_DATABASE          veritune.provider.storage.store
    │   ├── EngineUnavailableError     MISSING_ENGINE        veritune.provider.engines.factory
    │   └── InvalidAdapterError        BAD_ADAPTER           veritune.provider.engines.base
    ├── AuditError                   AUDIT_FAILED            the client that wrote the report
    └── InternalError                INTERNAL                the program of whoever reports it

Code that reads bytes can't know whose they are: it raises the `PeerError`, and a caller that reads a file of its own
wraps the call in `veritune.common.files.own_file`. Exit codes and what to do about each reason stand in
`veritune.common.exits`.

Our own misuse of an API is a ``RuntimeError`` or ``ValueError``, outside this tree. Messages are public: they never
hold a secret, and those of errors that are sent hold no path and no foreign exception's text that was not checked.
"""

from __future__ import annotations

from enum import Enum
from typing import ClassVar, Literal

Fault = Literal["peer", "own", "client", "internal"]


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

    ``reason`` is the stable, machine-readable code, which belongs to one class; ``fault`` says whose fault it is;
    ``metadata`` is small public detail, text to text: a ``cause`` where several share the reason, and the ``line``,
    ``field``, ``setting``, ``step``, ``point``, ``what`` or ``file`` (its name) that it is about.
    """

    code: ClassVar[Code] = Code.INTERNAL
    """What a call that ends with this error is answered with."""
    reason: ClassVar[str] = "INTERNAL"
    fault: ClassVar[Fault] = "internal"
    told: bool = False
    """Whether the other party said so in answer to a call; otherwise this side found it out."""

    def __init__(self, message: str, **metadata: str) -> None:
        super().__init__(message)
        self.message = message
        self.metadata = metadata

    def __str__(self) -> str:
        return f"[{self.reason}] {self.message}"


class PeerError(VerituneError):
    """The other party's bytes break the protocol, or the other party refuses or can't be reached.

    These alone, and `InternalError`, go over the wire. Whoever sends one speaks of the receiver's bytes or of its own
    refusal; whoever receives one learns it from the peer.
    """

    fault = "peer"


class OwnError(VerituneError):
    """This side's files, keys, settings or order of steps, or a service it chose for itself.

    The other party has nothing to do with it and is told `INTERNAL`, if anything.
    """

    fault = "own"


class MalformedDocumentError(PeerError):
    """Bytes that are no document: not canonical JSON, a duplicate key, an unknown field, a value out of range."""

    code = Code.INVALID_ARGUMENT
    reason = "MALFORMED_DOCUMENT"


class MalformedRequestError(PeerError):
    """A request or an answer whose fields are missing, of the wrong form or out of order."""

    code = Code.INVALID_ARGUMENT
    reason = "MALFORMED_REQUEST"


class TooLargeError(PeerError):
    """Input over a limit of `veritune.common.limits`."""

    code = Code.RESOURCE_EXHAUSTED
    reason = "TOO_LARGE"


class QuotaError(PeerError):
    """More of something than the provider's policy gives: queued jobs, open contracts, calls."""

    code = Code.RESOURCE_EXHAUSTED
    reason = "QUOTA_EXCEEDED"


class SignatureError(PeerError):
    """A missing signature, one by another key, or one that does not verify."""

    code = Code.PERMISSION_DENIED
    reason = "BAD_SIGNATURE"


class UnauthenticatedError(PeerError):
    """No access token, or one that is expired, for another provider or not by the contract's client."""

    code = Code.UNAUTHENTICATED
    reason = "UNAUTHENTICATED"


class ExpiredError(PeerError):
    """A request, or a signed document, that comes after a deadline of the contract."""

    code = Code.FAILED_PRECONDITION
    reason = "EXPIRED"


class PolicyError(PeerError):
    """A well-formed contract that the provider will not sign."""

    code = Code.FAILED_PRECONDITION
    reason = "POLICY_REFUSED"


class UnknownModelError(PeerError):
    """A base model that the provider does not have, or has with another digest."""

    code = Code.NOT_FOUND
    reason = "UNKNOWN_MODEL"


class NotFoundError(PeerError):
    """No such contract, job or artifact."""

    code = Code.NOT_FOUND
    reason = "NOT_FOUND"


class ConflictError(PeerError):
    """The same thing again with other content, or a second job for one contract."""

    code = Code.ALREADY_EXISTS
    reason = "CONFLICT"


class OutOfOrderError(PeerError):
    """A step of the protocol before the one it rests on: training without a data set, and so on."""

    code = Code.FAILED_PRECONDITION
    reason = "OUT_OF_ORDER"


class OffsetError(PeerError):
    """An upload or download that does not begin where it must."""

    code = Code.OUT_OF_RANGE
    reason = "BAD_OFFSET"


class TruncatedError(PeerError):
    """An upload, a download or an answer that ended before its size."""

    code = Code.ABORTED
    reason = "TRUNCATED"


class DigestError(PeerError):
    """Content whose digest, size or Merkle root is not the one that was signed."""

    code = Code.INVALID_ARGUMENT
    reason = "DIGEST_MISMATCH"


class DatasetError(PeerError):
    """A data set with a row that is no row."""

    code = Code.INVALID_ARGUMENT
    reason = "BAD_DATASET"


class TrainingError(PeerError):
    """A training job that failed or was cancelled."""

    code = Code.ABORTED
    reason = "TRAINING_ENDED"


class UnavailableError(PeerError):
    """The peer can't be reached, is busy or is shutting down; try again."""

    code = Code.UNAVAILABLE
    reason = "UNAVAILABLE"


class DeadlineError(PeerError):
    """A call took longer than its deadline."""

    code = Code.DEADLINE_EXCEEDED
    reason = "DEADLINE_EXCEEDED"


class UnimplementedError(PeerError):
    """A call that this peer does not know."""

    code = Code.UNIMPLEMENTED
    reason = "UNIMPLEMENTED"


class UsageError(OwnError):
    """A command or call with an argument that means nothing here."""

    reason = "USAGE"


class StepError(OwnError):
    """A step of a run before the one that makes what it needs."""

    reason = "STEP_MISSING"


class LateError(OwnError):
    """A step of a run after the contract's deadline for it."""

    reason = "TOO_LATE"


class BusyError(OwnError):
    """Another process is at work in this folder."""

    reason = "IN_USE"


class ChangedError(OwnError):
    """Data, model or terms that were changed after something was made or signed from them."""

    reason = "CHANGED_JOB"


class MissingFileError(OwnError):
    """A file that was named and can't be read."""

    reason = "FILE_MISSING"


class BadFileError(OwnError):
    """A file of ours that is not what it should be: damaged, of another version, or over a limit."""

    reason = "BAD_FILE"


class WrongFileError(OwnError):
    """A whole file that is not the one that was signed or that belongs to the others."""

    reason = "WRONG_FILE"


class RowsError(OwnError):
    """A file of the user's own rows with a line that is no row, or rows that can't be used."""

    reason = "BAD_ROWS"


class ModelFolderError(OwnError):
    """A model folder that can't be loaded or lacks what is needed, such as a chat template."""

    reason = "BAD_MODEL_FOLDER"


class KeyFileError(OwnError):
    """A key file that can't be read or written: wrong passphrase, wrong kind of key, open to others, in the way."""

    reason = "BAD_KEY_FILE"


class SecretsError(OwnError):
    """A sealed file that can't be opened or written: wrong passphrase, damaged, in the way."""

    reason = "BAD_SECRETS"


class PlanError(OwnError):
    """Settings that can't be reached, with what would be needed."""

    reason = "UNREACHABLE_PLAN"


class EndpointError(OwnError):
    """A model's endpoint, chosen by this side for its canaries, that can't be reached or answers in no known form."""

    reason = "ENDPOINT_FAILED"


class AuditError(VerituneError):
    """A report or its evidence fails a numbered check of SPEC section 8.

    The cause is always the client: it wrote the report, and had every document of the provider's to check before that.
    """

    code = Code.FAILED_PRECONDITION
    reason = "AUDIT_FAILED"
    fault = "client"

    def __init__(self, check: int, message: str) -> None:
        super().__init__(f"check ({check}): {message}", check=str(check), party="client")
        self.check = check


class InternalError(VerituneError):
    """A fault in the program of whoever reports it; its log says more."""


def sent_errors() -> dict[str, type[VerituneError]]:
    """The classes that may come over the wire, by reason: the first table of SPEC section 9."""
    kinds: list[type[VerituneError]] = [*PeerError.__subclasses__(), AuditError, InternalError]
    return {cls.reason: cls for cls in kinds}


def error_classes() -> dict[str, type[VerituneError]]:
    """Every class of the tree that has been imported, by reason."""
    return {**sent_errors(), **{cls.reason: cls for cls in OwnError.__subclasses__()}}
