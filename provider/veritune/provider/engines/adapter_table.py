"""Keeps the loaded adapters of an engine, by the rules for loading and unloading that both engines share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from veritune.provider.engines.adapter_files import AdapterFiles
from veritune.provider.engines.base import AdapterConflictError, AdapterSlotsFullError, UnknownAdapterError


class LoadedAdapter(Protocol):
    """An engine's own record of a loaded adapter."""

    @property
    def digest(self) -> str:
        """SHA-256 (hexadecimal) of the adapter's files, as `AdapterFiles` has it."""


L = TypeVar("L", bound=LoadedAdapter)


class AdapterTable(Generic[L]):
    """The loaded adapters of one engine, by id: at most ``limit`` of them.

    ``read`` checks an adapter folder, in a thread, and raises `InvalidAdapterError`. One load or unload runs at a time,
    and each runs to its end even if its caller is cancelled, so that the model always has the adapters of this table.
    """

    def __init__(self, limit: int, read: Callable[[Path], AdapterFiles]) -> None:
        self._limit = limit
        self._read = read
        self._loaded: dict[str, L] = {}
        self._changing = asyncio.Lock()

    def ids(self) -> frozenset[str]:
        """The ids of the loaded adapters."""
        return frozenset(self._loaded)

    def loaded(self) -> list[L]:
        """Every loaded adapter, oldest first."""
        return list(self._loaded.values())

    def find(self, adapter: str) -> L:
        """The adapter of that id. Raises `UnknownAdapterError` if it is not loaded."""
        loaded = self._loaded.get(adapter)
        if loaded is None:
            raise UnknownAdapterError(f"adapter {adapter!r} is not loaded")
        return loaded

    def require_still(self, adapter: str | None, loaded: L | None) -> None:
        """Raises `UnknownAdapterError` if the id no longer names ``loaded``; the base model, None, always passes."""
        if adapter is not None and self._loaded.get(adapter) is not loaded:
            raise UnknownAdapterError(f"adapter {adapter!r} was unloaded meanwhile")

    async def load(self, adapter: str, folder: Path, attach: Callable[[AdapterFiles], Awaitable[L]]) -> None:
        """Loads the adapter in ``folder`` under an id: ``attach`` puts it into the model and returns its record.

        Nothing happens if the id is loaded already with the same files. Raises as `InferenceEngine.load_adapter` does,
        and what ``attach`` raises; the table is then unchanged.
        """
        await asyncio.shield(self._load(adapter, folder, attach))

    async def unload(self, adapter: str, detach: Callable[[L], Awaitable[None]]) -> None:
        """Removes an adapter from the table, then ``detach`` removes it from the model.

        New and waiting requests fail from then on. Raises `UnknownAdapterError` if the adapter is not loaded.
        """
        await asyncio.shield(self._unload(adapter, detach))

    def clear(self) -> None:
        """Removes every adapter from the table, for an engine that has stopped."""
        self._loaded.clear()

    async def _load(self, adapter: str, folder: Path, attach: Callable[[AdapterFiles], Awaitable[L]]) -> None:
        async with self._changing:
            files = await asyncio.to_thread(self._read, folder)
            known = self._loaded.get(adapter)
            if known is not None:
                if known.digest != files.digest:
                    raise AdapterConflictError(f"adapter id {adapter!r} is taken by other weights")
                return
            if len(self._loaded) >= self._limit:
                raise AdapterSlotsFullError(f"{self._limit} adapters are loaded already")
            self._loaded[adapter] = await attach(files)

    async def _unload(self, adapter: str, detach: Callable[[L], Awaitable[None]]) -> None:
        async with self._changing:
            loaded = self.find(adapter)
            del self._loaded[adapter]
            await detach(loaded)
