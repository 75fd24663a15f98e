"""Which adapters an engine has loaded, and the rules for loading and unloading that both engines share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from veritune.provider.engines.adapter_files import AdapterFiles
from veritune.provider.engines.base import AdapterConflictError, AdapterSlotsFullError, UnknownAdapterError


class LoadedAdapter(Protocol):
    """What an engine keeps of a loaded adapter; ``digest`` is that of `AdapterFiles`."""

    @property
    def digest(self) -> str: ...


L = TypeVar("L", bound=LoadedAdapter)


class AdapterTable(Generic[L]):
    """The loaded adapters of one engine, by id: at most ``limit`` of them.

    ``read`` checks an adapter folder, in a thread, and raises `InvalidAdapterError`. One load or unload runs at a time,
    and each runs to its end even if its caller is cancelled: a caller that gives up must not leave the model and this
    table at odds.
    """

    def __init__(self, limit: int, read: Callable[[Path], AdapterFiles]) -> None:
        self._limit = limit
        self._read = read
        self._loaded: dict[str, L] = {}
        self._changing = asyncio.Lock()

    def ids(self) -> frozenset[str]:
        """The ids that can be asked for."""
        return frozenset(self._loaded)

    def loaded(self) -> list[L]:
        """Every loaded adapter, oldest first."""
        return list(self._loaded.values())

    def find(self, adapter: str) -> L:
        """The adapter of that id. Raises `UnknownAdapterError`."""
        loaded = self._loaded.get(adapter)
        if loaded is None:
            raise UnknownAdapterError(f"adapter {adapter!r} is not loaded")
        return loaded

    def require_still(self, adapter: str | None, loaded: L | None) -> None:
        """Raises `UnknownAdapterError` if ``adapter`` no longer stands for ``loaded``; None is the base model."""
        if adapter is not None and self._loaded.get(adapter) is not loaded:
            raise UnknownAdapterError(f"adapter {adapter!r} was unloaded meanwhile")

    async def load(self, adapter: str, folder: Path, attach: Callable[[AdapterFiles], Awaitable[L]]) -> None:
        """Reads ``folder``, lets ``attach`` put it into the model, and takes note of what that returns.

        Does nothing if the id is known and the files are the same. Raises as `InferenceEngine.load_adapter` does, and
        what ``attach`` raises; then the table stays as it was.
        """
        await asyncio.shield(self._load(adapter, folder, attach))

    async def unload(self, adapter: str, detach: Callable[[L], Awaitable[None]]) -> None:
        """Forgets an adapter, for new and waiting requests at once, then lets ``detach`` take it out of the model.

        Raises `UnknownAdapterError`.
        """
        await asyncio.shield(self._unload(adapter, detach))

    def clear(self) -> None:
        """Forgets every adapter; for an engine that has stopped."""
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
