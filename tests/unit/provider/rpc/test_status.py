"""Errors on the wire: every one has its code and reason, foreign ones say nothing, cancelling passes through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NoReturn

import grpc
import pytest
import structlog
from google.rpc import error_details_pb2, status_pb2

from veritune.common.errors import AuditError, KeyFileError, VerituneError, sent_errors
from veritune.provider.rpc.status import stream, to_status, unary


class Aborted(grpc.aio.AbortError):
    pass


class FakeContext:
    """Keeps what a handler aborts with, as grpc's own context would send it."""

    def __init__(self) -> None:
        self.sent: tuple[Any, str, Any] | None = None

    async def abort(self, code: Any, details: str = "", trailing_metadata: Any = ()) -> NoReturn:
        self.sent = (code, details, trailing_metadata)
        raise Aborted


class Handlers:
    def __init__(self, error: BaseException | None) -> None:
        self.error = error
        self.closed = False

    @unary
    async def one(self, request: str, context: Any) -> str:
        if self.error:
            raise self.error
        return request.upper()

    @stream
    async def many(self, request: str, context: Any) -> AsyncIterator[str]:
        try:
            yield request
            if self.error:
                raise self.error
            yield request
        finally:
            self.closed = True


def info(context: FakeContext) -> tuple[Any, str, error_details_pb2.ErrorInfo]:
    assert context.sent is not None
    code, details, metadata = context.sent
    status = status_pb2.Status.FromString(dict(metadata)["grpc-status-details-bin"])
    detail = error_details_pb2.ErrorInfo()
    assert status.message == details
    assert status.details[0].Unpack(detail)
    return code, details, detail


@pytest.mark.parametrize("kind", [cls for cls in sent_errors().values() if cls is not AuditError])
async def test_every_error_has_its_code_and_reason(kind: type[VerituneError]) -> None:
    context: Any = FakeContext()
    with pytest.raises(Aborted):
        await Handlers(kind("why", point="here")).one("x", context)
    code, details, detail = info(context)
    assert code.value[0] == kind.code.value
    assert details == "why"
    assert (detail.domain, detail.reason, dict(detail.metadata)) == ("veritune", kind.reason, {"point": "here"})


async def test_what_is_the_providers_own_is_not_told() -> None:
    context: Any = FakeContext()
    with pytest.raises(Aborted):
        await Handlers(KeyFileError("provider.key is open to others")).one("x", context)
    code, details, detail = info(context)
    assert (code, detail.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "provider.key" not in details


async def test_a_foreign_exception_says_nothing_to_peer_or_log() -> None:
    context: Any = FakeContext()
    with structlog.testing.capture_logs() as logs, pytest.raises(Aborted):
        await Handlers(ValueError("secret row")).one("x", context)
    code, details, detail = info(context)
    assert code is grpc.StatusCode.INTERNAL
    assert detail.reason == "INTERNAL"
    assert "secret" not in details + repr(logs)
    assert "ValueError at" in repr(logs)


async def test_a_stream_ends_with_its_error_and_is_closed() -> None:
    context: Any = FakeContext()
    handlers = Handlers(RuntimeError("secret"))
    with pytest.raises(Aborted):
        [item async for item in handlers.many("x", context)]
    assert info(context)[2].reason == "INTERNAL"
    assert handlers.closed


async def test_a_stream_left_half_way_is_closed_at_once() -> None:
    handlers = Handlers(None)
    context: Any = FakeContext()
    answers: Any = handlers.many("x", context)
    assert await anext(answers) == "x"
    await answers.aclose()
    assert handlers.closed


async def test_cancelling_passes_through() -> None:
    context: Any = FakeContext()
    with pytest.raises(asyncio.CancelledError):
        await Handlers(asyncio.CancelledError()).one("x", context)
    assert context.sent is None


async def test_an_answer_passes_through() -> None:
    context: Any = FakeContext()
    assert await Handlers(None).one("x", context) == "X"


def test_status_carries_one_error_info() -> None:
    assert len(to_status(VerituneError("why")).details) == 1
