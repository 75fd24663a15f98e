"""The client's end of the wire: a pinned TLS channel, a deadline on every call, coded errors, patient retries.

Whatever the provider sends is hostile until it has been checked: sizes by gRPC's own message limit, error texts
here, documents by their signature in `veritune.client.exchange.provider_client`.
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
"""Seconds for a call that only looks something up."""
PATIENCE = 120.0
"""Seconds for which an unreachable provider is tried again."""
_OPTIONS = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 0),
    # Retries are made here, where it is known what may be repeated.
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
    """Stubs of both services over one TLS connection, and the access token of one contract."""

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
        """Opens lazily. ``tls_ca`` holds PEM certificates to trust instead of the system's."""
        roots = None if tls_ca is None else _read_pem(tls_ca)
        self._channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(roots), options=_OPTIONS)
        self.provider = provider_service_pb2_grpc.ProviderServiceStub(self._channel)  # type: ignore[no-untyped-call]  # generated code
        self.inference = inference_service_pb2_grpc.InferenceServiceStub(self._channel)  # type: ignore[no-untyped-call]  # generated code
        self._key, self._audience = key, provider.key_id
        self._now, self._sleep, self._patience = now, sleep, PATIENCE if patience is None else patience
        self._token: tuple[str, str, datetime] | None = None

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()

    def __enter__(self) -> Channel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def now(self) -> datetime:
        """The clock that tokens and deadlines are read by."""
        return self._now()

    def metadata(self, manifest_digest: str) -> Metadata:
        """The call metadata for a contract; the token is made anew well before it expires."""
        now = self._now()
        if self._token is None or self._token[0] != manifest_digest or now - self._token[2] > LIFETIME / 2:
            self._token = (manifest_digest, issue_token(self._key, self._audience, manifest_digest, now), now)
        return ((METADATA_KEY, self._token[1]),)

    def call(self, ask: Callable[[], T]) -> T:
        """Runs one call that may be repeated; waits out a provider that is busy or restarting.

        Raises the `VerituneError` that the provider's status stands for.
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
        """Growing pauses with jitter, in seconds; None once patience has run out."""
        spent, pause = 0.0, 0.25
        while spent < self._patience:
            wait = pause * (0.5 + random.random())  # noqa: S311 - spreads retries, hides nothing
            spent += wait
            yield wait
            pause = min(pause * 2, 10.0)
        yield None

    def sleep(self, seconds: float) -> None:
        """Waits as this channel was told to wait."""
        self._sleep(seconds)

    def seconds_until(self, deadline: datetime) -> float:
        """Time left for a long call, at least one second so that the provider gets to say that it is late."""
        return max(1.0, (deadline - self._now()) / timedelta(seconds=1))


def to_error(error: grpc.RpcError) -> VerituneError:
    """The coded error behind a failed call; texts from the peer are cut and cleaned.

    It is the peer's, whatever it says: a reason that is none of SPEC section 9 to send becomes an `InternalError`.
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
        message = f"can't reach the provider: {message}"
    return _BY_CODE.get(code, InternalError)(message)


def clean(text: str, limit: int = 500) -> str:
    """A peer's text, fit for a terminal: printable, one line, not long."""
    return "".join(char if char.isprintable() else " " for char in text[:limit])


def _error_info(error: grpc.Call) -> error_details_pb2.ErrorInfo | None:
    try:
        status = rpc_status.from_call(error)
    except ValueError:
        # The status in the trailer contradicts the call's own: trust neither.
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
