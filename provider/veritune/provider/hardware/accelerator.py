"""Leases on the processor or GPU: for training jobs, or for any number of answers together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from veritune.common.errors import UnavailableError

Sharing = Literal["wait", "refuse", "share"]
"""What an inference call does while a job trains or is about to: wait, be refused, or run beside it."""


class Accelerator:
    """Gives out the machine's compute to training jobs and to answers, by the rule ``sharing``.

    Training and serving that both use every thread slow each other down many times over.
    """

    def __init__(self, sharing: Sharing) -> None:
        self._sharing = sharing
        self._training = 0
        self._answering = 0
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def training(self) -> AsyncIterator[None]:
        """A context in which a job may train, entered when all answers under way have ended.

        Under ``share`` it is entered at once; otherwise no new answer begins before the context ends.
        """
        self._training += 1
        try:
            if self._sharing != "share":
                async with self._changed:
                    await self._changed.wait_for(lambda: self._answering == 0)
            yield
        finally:
            self._training -= 1
            await self._notify()

    @asynccontextmanager
    async def answering(self) -> AsyncIterator[None]:
        """A context in which an answer may be computed; under ``wait`` it is entered when no job trains.

        Raises `UnavailableError` under ``refuse`` while a job trains or waits to.
        """
        if self._sharing == "refuse" and self._training:
            raise UnavailableError("a training job is running; ask again later", cause="training")
        if self._sharing == "wait":
            async with self._changed:
                await self._changed.wait_for(lambda: self._training == 0)
                self._answering += 1
        else:
            self._answering += 1
        try:
            yield
        finally:
            self._answering -= 1
            await self._notify()

    async def _notify(self) -> None:
        # The lock is only ever held for an instant: the notice must go out even while a cancel is under way.
        async def notify() -> None:
            async with self._changed:
                self._changed.notify_all()

        await asyncio.shield(asyncio.ensure_future(notify()))
