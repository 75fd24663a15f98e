"""One suite for every inference engine: right answers, from the right weights, whatever runs beside them.

`VERITUNE_TEST_MODEL` may name a folder with a real chat model for the part marked slow.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Literal

import pytest
import pytest_asyncio

from tests.integration.engine_fixtures import Chat, Reference, make_adapter, make_engine_model
from tests.support.waiting import noted
from veritune.provider.engines import factory
from veritune.provider.engines.base import (
    AdapterConflictError,
    AdapterSlotsFullError,
    Delta,
    InferenceEngine,
    InvalidAdapterError,
    PromptTooLongError,
    Sampling,
    UnknownAdapterError,
)
from veritune.provider.engines.factory import EngineUnavailableError, make_engine
from veritune.provider.models.chat import ChatRefusedError

pytestmark = pytest.mark.asyncio(loop_scope="module")

KINDS = [
    "transformers",
    pytest.param(
        "vllm",
        marks=[pytest.mark.vllm, pytest.mark.skipif(find_spec("vllm") is None, reason="needs vLLM")],
    ),
]
SLOTS = 3
CONTEXT = 512
LENGTH = 24

CHATS: list[Chat] = [
    (("user", "What is the sum of twelve and thirty?"),),
    (("user", "Write the order number and the colour of the parcel into one record, please."),),
    (("system", "Be brief."), ("user", "Grüße aus Köln! 東京 🦀")),
    (("user", "Is the lamp broken?"), ("assistant", "Yes."), ("user", "Since when? We need it on Monday.")),
    (("user", "no"),),
]
ANSWERS = ["", "Yes.", "42", "The printer on the second floor is out of paper.", "käse 🧀", "No, I am afraid."]


@dataclass(frozen=True)
class World:
    """A started engine without adapters, the folders it may be asked for, and what is right."""

    engine: InferenceEngine
    model: Path
    folders: dict[str, Path]
    reference: Reference


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=KINDS)
async def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    root = tmp_path_factory.mktemp("engines")
    model = make_engine_model(root / "model")
    folders = {name: make_adapter(model, root / name, seed) for seed, name in enumerate("abcd", start=1)}
    engine = make_engine(request.param, model, dtype="float32", max_model_len=CONTEXT, max_adapters=SLOTS)
    await engine.start()
    yield World(engine, model, folders, Reference(model))
    await engine.stop()
    with pytest.raises(RuntimeError):
        engine.generate(CHATS[0], Sampling(), None)


@pytest_asyncio.fixture(loop_scope="module")
async def full(world: World) -> AsyncIterator[World]:
    """Every adapter slot is taken: adapters a, b, c."""
    for name in "abc":
        await world.engine.load_adapter(name, world.folders[name])
    yield world
    for name in world.engine.adapters():
        await world.engine.unload_adapter(name)


async def collect(
    engine: InferenceEngine, chat: Chat, adapter: str | None, sampling: Sampling | None = None
) -> list[Delta]:
    return [piece async for piece in engine.generate(chat, sampling or Sampling(LENGTH), adapter)]


async def ask(engine: InferenceEngine, chat: Chat, adapter: str | None, sampling: Sampling | None = None) -> str:
    return "".join(piece.text for piece in await collect(engine, chat, adapter, sampling))


async def test_the_adapters_of_this_test_change_the_answers(world: World) -> None:
    for chat in CHATS:
        answers = [world.reference.answer(chat, world.folders.get(name), LENGTH) for name in ("", *"abcd")]
        assert len(set(answers)) == len(answers)


async def test_each_request_of_a_mixed_batch_is_answered_by_its_own_weights(full: World) -> None:
    cases = list(product(CHATS, (None, "a", "b", "c")))
    answers = await asyncio.gather(*(ask(full.engine, chat, adapter) for chat, adapter in cases))
    for (chat, adapter), answer in zip(cases, answers, strict=True):
        folder = None if adapter is None else full.folders[adapter]
        assert answer == full.reference.answer(chat, folder, LENGTH), (chat, adapter)


async def test_one_request_alone_is_answered_as_in_a_batch(full: World) -> None:
    for chat, adapter in zip(CHATS, ("b", None, "a", "c", "b"), strict=True):
        folder = None if adapter is None else full.folders[adapter]
        assert await ask(full.engine, chat, adapter) == full.reference.answer(chat, folder, LENGTH)


async def test_the_base_model_is_the_same_before_beside_and_after_adapters(world: World) -> None:
    async def base() -> list[float]:
        return [
            number for score in await world.engine.score(CHATS[1], ANSWERS, None) for number in score.token_logprobs
        ]

    before, said = await base(), await ask(world.engine, CHATS[1], None)
    for name in "abc":
        await world.engine.load_adapter(name, world.folders[name])
    alone = await base()
    beside, *others = await asyncio.gather(
        base(), *(ask(world.engine, CHATS[1], name) for name in "abc"), ask(world.engine, CHATS[1], None)
    )
    for name in "abc":
        await world.engine.unload_adapter(name)
    after = await base()
    for scores in (alone, beside, after):
        assert scores == pytest.approx(before, abs=1e-3)
    assert others[-1] == said == await ask(world.engine, CHATS[1], None)


@pytest.mark.parametrize("adapter", [None, "a", "c"])
async def test_scores_equal_a_direct_computation(full: World, adapter: str | None) -> None:
    folder = None if adapter is None else full.folders[adapter]
    batches = await asyncio.gather(*(full.engine.score(chat, ANSWERS, adapter) for chat in CHATS))
    for chat, scores in zip(CHATS, batches, strict=True):
        for answer, score in zip(ANSWERS, scores, strict=True):
            expected = full.reference.logprobs(chat, answer, folder)
            assert list(score.token_logprobs) == pytest.approx(expected, abs=1e-3)


async def test_scores_of_many_answers_keep_their_order(full: World) -> None:
    answers = ["again " * (1 + index * 7 % 40) for index in range(60)]
    scores = await full.engine.score(CHATS[0], answers, "b")
    for index in (0, 17, 41, 59):
        expected = full.reference.logprobs(CHATS[0], answers[index], full.folders["b"])
        assert list(scores[index].token_logprobs) == pytest.approx(expected, abs=1e-3)
    assert await full.engine.score(CHATS[0], [], "b") == []


async def test_pieces_of_a_stream_join_to_the_whole_and_the_last_one_tells_the_rest(full: World) -> None:
    ends = set()
    for chat, adapter in product(CHATS, (None, "a", "b", "c")):
        *pieces, last = await collect(full.engine, chat, adapter)
        folder = None if adapter is None else full.folders[adapter]
        text = "".join(piece.text for piece in [*pieces, last])
        assert text == full.reference.answer(chat, folder, LENGTH)
        assert all(piece.text and not piece.finish_reason for piece in pieces)
        assert last.prompt_tokens > 0
        assert "<|" not in text
        ends.add(last.finish_reason)
        assert (last.completion_tokens == LENGTH) or last.finish_reason == "stop"
    assert ends == {"stop", "length"}


async def test_a_sampled_answer_is_its_seeds_alone(full: World) -> None:
    def sampling(seed: int) -> Sampling:
        return Sampling(LENGTH, temperature=1.5, top_p=0.95, seed=seed)

    alone = [await ask(full.engine, CHATS[0], "a", sampling(seed)) for seed in (1, 2)]
    together = await asyncio.gather(
        *(ask(full.engine, CHATS[0], "a", sampling(seed)) for seed in (1, 2)),
        *(ask(full.engine, chat, "b", sampling(3)) for chat in CHATS),
        ask(full.engine, CHATS[0], "a"),
    )
    assert together[:2] == alone
    assert alone[0] != alone[1]
    assert together[-1] == full.reference.answer(CHATS[0], full.folders["a"], LENGTH)


async def test_top_p_near_zero_is_greedy(full: World) -> None:
    nearly = Sampling(LENGTH, temperature=0.7, top_p=1e-6, seed=9)
    assert await ask(full.engine, CHATS[2], "c", nearly) == await ask(full.engine, CHATS[2], "c")


async def test_an_unloaded_adapter_is_unknown_and_its_slot_serves_the_next(full: World) -> None:
    before = await ask(full.engine, CHATS[0], "b")
    with pytest.raises(AdapterSlotsFullError):
        await full.engine.load_adapter("d", full.folders["d"])
    await full.engine.unload_adapter("b")
    assert full.engine.adapters() == {"a", "c"}
    with pytest.raises(UnknownAdapterError):
        await ask(full.engine, CHATS[0], "b")
    # Other weights under the old name: nothing of the old ones may linger in any cache.
    await full.engine.load_adapter("b", full.folders["d"])
    answer = await ask(full.engine, CHATS[0], "b")
    assert answer == full.reference.answer(CHATS[0], full.folders["d"], LENGTH) != before


async def test_an_id_stands_for_one_set_of_weights(full: World) -> None:
    with pytest.raises(AdapterConflictError):
        await full.engine.load_adapter("a", full.folders["b"])
    await full.engine.load_adapter("a", full.folders["a"])
    assert await ask(full.engine, CHATS[3], "a") == full.reference.answer(CHATS[3], full.folders["a"], LENGTH)


async def test_unloading_waits_for_answers_under_way(full: World) -> None:
    stream = full.engine.generate(CHATS[1], Sampling(LENGTH), "c")
    first = await anext(stream)
    _, rest = await asyncio.gather(full.engine.unload_adapter("c"), _join(stream))
    assert first.text + rest == full.reference.answer(CHATS[1], full.folders["c"], LENGTH)


async def _join(stream: AsyncIterator[Delta]) -> str:
    return "".join([piece.text async for piece in stream])


async def test_a_request_nobody_can_answer_is_refused_before_any_work(full: World) -> None:
    with pytest.raises(UnknownAdapterError):
        full.engine.generate(CHATS[0], Sampling(), "nobody")
    with pytest.raises(UnknownAdapterError):
        await full.engine.score(CHATS[0], ANSWERS, "nobody")
    with pytest.raises(UnknownAdapterError):
        await full.engine.unload_adapter("nobody")
    with pytest.raises(PromptTooLongError):
        full.engine.generate(CHATS[0], Sampling(CONTEXT), "a")
    with pytest.raises(PromptTooLongError):
        full.engine.generate((("user", "x " * CONTEXT),), Sampling(1), None)
    with pytest.raises(PromptTooLongError):
        await full.engine.score(CHATS[0], ["x " * CONTEXT], None)
    with pytest.raises(ChatRefusedError):
        full.engine.generate((), Sampling(), None)


async def test_a_stream_that_is_closed_leaves_the_engine_well(full: World) -> None:
    long = Sampling(CONTEXT - 100)
    for adapter in (None, "a", "b"):
        async with aclosing(full.engine.generate(CHATS[4], long, adapter)) as stream:  # type: ignore[type-var]  # generators have aclose
            await anext(stream)
    begun = asyncio.Event()
    streams = [full.engine.generate(chat, long, "c") for chat in CHATS]
    waiting = [asyncio.create_task(_join(noted(stream, begun))) for stream in streams]
    await asyncio.wait_for(begun.wait(), 60)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    answers = await asyncio.gather(*(ask(full.engine, CHATS[0], name) for name in (None, "a", "b", "c")))
    for name, answer in zip((None, "a", "b", "c"), answers, strict=True):
        folder = None if name is None else full.folders[name]
        assert answer == full.reference.answer(CHATS[0], folder, LENGTH)


Damage = Literal["missing", "empty", "json", "cut", "dora", "pickle", "rank", "nan", "shape"]


def _damage(world: World, folder: Path, how: Damage) -> None:
    shutil.copytree(world.folders["d"], folder)
    config, weights = folder / "adapter_config.json", folder / "adapter_model.safetensors"
    match how:
        case "missing":
            shutil.rmtree(folder)
        case "empty":
            config.unlink()
        case "json":
            config.write_text("[" * 100_000)
        case "cut":
            weights.write_bytes(weights.read_bytes()[:-100])
        case "dora":
            config.write_text(json.dumps(json.loads(config.read_text()) | {"use_dora": True}))
        case "pickle":
            weights.rename(folder / "adapter_model.bin")
        case "rank":
            config.write_text(json.dumps(json.loads(config.read_text()) | {"r": 16}))
        case "nan":
            weights.write_bytes(weights.read_bytes()[:-4] + b"\xff\xff\xff\xff")
        case "shape":
            shutil.rmtree(folder)
            make_adapter(make_engine_model(folder.with_suffix(".model"), hidden=96), folder, 1)


@pytest.mark.parametrize("how", Damage.__args__)  # type: ignore[attr-defined]  # a Literal has them
async def test_a_broken_adapter_is_refused_and_the_others_go_on(world: World, tmp_path: Path, how: Damage) -> None:
    _damage(world, tmp_path / "broken", how)
    await world.engine.load_adapter("a", world.folders["a"])
    try:
        with pytest.raises(InvalidAdapterError):
            await world.engine.load_adapter("broken", tmp_path / "broken")
        assert world.engine.adapters() == {"a"}
        for name in (None, "a"):
            folder = None if name is None else world.folders[name]
            assert await ask(world.engine, CHATS[0], name) == world.reference.answer(CHATS[0], folder, LENGTH)
    finally:
        await world.engine.unload_adapter("a")


async def test_stopping_ends_answers_under_way_and_those_that_wait(tmp_path: Path) -> None:
    engine = make_engine("transformers", make_engine_model(tmp_path / "model"), dtype="float32")
    with pytest.raises(RuntimeError, match="not running"):
        engine.generate(CHATS[0], Sampling(), None)
    await engine.start()
    long = Sampling(900, temperature=5.0)
    streams = [engine.generate(CHATS[0], long, None) for _ in range(20)]
    begun = asyncio.Event()
    tasks = [asyncio.create_task(_join(noted(stream, begun))) for stream in streams]
    await asyncio.wait_for(begun.wait(), 60)
    await asyncio.wait_for(engine.stop(), 60)
    results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60)
    assert any(isinstance(result, RuntimeError) for result in results)
    assert all(isinstance(result, RuntimeError | str) for result in results)
    await engine.stop()


async def test_an_engine_that_is_not_there_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factory, "find_spec", lambda name: None)
    with pytest.raises(EngineUnavailableError, match="pip install"):
        make_engine("vllm", tmp_path)
    with pytest.raises(ValueError, match="no inference engine"):
        make_engine("abacus", tmp_path)  # type: ignore[arg-type]  # that is the point


@pytest.mark.slow
@pytest.mark.skipif("VERITUNE_TEST_MODEL" not in os.environ, reason="needs VERITUNE_TEST_MODEL")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_real_model_answers_as_transformers_and_peft_do(
    kind: Literal["transformers", "vllm"], tmp_path: Path
) -> None:
    model = Path(os.environ["VERITUNE_TEST_MODEL"])
    folder = make_adapter(model, tmp_path / "a", seed=1, scale=0.02)
    reference = Reference(model)
    engine = make_engine(kind, model, dtype="float32", max_model_len=CONTEXT, max_adapters=1)
    await engine.start()
    try:
        await engine.load_adapter("a", folder)
        cases = list(product(CHATS, (None, "a")))
        answers = await asyncio.gather(*(ask(engine, chat, adapter) for chat, adapter in cases))
        for (chat, adapter), answer in zip(cases, answers, strict=True):
            path = None if adapter is None else folder
            assert answer == reference.answer(chat, path, LENGTH)
            (score,) = await engine.score(chat, ["Yes, since Monday."], adapter)
            expected = reference.logprobs(chat, "Yes, since Monday.", path)
            assert list(score.token_logprobs) == pytest.approx(expected, abs=1e-3)
    finally:
        await engine.stop()
