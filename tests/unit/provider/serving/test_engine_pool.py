"""Who may use the machine, and which engines and adapters are in memory."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.support.errors import fails
from tests.support.waiting import turns
from veritune.common.errors import NotFoundError, UnavailableError
from veritune.provider.concurrency import in_thread
from veritune.provider.hardware.accelerator import Accelerator
from veritune.provider.serving.engine_pool import Adapter, Serving

MODEL = Path("/models/tiny")


class FakeEngine:
    """Counts what is asked of it."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.running = False

    async def start(self) -> None:
        await asyncio.sleep(0)
        assert not self.running
        self.running = True

    async def stop(self) -> None:
        self.running = False

    async def load_adapter(self, adapter: str, folder: Path) -> None:
        await asyncio.sleep(0)
        if folder.name == "broken":
            raise ValueError("broken")
        self.loaded.append(adapter)

    async def unload_adapter(self, adapter: str) -> None:
        await asyncio.sleep(0)
        self.loaded.remove(adapter)


class Factory:
    def __init__(self) -> None:
        self.made: list[FakeEngine] = []

    def __call__(self, folder: Path) -> Any:
        self.made.append(FakeEngine())
        return self.made[-1]


def stored(name: str, folder: str = "good") -> Adapter:
    async def find() -> Path:
        if folder == "lost":
            raise NotFoundError("lost")
        return Path(folder)

    return Adapter(name, find)


async def use(serving: Serving, adapter: str | None, folder: str = "good") -> None:
    async with serving.engine(MODEL, None if adapter is None else stored(adapter, folder)) as engine:
        fake: Any = engine
        await turns()
        assert adapter is None or adapter in fake.loaded


async def test_one_engine_for_many_calls() -> None:
    factory = Factory()
    serving = Serving(factory, 4)
    await asyncio.gather(*(use(serving, name) for name in ("a", "b", "a", None)))
    assert len(factory.made) == 1
    assert sorted(factory.made[0].loaded) == ["a", "b"]


async def test_the_adapter_used_longest_ago_goes_first() -> None:
    factory = Factory()
    serving = Serving(factory, 2)
    for name in ("a", "b", "a", "c"):
        await use(serving, name)
    assert sorted(factory.made[0].loaded) == ["a", "c"]


async def test_an_adapter_that_answers_is_never_dropped() -> None:
    factory = Factory()
    serving = Serving(factory, 1)
    async with serving.engine(MODEL, stored("a")):
        with fails(UnavailableError):
            await use(serving, "b")
    await use(serving, "b")
    assert factory.made[0].loaded == ["b"]


async def test_a_broken_adapter_takes_no_place() -> None:
    serving = Serving(Factory(), 1)
    with pytest.raises(ValueError, match="broken"):
        await use(serving, "a", "broken")
    await use(serving, "b")


async def test_an_adapter_that_is_lost_takes_no_place_and_drops_no_other() -> None:
    factory = Factory()
    serving = Serving(factory, 1)
    await use(serving, "a")
    with pytest.raises(NotFoundError):
        await use(serving, "b", "lost")
    assert factory.made[0].loaded == ["a"]


async def test_a_loaded_adapter_is_not_looked_for_again() -> None:
    serving = Serving(Factory(), 1)
    await use(serving, "a")
    await use(serving, "a", "lost")


async def test_free_stops_and_the_next_call_starts_again() -> None:
    factory = Factory()
    serving = Serving(factory, 1)
    await use(serving, "a")
    await serving.free()
    assert not factory.made[0].running
    await use(serving, "a")
    assert [engine.running for engine in factory.made] == [False, True]


async def hold(lease: Any, events: list[str], name: str, release: asyncio.Event | None = None) -> None:
    async with lease:
        events.append(f"{name} in")
        if release is not None:
            await release.wait()
        events.append(f"{name} out")


async def test_training_waits_for_answers_and_answers_wait_for_training() -> None:
    accelerator, events, release = Accelerator("wait"), [], asyncio.Event()  # type: ignore[var-annotated]
    first = asyncio.create_task(hold(accelerator.answering(), events, "answer", release))
    await turns()
    job = asyncio.create_task(hold(accelerator.training(), events, "job"))
    await turns()
    second = asyncio.create_task(hold(accelerator.answering(), events, "late"))
    await turns()
    assert events == ["answer in"]
    release.set()
    await asyncio.wait_for(asyncio.gather(first, job, second), 60)
    assert events == ["answer in", "answer out", "job in", "job out", "late in", "late out"]


async def test_answers_run_together() -> None:
    accelerator = Accelerator("wait")
    async with accelerator.answering(), asyncio.timeout(60), accelerator.answering():
        pass


async def test_refuse_says_so() -> None:
    accelerator = Accelerator("refuse")
    async with accelerator.training():
        with fails(UnavailableError, cause="training"):
            async with accelerator.answering():
                pass
    async with accelerator.answering():
        pass


async def test_share_waits_for_nobody() -> None:
    accelerator = Accelerator("share")
    async with asyncio.timeout(60), accelerator.answering(), accelerator.training(), accelerator.answering():
        pass


async def test_a_cancelled_wait_leaves_no_trace() -> None:
    accelerator = Accelerator("wait")
    async with accelerator.answering():
        job = asyncio.create_task(hold(accelerator.training(), [], "job"))
        await turns()
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        async with asyncio.timeout(60), accelerator.answering():
            pass


async def test_a_cancelled_call_waits_for_its_thread() -> None:
    import threading

    begun, release, done = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        release.wait(10)
        done.set()

    task = asyncio.create_task(in_thread(work))
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    await turns()
    task.cancel()
    await turns()
    assert not task.done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done.is_set()
