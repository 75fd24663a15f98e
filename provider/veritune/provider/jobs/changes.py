"""Lets tasks wait until some training job changes or the daemon is about to stop."""

from __future__ import annotations

import asyncio


class Changes:
    """A signal, for any number of waiting tasks, that some training job has changed; after `close` no task waits."""

    def __init__(self) -> None:
        self.version = 0
        """Number of announcements so far; read it before the job's state, so that `after` misses no change."""
        self.closed = False
        """True once the daemon is about to stop."""
        self._condition = asyncio.Condition()

    async def announce(self) -> None:
        """Wakes all waiting tasks because some job has changed."""
        async with self._condition:
            self.version += 1
            self._condition.notify_all()

    async def close(self) -> None:
        """Wakes all waiting tasks for good because the daemon is about to stop."""
        self.closed = True
        await self.announce()

    async def after(self, version: int) -> None:
        """Returns after an announcement later than number ``version``, or once the daemon is about to stop."""
        async with self._condition:
            await self._condition.wait_for(lambda: self.closed or self.version != version)
