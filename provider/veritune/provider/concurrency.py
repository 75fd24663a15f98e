"""Runs blocking functions in threads, so that the event loop isn't blocked, and waits for each to end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of ``work(*args, **kwargs)``, which runs in a thread; an exception of ``work`` is raised here.

    If the caller is cancelled, the cancellation is raised only when the thread has ended. A thread can't be stopped:
    without the wait, a cancelled upload could still write while its successor does.
    """
    task = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError:
                continue
        if not task.cancelled():
            task.exception()  # seen, so that asyncio does not print it
        raise
