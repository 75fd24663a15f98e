"""Keeps inference engines in memory: one for each base model that was used, with the adapters used last."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from veritune.common.errors import UnavailableError
from veritune.provider.engines.base import AdapterSlotsFullError, InferenceEngine
from veritune.provider.telemetry.logs import get_logger

EngineFactory = Callable[[Path], InferenceEngine]
"""Makes an engine, not started yet, for a base model's folder."""

_log = get_logger("serving")


@dataclass(frozen=True)
class Adapter:
    """An adapter that can be served: its id in the engine, and a function that finds its folder.

    ``folder`` is called only when the adapter is loaded; `Serving.engine` raises its errors.
    """

    id: str
    folder: Callable[[], Awaitable[Path]]


class Serving:
    """The running engines of this provider, each with at most ``max_adapters`` adapters.

    Models and adapters are loaded when they are first used. A full engine unloads the adapter that was used longest
    ago, but never one that is answering.
    """

    def __init__(self, factory: EngineFactory, max_adapters: int) -> None:
        self._factory = factory
        self._max_adapters = max_adapters
        self._slots: dict[Path, _Slot] = {}
        self._starting = asyncio.Lock()

    @asynccontextmanager
    async def engine(self, base_model: Path, adapter: Adapter | None) -> AsyncIterator[InferenceEngine]:
        """A context with the engine of a base model, in which ``adapter`` stays loaded; None: no adapter.

        Raises `UnavailableError` if every adapter slot is in use, `InvalidAdapterError` for an adapter that can't be
        served, and what ``adapter.folder`` raises.
        """
        slot = await self._slot(base_model)
        if adapter is None:
            yield slot.engine
            return
        await slot.acquire(adapter, self._max_adapters)
        try:
            yield slot.engine
        finally:
            slot.release(adapter.id)

    async def preload(self, base_model: Path) -> None:
        """Starts the engine of a base model now, if it is not running."""
        await self._slot(base_model)

    async def free(self) -> None:
        """Stops every engine; the next call starts one again. Must not be called while an engine answers."""
        async with self._starting:
            while self._slots:
                _, slot = self._slots.popitem()
                await slot.engine.stop()

    async def _slot(self, base_model: Path) -> _Slot:
        async with self._starting:
            slot = self._slots.get(base_model)
            if slot is None:
                _log.info("loading", model=base_model.name)
                engine = self._factory(base_model)
                await engine.start()
                slot = self._slots[base_model] = _Slot(engine)
                _log.info("loaded", model=base_model.name)
            return slot


class _Slot:
    """A running engine, its loaded adapters, and how many calls use each of them."""

    def __init__(self, engine: InferenceEngine) -> None:
        self.engine = engine
        self._users: OrderedDict[str, int] = OrderedDict()  # loaded adapters, the one used last at the end
        self._changing = asyncio.Lock()

    async def acquire(self, adapter: Adapter, limit: int) -> None:
        async with self._changing:
            if adapter.id not in self._users:
                folder = await adapter.folder()
                if len(self._users) >= limit:
                    await self._drop_one()
                try:
                    await self.engine.load_adapter(adapter.id, folder)
                except AdapterSlotsFullError:
                    await self._drop_one()
                    await self.engine.load_adapter(adapter.id, folder)
                self._users[adapter.id] = 0
            self._users[adapter.id] += 1
            self._users.move_to_end(adapter.id)

    def release(self, adapter: str) -> None:
        self._users[adapter] -= 1

    async def _drop_one(self) -> None:
        idle = next((name for name, users in self._users.items() if users == 0), None)
        if idle is None:
            raise UnavailableError("every place for an adapter is in use; ask again later", cause="adapters")
        del self._users[idle]
        await self.engine.unload_adapter(idle)
