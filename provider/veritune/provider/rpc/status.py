"""Turns errors into gRPC statuses: a canonical code and one google.rpc.ErrorInfo (SPEC section 9).

`unary` and `stream` wrap the handlers of a service. An exception that is no `VerituneError`, or is the provider's own
fault (`OwnError`), becomes INTERNAL with a generic message.
"""

from __future__ import annotations

import functools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn, TypeVar

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from veritune.common.errors import InternalError, OwnError, VerituneError
from veritune.provider.rpc.access import Context
from veritune.provider.telemetry.logs import describe, get_logger

DOMAIN = "veritune"
"""The domain of every ErrorInfo."""
S = TypeVar("S")
Q = TypeVar("Q")
A = TypeVar("A")

_log = get_logger("rpc")


def to_status(error: VerituneError) -> Any:
    """The google.rpc.Status of an error: its code, message, reason and metadata."""
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)
    detail = any_pb2.Any()
    detail.Pack(info)
    return status_pb2.Status(code=error.code.value, message=error.message, details=[detail])


def unary(
    handler: Callable[[S, Q, Context], Awaitable[A]],
) -> Callable[[S, Q, Context], Awaitable[A]]:
    """The handler of a call with one response, its errors turned into gRPC statuses."""

    @functools.wraps(handler)
    async def wrapped(self: S, request: Q, context: Context) -> A:
        started = time.monotonic()
        try:
            answer = await handler(self, request, context)
        except Exception as error:  # noqa: BLE001 - the boundary of the process
            await _abort(handler.__name__, error, context)
        _done(handler.__name__, started)
        return answer

    return wrapped


def stream(
    handler: Callable[[S, Q, Context], AsyncIterator[A]],
) -> Callable[[S, Q, Context], AsyncIterator[A]]:
    """The handler of a call with a stream of responses (an async generator), its errors turned into gRPC statuses."""

    @functools.wraps(handler)
    async def wrapped(self: S, request: Q, context: Context) -> AsyncIterator[A]:
        started = time.monotonic()
        answers = handler(self, request, context)
        try:
            async for answer in answers:
                yield answer
        except Exception as error:  # noqa: BLE001 - the boundary of the process
            await _abort(handler.__name__, error, context)
        finally:
            # An async generator that was left half-way must be closed now, not when it is collected.
            await answers.aclose()  # type: ignore[attr-defined]  # handlers are async generators
        _done(handler.__name__, started)

    return wrapped


async def _abort(method: str, error: Exception, context: Context) -> NoReturn:
    if isinstance(error, grpc.aio.AbortError):
        raise error
    if isinstance(error, VerituneError) and not isinstance(error, OwnError):
        # No message: it may name a field that the client made up.
        _log.info("refused", method=method, reason=error.reason, point=error.metadata.get("point"))
        public = error
    else:
        _log.error("fault", method=method, error=describe(error))
        public = InternalError("a fault of the provider; its log says more")
    status = rpc_status.to_status(to_status(public))
    await context.abort(status.code, status.details, status.trailing_metadata)


def _done(method: str, started: float) -> None:
    _log.info("done", method=method, ms=round((time.monotonic() - started) * 1000))
