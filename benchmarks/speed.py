"""How much quicker training, scoring and answering are than by the plain way: ratios, measured back to back.

    python -m benchmarks.speed models/SmolLM2-135M-Instruct

The plain ways are PEFT's own layer for training; for scores, a copy of the prompt's keys for each candidate, logits for
padding too, and every prompt computed whole; for the endpoint, each row looking for its own adapter, and one call after
the other. What counts is the processor time of one thread, which other work on the machine hardly moves; the median of
several rounds, in each of which both ways take their turn.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import itertools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported

import torch

from veritune.arbiter.documents.canary import example_chat
from veritune.arbiter.measure.local_model import LocalModel
from veritune.common.dataset import Message, Row, read_rows
from veritune.common.documents.manifest import Training
from veritune.common.model.kvcache import cache_argument
from veritune.provider.engines import transformers_engine
from veritune.provider.engines.base import Sampling
from veritune.provider.engines.transformers_engine import TransformersEngine
from veritune.provider.hardware.precision import pick_precision
from veritune.provider.models.chat import ChatFormat
from veritune.provider.training.base import TrainingTask
from veritune.provider.training.batching import LengthGroupedBatches
from veritune.provider.training.data import collate, tokenise
from veritune.provider.training.hf_loop import labelled_loss, save_adapter
from veritune.provider.training.joined_lora import JoinedLinear
from veritune.provider.training.transformers_trainer import with_adapter

TICKETS = Path(__file__).resolve().parent.parent / "examples" / "tickets" / "tickets.jsonl"
TRAINING = Training(rank=32, alpha=64, batch_size=4)
CANDIDATES, EXAMPLES, TOGETHER, TOKENS = 16, 6, 8, 24

Ways = dict[str, Callable[[], Any]]


def main() -> None:
    """Prints one line a pair of ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of a causal language model")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = _rows(folder / "rows.jsonl")
        adapter = _adapter(arguments.model, folder)
        measure = partial(_measure, rounds=arguments.rounds)
        training(arguments.model, folder, measure)
        scoring(arguments.model, adapter, rows, measure)
        asyncio.run(serving(arguments.model, adapter, rows, measure))


def training(model_folder: Path, folder: Path, measure: Callable[[str, Ways], None]) -> None:
    """Optimiser steps with PEFT's layer and with the joined one."""
    chat = ChatFormat.load(model_folder)
    rows = tokenise(folder / "rows.jsonl", chat, 256).rows
    batches = itertools.cycle(LengthGroupedBatches([len(row) for row in rows], TRAINING.batch_size, 0))
    model = _model_with_adapter(model_folder, folder).train()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=True)

    def step(batch: Sequence[int]) -> None:
        inputs = collate([rows[index] for index in batch], chat.pad_id)
        inputs.pop("rows")
        torch.autograd.backward(labelled_loss(model, inputs))
        optimizer.step()
        optimizer.zero_grad()

    def plain(batch: Sequence[int]) -> None:
        with patch.object(JoinedLinear, "_joinable", lambda layer, x: None):
            step(batch)

    batch = next(batches)
    measure("training, one step", {"plain": lambda: plain(batch), "joined": lambda: step(batch)})


def scoring(model_folder: Path, adapter: Path, rows: Sequence[Row], measure: Callable[[str, Ways], None]) -> None:
    """The delivered challenge: candidates behind a ticket, and behind examples and a ticket."""
    model = LocalModel(model_folder)
    model.attach(adapter, TRAINING)
    examples, row = rows[:EXAMPLES], rows[EXAMPLES]
    candidates = _wordings(row)
    tails = [model.completion_ids(text) for text in candidates]
    for what, chat, tuned in (
        ("delivered scores, 16 candidates", row.prompt, True),
        ("delivered scores behind 6 examples", example_chat(examples, row.prompt), False),
    ):
        prompt = model.prompt_ids(chat)

        def plain(prompt: list[int] = prompt, tuned: bool = tuned) -> list[float]:
            with torch.inference_mode(), model._adapter(tuned):
                return plain_scores(model._model, prompt, tails)

        ways: Ways = {"plain": plain, "shared": partial(model.scores, chat, candidates, tuned=tuned)}
        measure(what, ways)
        print(f"{'':38} differ by at most {_apart(ways['plain'](), ways['shared']()):.3f} nats")


def plain_scores(model: Any, prompt: list[int], tails: Sequence[list[int]]) -> list[float]:
    """Each candidate behind a copy of its own of the prompt's keys, with logits everywhere."""
    head = model(input_ids=torch.tensor([prompt]), use_cache=True, logits_to_keep=1)
    first = head.logits[0, -1].float().log_softmax(-1)
    width = max(map(len, tails)) - 1
    inputs, targets = torch.zeros(len(tails), width, dtype=torch.long), torch.zeros(len(tails), width, dtype=torch.long)
    for row, ids in enumerate(tails):
        inputs[row, : len(ids) - 1], targets[row, : len(ids) - 1] = torch.tensor(ids[:-1]), torch.tensor(ids[1:])
    cache = copy.deepcopy(cache_argument(head))
    for kept in cache.values():
        kept.batch_repeat_interleave(len(tails))
    logits = model(input_ids=inputs, **cache).logits.float().log_softmax(-1)
    picked = logits.gather(-1, targets[..., None])[..., 0].double()
    return [float(first[ids[0]]) + float(picked[row, : len(ids) - 1].sum()) for row, ids in enumerate(tails)]


async def serving(model_folder: Path, adapter: Path, rows: Sequence[Row], measure: Callable[[str, Ways], None]) -> None:
    """The embedded engine: one adapter for a batch, and calls that wait together."""
    engine = TransformersEngine(model_folder, threads=1)
    await engine.start()
    await engine.load_adapter("adapter", adapter)
    chats: list[list[tuple[str, str]]] = [
        [(message.role, message.content) for message in row.prompt] for row in rows[:TOGETHER]
    ]
    sampling = Sampling(max_tokens=TOKENS, temperature=0, top_p=1, seed=0)

    async def answer(chat: Sequence[tuple[str, str]]) -> None:
        async for _ in engine.generate(chat, sampling, "adapter"):
            pass

    async def in_turn() -> None:
        for chat in chats:
            await answer(chat)

    async def together() -> None:
        await asyncio.gather(*map(answer, chats))

    @contextmanager
    def by_row(model: Any, names: Sequence[str]) -> Any:
        yield True

    async def mixed() -> None:
        with patch.object(transformers_engine, "answering_with", by_row):
            await together()

    loop = asyncio.get_running_loop()

    def from_thread(work: Callable[[], Any]) -> Callable[[], Any]:
        return lambda: asyncio.run_coroutine_threadsafe(work(), loop).result()

    pairs: list[tuple[str, Ways]] = [
        (f"{TOGETHER} answers, adapter by row or for all", {"plain": mixed, "one adapter": together}),
        (f"{TOGETHER} answers, in turn or together", {"plain": in_turn, "together": together}),
    ]
    for what, ways in pairs:
        await asyncio.to_thread(measure, what, {name: from_thread(work) for name, work in ways.items()})
    await engine.stop()


def _measure(what: str, ways: Ways, *, rounds: int) -> None:
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, work in ways.items():
            begun = time.process_time()
            work()
            if number:  # the first round warms up
                spent[name].append(time.process_time() - begun)
    (_, before), (name, after) = ((key, statistics.median(values)) for key, values in spent.items())
    print(f"{what:38} {before:6.2f} s -> {after:6.2f} s ({name}): {before / after:.2f} times as quick", flush=True)


def _rows(path: Path) -> list[Row]:
    lines = TICKETS.read_text(encoding="utf-8").splitlines()[:40]
    made = [
        Row(messages=tuple(Message(**message) for message in json.loads(line)["messages"]), source="t")
        for line in lines
    ]
    path.write_bytes(b"".join(row.to_bytes() + b"\n" for row in made))
    return list(read_rows(path))


def _wordings(row: Row) -> list[str]:
    record = json.loads(row.completion)
    orders = list(itertools.permutations(record))[:: 120 // CANDIDATES][:CANDIDATES]
    return [json.dumps({key: record[key] for key in order}, separators=(",", ":")) for order in orders]


def _model_with_adapter(model_folder: Path, folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    dtype = getattr(torch, pick_precision("auto"))
    base = AutoModelForCausalLM.from_pretrained(
        model_folder, dtype=dtype, local_files_only=True, use_safetensors=True, attn_implementation="eager"
    )
    torch.manual_seed(0)
    return with_adapter(base, TrainingTask(model_folder, folder / "rows.jsonl", folder / "out", TRAINING))


def _adapter(model_folder: Path, folder: Path) -> Path:
    """An adapter that changes something."""
    model = _model_with_adapter(model_folder, folder)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    save_adapter(model, folder / "adapter")
    return folder / "adapter"


def _apart(one: Sequence[float], other: Sequence[float]) -> float:
    return max(abs(left - right) for left, right in zip(one, other, strict=True))


if __name__ == "__main__":
    main()
