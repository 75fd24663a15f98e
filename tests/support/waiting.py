"""To wait for what must happen, rather than for a time in which it mostly has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import pytest

T = TypeVar("T")


async def turns(count: int = 50) -> None:
    """Turns of the event loop: then tasks that wait for no thread, peer or clock have come to where they wait."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(happened: Callable[[], bool], seconds: float = 60) -> None:
    """Waits until something outside of this event loop, such as another process, has ``happened``."""
    for _ in range(round(seconds * 100)):
        if happened():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it never happened")


async def noted(stream: AsyncIterator[T], begun: asyncio.Event) -> AsyncIterator[T]:
    """The same stream; the event is set with its first item."""
    async for item in stream:
        begun.set()
        yield item


async def endless(asked: asyncio.Event | None = None) -> AsyncIterator[bytes]:
    """A stream that never brings anything; the event is set when it is first asked to."""
    if asked is not None:
        asked.set()
    await asyncio.Event().wait()
    yield b""
