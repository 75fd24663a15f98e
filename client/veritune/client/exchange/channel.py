"""The client's gRPC channel to a provider: TLS, access tokens, a deadline on every call, retries, coded errors.

Nothing that the provider sends is trusted before it is checked: gRPC limits the size of messages, this module cleans
error texts, and `veritune.client.exchange.provider_client` verifies the signatures of documents.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from veritune.common.errors import (
    AuditError,
    DeadlineError,
    InternalError,
    KeyFileError,
    NotFoundError,
    TooLargeError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
    VerituneError,
    sent_errors,
)
from veritune.common.files import read_limited
from veritune.common.keys import PrivateKey, PublicKey
from veritune.common.limits import LIMITS
from veritune.common.token import LIFETIME, METADATA_KEY, issue_token
from veritune.v1 import inference_service_pb2_grpc, provider_service_pb2_grpc

Metadata = tuple[tuple[str, str], ...]
T = TypeVar("T")

CALL_TIMEOUT = 60.0
"""Seconds that a short call may take, one that transfers no data set, adapter or answer."""
PATIENCE = 120.0
"""Seconds during which calls to an unreachable provider are repeated."""
_OPTIONS = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 0),
    # `Channel.call` repeats calls, since gRPC can't know which may be repeated.
    ("grpc.enable_retries", 0),
)
_BY_CODE: dict[grpc.StatusCode, type[VerituneError]] = {
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineError,
    grpc.StatusCode.UNIMPLEMENTED: UnimplementedError,
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: TooLargeError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
}


class Channel:
    """The stubs of both gRPC services over one TLS connection, and the access token of one contract."""

    def __init__(
        self,
        address: str,
        key: PrivateKey,
        provider: PublicKey,
        tls_ca: Path | None = None,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
        patience: float | None = None,
    ) -> None:
        """Makes a channel to ``address`` (host:port), which connects at the first call.

        ``key`` signs access tokens for ``provider``. ``tls_ca`` is a file of PEM certificates to trust instead of the
        system's. ``patience`` replaces `PATIENCE`, in seconds. Raises `KeyFileError` for unusable certificates.
        """
        roots = None if tls_ca is None else _read_pem(tls_ca)
        self._channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(roots), options=_OPTIONS)
        self.provider = provider_service_pb2_grpc.ProviderServiceStub(self._channel)  # type: ignore[no-untyped-call]  # generated code
        self.inference = inference_service_pb2_grpc.InferenceServiceStub(self._channel)  # type: ignore[no-untyped-call]  # generated code
        self._key, self._audience = key, provider.key_id
        self._now, self._sleep, self._patience = now, sleep, PATIENCE if patience is None else patience
        self._token: tuple[str, str, datetime] | None = None

    def close(self) -> None:
        """Closes the connection; the channel can't be used afterwards."""
        self._channel.close()

    def __enter__(self) -> Channel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def now(self) -> datetime:
        """The time now, by the clock that is used for tokens and deadlines."""
        return self._now()

    def metadata(self, manifest_digest: str) -> Metadata:
        """The gRPC metadata of a call about one contract: an access token, renewed after half of its lifetime."""
        now = self._now()
        if self._token is None or self._token[0] != manifest_digest or now - self._token[2] > LIFETIME / 2:
            self._token = (manifest_digest, issue_token(self._key, self._audience, manifest_digest, now), now)
        return ((METADATA_KEY, self._token[1]),)

    def call(self, ask: Callable[[], T]) -> T:
        """The response of an idempotent call, repeated with pauses while the provider is unavailable.

        Raises the error that the provider's status names (`to_error`); `UnavailableError` once patience has run out.
        """
        for pause in self.pauses():
            try:
                return ask()
            except grpc.RpcError as error:
                failure = to_error(error)
                if not isinstance(failure, UnavailableError) or pause is None:
                    raise failure from error
                self._sleep(pause)
        raise AssertionError("the last pause is None")

    def pauses(self) -> Iterator[float | None]:
        """Yields growing pauses with jitter, in seconds, and None once their sum exceeds the channel's patience."""
        spent, pause = 0.0, 0.25
        while spent < self._patience:
            wait = pause * (0.5 + random.random())  # noqa: S311 - spreads retries, hides nothing
            spent += wait
            yield wait
            pause = min(pause * 2, 10.0)
        yield None

    def sleep(self, seconds: float) -> None:
        """Waits, by the function that the channel was made with."""
        self._sleep(seconds)

    def seconds_until(self, deadline: datetime) -> float:
        """Seconds until ``deadline``, but at least one, so that the provider can answer that it is too late."""
        return max(1.0, (deadline - self._now()) / timedelta(seconds=1))


def to_error(error: grpc.RpcError) -> VerituneError:
    """The coded error of a failed call, by the reason that the peer sent or else by its gRPC status.

    The peer's texts are cut and cleaned. A reason that SPEC section 9 doesn't let it send becomes an `InternalError`.
    """
    if not isinstance(error, grpc.Call):
        return InternalError("the call failed without a status")
    code = error.code()
    message = clean(error.details() or code.name.lower())
    info = _error_info(error)
    if info is not None:
        kind = sent_errors().get(info.reason, InternalError)
        metadata = {
            key: clean(value, 200)
            for key, value in list(info.metadata.items())[:16]
            if re.fullmatch(r"[a-z][a-z0-9_]{0,31}", key) and key not in {"self", "message"}
        }
        if kind is AuditError:  # a provider audits nothing
            kind = InternalError
        answer = kind(message, **metadata)
        answer.told = True
        return answer
    if code is grpc.StatusCode.UNAVAILABLE:
        return UnavailableError(f"can't reach the provider: {message}", cause="unreachable")
    return _BY_CODE.get(code, InternalError)(message)


def clean(text: str, limit: int = 500) -> str:
    """A peer's text made safe for a terminal: one line of printable characters, at most ``limit``."""
    return "".join(char if char.isprintable() else " " for char in text[:limit])


def _error_info(error: grpc.Call) -> error_details_pb2.ErrorInfo | None:
    try:
        status = rpc_status.from_call(error)
    except ValueError:
        # The status in the trailer contradicts the call's own, so neither is trusted.
        return None
    for detail in status.details if status is not None else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Is(info.DESCRIPTOR) and _unpacks(detail, info) and info.domain == "veritune":
            return info
    return None


def _unpacks(detail: object, info: error_details_pb2.ErrorInfo) -> bool:
    from google.protobuf.message import DecodeError

    try:
        return bool(detail.Unpack(info))  # type: ignore[attr-defined]  # Any, untyped in googleapis-common-protos
    except DecodeError:
        return False


def _read_pem(path: Path) -> bytes:
    try:
        data = read_limited(path, LIMITS.key_file * 64)
    except OSError as error:
        raise KeyFileError(f"can't read the certificates in {path.name}: {error.strerror}") from error
    if b"BEGIN CERTIFICATE" not in data:
        raise KeyFileError(f"{path.name} holds no PEM certificate")
    return data
