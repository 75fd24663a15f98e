"""News that some job has changed, or that the daemon is about to stop."""

from __future__ import annotations

import asyncio


class Changes:
    """Wakes everybody who waits for a change of any job; after `close`, nobody waits any more."""

    def __init__(self) -> None:
        self.version = 0
        """Counts the announcements; read it before the state that `after` then waits for a change of."""
        self.closed = False
        self._condition = asyncio.Condition()

    async def announce(self) -> None:
        """Says that some job has changed."""
        async with self._condition:
            self.version += 1
            self._condition.notify_all()

    async def close(self) -> None:
        """Says that the daemon is about to stop."""
        self.closed = True
        await self.announce()

    async def after(self, version: int) -> None:
        """Returns once there was an announcement after that ``version``, or the daemon is about to stop."""
        async with self._condition:
            await self._condition.wait_for(lambda: self.closed or self.version != version)
