"""What both engines keep of loaded adapters: known, full, in conflict, and never at odds with the model."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from veritune.provider.engines.adapter_files import AdapterFiles
from veritune.provider.engines.adapter_table import AdapterTable
from veritune.provider.engines.base import (
    AdapterConflictError,
    AdapterSlotsFullError,
    InvalidAdapterError,
    UnknownAdapterError,
)


@dataclass(eq=False)
class Weights:
    digest: str


def read(folder: Path) -> AdapterFiles:
    """A folder's name stands for what is in it."""
    if folder.name == "broken":
        raise InvalidAdapterError("broken")
    return AdapterFiles(folder, 4, is_zero=False, digest=folder.name)


class Model:
    """Has in it what was attached and not detached; ``go`` holds both back until it is set."""

    def __init__(self) -> None:
        self.held: list[str] = []
        self.begun, self.go = asyncio.Event(), asyncio.Event()
        self.go.set()

    async def attach(self, files: AdapterFiles) -> Weights:
        self.begun.set()
        await self.go.wait()
        if files.digest == "odd":
            raise InvalidAdapterError("odd")
        self.held.append(files.digest)
        return Weights(files.digest)

    async def detach(self, weights: Weights) -> None:
        self.begun.set()
        await self.go.wait()
        self.held.remove(weights.digest)


def table() -> AdapterTable[Weights]:
    return AdapterTable(2, read)


async def test_the_same_files_again_do_nothing_and_others_are_refused() -> None:
    adapters, model = table(), Model()
    await adapters.load("a", Path("one"), model.attach)
    await adapters.load("a", Path("one"), model.attach)
    with pytest.raises(AdapterConflictError):
        await adapters.load("a", Path("two"), model.attach)
    assert model.held == ["one"]
    assert adapters.find("a").digest == "one"


async def test_a_full_table_refuses_until_one_is_unloaded() -> None:
    adapters, model = table(), Model()
    await adapters.load("a", Path("one"), model.attach)
    await adapters.load("b", Path("two"), model.attach)
    with pytest.raises(AdapterSlotsFullError):
        await adapters.load("c", Path("three"), model.attach)
    await adapters.load("a", Path("one"), model.attach)  # known: it takes no place
    await adapters.unload("a", model.detach)
    await adapters.load("c", Path("three"), model.attach)
    assert adapters.ids() == {"b", "c"}
    assert model.held == [weights.digest for weights in adapters.loaded()] == ["two", "three"]


@pytest.mark.parametrize("folder", ["broken", "odd"])
async def test_what_can_not_be_loaded_takes_no_place(folder: str) -> None:
    adapters, model = table(), Model()
    with pytest.raises(InvalidAdapterError):
        await adapters.load("a", Path(folder), model.attach)
    assert adapters.ids() == frozenset()
    await adapters.load("a", Path("one"), model.attach)


async def test_an_id_that_is_not_loaded_is_unknown() -> None:
    adapters, model = table(), Model()
    with pytest.raises(UnknownAdapterError):
        adapters.find("a")
    with pytest.raises(UnknownAdapterError):
        await adapters.unload("a", model.detach)


async def test_other_weights_under_an_old_id_are_not_those_that_were_found() -> None:
    adapters, model = table(), Model()
    await adapters.load("a", Path("one"), model.attach)
    found = adapters.find("a")
    adapters.require_still("a", found)
    adapters.require_still(None, None)
    await adapters.unload("a", model.detach)
    await adapters.load("a", Path("one"), model.attach)
    with pytest.raises(UnknownAdapterError):
        adapters.require_still("a", found)


async def test_a_load_whose_caller_gives_up_is_finished_and_counted() -> None:
    adapters, model = table(), Model()
    model.go.clear()
    caller = asyncio.create_task(adapters.load("a", Path("one"), model.attach))
    await model.begun.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    model.go.set()
    await adapters.load("b", Path("two"), model.attach)  # one at a time: the first has ended when this begins
    assert adapters.ids() == {"a", "b"}
    assert model.held == ["one", "two"]


async def test_an_unload_whose_caller_gives_up_is_finished() -> None:
    adapters, model = table(), Model()
    await adapters.load("a", Path("one"), model.attach)
    model.go.clear()
    model.begun.clear()
    caller = asyncio.create_task(adapters.unload("a", model.detach))
    await model.begun.wait()
    assert adapters.ids() == frozenset()  # for new requests it is gone at once
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    model.go.set()
    await adapters.load("b", Path("two"), model.attach)
    assert model.held == ["two"]
