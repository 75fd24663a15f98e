"""The embedded engine runs transformers and PEFT in this process, on a CPU or one GPU.

All torch work runs on one worker thread, in order: batches of answers, scores, loading, unloading. So an adapter
never changes under a request. Waiting requests, for whatever adapters, are decoded together as one batch;
requests that come meanwhile wait for the next. Text is tokenised and detokenised on the event loop.
"""

from __future__ import annotations

import asyncio
import gc
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from veritune.provider.engines.active_adapter import answering_with
from veritune.provider.engines.adapter_files import AdapterFiles, Shapes, linear_shapes, read_adapter
from veritune.provider.engines.adapter_table import AdapterTable
from veritune.provider.engines.base import (
    Delta,
    InferenceEngine,
    InvalidAdapterError,
    Sampling,
    Score,
    UnknownAdapterError,
    check_length,
)
from veritune.provider.engines.batch import BASE, BatchRow, Token, decode
from veritune.provider.engines.scoring import score_ids
from veritune.provider.hardware.precision import pick_precision
from veritune.provider.models.chat import ChatFormat, Message

Dtype = Literal["float32", "bfloat16", "auto"]
_T = TypeVar("_T")

# Rows times positions of one batch, which bounds the memory for cached keys and values.
_MAX_BATCH_POSITIONS = 32_768


@dataclass(frozen=True)
class _Loaded:
    name: str
    digest: str


@dataclass(eq=False)
class _Waiting:
    row: BatchRow
    adapter: str | None
    loaded: _Loaded | None
    queue: asyncio.Queue[Token | BaseException]


class TransformersEngine(InferenceEngine):
    """An `InferenceEngine` over one local model folder and the LoRA adapters that are loaded onto it.

    ``dtype`` ``auto`` is bfloat16 where the device computes in it, else float32. ``threads`` is torch's number of
    threads; None leaves it to torch. ``max_model_len`` is in tokens, by default the model's own limit. At most
    ``max_adapters`` adapters of at most ``max_rank`` are loaded, and ``max_batch`` answers are decoded together.
    """

    def __init__(
        self,
        model_dir: Path,
        *,
        dtype: Dtype = "auto",
        threads: int | None = None,
        max_model_len: int | None = None,
        max_adapters: int = 8,
        max_rank: int = 256,
        max_batch: int = 16,
    ) -> None:
        self._model_dir = model_dir
        self._dtype: Dtype = dtype
        self._threads = threads
        self._max_model_len = max_model_len
        self._max_batch = max_batch
        self._base: Any = None
        self._peft: Any = None  # wraps the base while at least one adapter is loaded
        self._chat: ChatFormat | None = None
        self._pad_id = 0
        self._limit = 0
        self._shapes: Shapes = {}
        self._adapters = AdapterTable[_Loaded](
            max_adapters, lambda folder: read_adapter(folder, self._shapes, max_rank)
        )
        self._names = 0
        self._waiting: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._dispatcher: asyncio.Task[None] | None = None
        self._worker: ThreadPoolExecutor | None = None

    async def start(self) -> None:
        """Loads the base model on the worker thread. Raises `RuntimeError` if that was done before."""
        if self._worker is not None:
            raise RuntimeError("the engine was started before")
        self._worker = ThreadPoolExecutor(1, "inference")
        self._chat = ChatFormat.load(self._model_dir)
        self._pad_id = self._chat.pad_id
        await self._run(self._load_base)
        self._dispatcher = asyncio.create_task(self._dispatch())

    async def stop(self) -> None:
        """Frees the model; answers under way end with a `RuntimeError`, as do later calls."""
        worker, dispatcher = self._worker, self._dispatcher
        if worker is None or self._chat is None:
            return
        self._chat = None
        for waiting in self._waiting:
            waiting.row.cancelled = True
            waiting.queue.put_nowait(RuntimeError("the engine was stopped"))
        self._waiting.clear()
        if dispatcher is not None:
            dispatcher.cancel()
            await asyncio.gather(dispatcher, return_exceptions=True)
        await self._run(self._free)
        worker.shutdown()
        self._adapters.clear()

    def adapters(self) -> frozenset[str]:
        """The ids of the loaded adapters."""
        return self._adapters.ids()

    async def load_adapter(self, adapter: str, folder: Path) -> None:
        """Loads an adapter between two batches, with PEFT.

        Raises `InvalidAdapterError`, `AdapterConflictError` or `AdapterSlotsFullError`; the others answer as before.
        """
        self._ready()
        await self._adapters.load(adapter, folder, self._load)

    async def unload_adapter(self, adapter: str) -> None:
        """Unloads an adapter after the batch under way. Raises `UnknownAdapterError` if it is not loaded."""
        self._ready()
        # Queued on the worker thread, so the batch under way ends first.
        await self._adapters.unload(adapter, lambda loaded: self._run(lambda: self._detach(loaded.name)))

    async def _load(self, files: AdapterFiles) -> _Loaded:
        # PEFT's own names are fresh, so that no caller's id can clash with PEFT's reserved ones.
        self._names += 1
        name = f"a{self._names}"
        await self._run(lambda: self._attach(name, files))
        return _Loaded(name, files.digest)

    def generate(self, messages: Sequence[Message], sampling: Sampling, adapter: str | None) -> AsyncIterator[Delta]:
        """Yields the answer to a chat in pieces; the request joins the next batch, and closing the iterator ends it.

        Raises `UnknownAdapterError`, `PromptTooLongError` or `ChatRefusedError` before any computation.
        """
        chat = self._ready()
        loaded = None if adapter is None else self._adapters.find(adapter)
        prompt = chat.prompt_ids(messages)
        check_length(len(prompt), sampling.max_tokens, self._limit)
        return self._stream(chat, prompt, sampling, adapter, loaded)

    async def score(self, messages: Sequence[Message], completions: Sequence[str], adapter: str | None) -> list[Score]:
        """Log-probabilities of each completion as the answer to the same chat; the prompt is computed once for all.

        Raises as `generate` does, and `UnknownAdapterError` if the adapter was unloaded while the call waited.
        """
        chat = self._ready()
        loaded = None if adapter is None else self._adapters.find(adapter)
        prompt = chat.prompt_ids(messages)
        ids = [chat.completion_ids(completion) for completion in completions]
        if not ids:
            return []
        check_length(len(prompt), max(map(len, ids)), self._limit)
        name = BASE if loaded is None else loaded.name
        scores = await self._run(lambda: self._score(name, prompt, ids))
        return [Score(tuple(logprobs)) for logprobs in scores]

    async def _stream(
        self,
        chat: ChatFormat,
        prompt: list[int],
        sampling: Sampling,
        adapter: str | None,
        loaded: _Loaded | None,
    ) -> AsyncIterator[Delta]:
        queue: asyncio.Queue[Token | BaseException] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def emit(item: Token) -> None:
            loop.call_soon_threadsafe(queue.put_nowait, item)

        row = BatchRow(
            prompt,
            sampling,
            chat.stop_ids,
            emit=emit,
            adapter=BASE if loaded is None else loaded.name,
        )
        self._ready()
        self._waiting.append(_Waiting(row, adapter, loaded, queue))
        self._wake.set()
        text, spent = chat.stream(), 0
        try:
            while True:
                item = await queue.get()
                if isinstance(item, BaseException):
                    raise item
                if item == "stop" or item == "length":
                    yield Delta(text.flush(), item, len(prompt), spent)
                    return
                spent += 1
                piece = text.push([] if item in chat.stop_ids else [item])
                if piece:
                    yield Delta(piece)
        finally:
            row.cancelled = True

    async def _dispatch(self) -> None:
        """Takes waiting requests in their order, as many as fit into one batch, until cancelled."""
        while True:
            await self._wake.wait()
            batch = self._next_batch()
            if not batch:
                self._wake.clear()
                continue
            rows = [waiting.row for waiting in batch]
            work = asyncio.ensure_future(self._run(partial(self._decode, rows)))
            try:
                await asyncio.wait({work})
            except asyncio.CancelledError:
                for row in rows:
                    row.cancelled = True
                await asyncio.wait({work})
                for waiting in batch:
                    waiting.queue.put_nowait(RuntimeError("the engine was stopped"))
                raise
            error = work.exception()
            if error is not None:
                for waiting in batch:
                    waiting.queue.put_nowait(error)

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        longest = 0
        while self._waiting and len(batch) < self._max_batch:
            waiting = self._waiting[0]
            row = waiting.row
            length = max(longest, len(row.prompt) + row.sampling.max_tokens)
            if batch and (len(batch) + 1) * length > _MAX_BATCH_POSITIONS:
                break
            self._waiting.popleft()
            if row.cancelled:
                continue
            try:
                self._adapters.require_still(waiting.adapter, waiting.loaded)
            except UnknownAdapterError as error:
                waiting.queue.put_nowait(error)
                continue
            longest = length
            batch.append(waiting)
        return batch

    async def _run(self, work: Callable[[], _T]) -> _T:
        if self._worker is None:
            raise RuntimeError("the engine is not running")
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)

    def _ready(self) -> ChatFormat:
        if self._chat is None or self._dispatcher is None:
            raise RuntimeError("the engine is not running")
        return self._chat

    # From here on: on the worker thread only.

    def _model(self) -> Any:
        return self._base if self._peft is None else self._peft

    def _load_base(self) -> None:
        import torch
        from transformers import AutoModelForCausalLM, GenerationConfig

        if self._threads is not None:
            torch.set_num_threads(self._threads)
        cuda = torch.cuda.is_available()
        model = AutoModelForCausalLM.from_pretrained(
            self._model_dir,
            dtype=getattr(torch, pick_precision(self._dtype)),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
        )
        # The folder's own settings (penalties, sampling, stop words) must not change what a caller asked for.
        model.generation_config = GenerationConfig()
        self._base = model.to("cuda" if cuda else "cpu").eval()
        self._shapes = linear_shapes(model)
        own = int(model.config.max_position_embeddings)
        self._limit = own if self._max_model_len is None else min(own, self._max_model_len)

    def _free(self) -> None:
        self._base = self._peft = None
        gc.collect()

    def _decode(self, rows: list[BatchRow]) -> None:
        with self._answering([row.adapter for row in rows]) as mixed:
            decode(self._model(), rows, self._pad_id, mixed=mixed)

    def _score(self, name: str, prompt: list[int], completions: list[list[int]]) -> list[list[float]]:
        with self._answering([name]):
            return score_ids(self._model(), prompt, completions)

    def _answering(self, names: list[str]) -> AbstractContextManager[bool]:
        return nullcontext(False) if self._peft is None else answering_with(self._peft, names)

    def _attach(self, name: str, files: AdapterFiles) -> None:
        from peft import LoraConfig, PeftModelForCausalLM

        created = self._peft is None
        try:
            if created:
                config = LoraConfig.from_pretrained(files.folder)
                config.inference_mode = True
                self._peft = PeftModelForCausalLM(self._base, config, adapter_name=name, autocast_adapter_dtype=False)
            report = self._peft.load_adapter(
                files.folder,
                adapter_name=name,
                torch_device=str(self._base.device),
                autocast_adapter_dtype=False,
            )
        except (OSError, RuntimeError, TypeError, ValueError, KeyError) as error:
            if self._peft is not None:
                self._detach(name)
            raise InvalidAdapterError(f"cannot load the adapter: {error}") from error
        self._peft.eval()
        if report.missing_keys or report.unexpected_keys:
            self._detach(name)
            raise InvalidAdapterError("the adapter's tensors do not match its configuration")

    def _detach(self, name: str) -> None:
        others = [known for known in self._peft.peft_config if known != name]
        if others:
            # PEFT's generate looks at the active adapter, though every row names its own.
            self._peft.set_adapter(others[0], inference_mode=True)
            if name in self._peft.peft_config:
                self._peft.delete_adapter(name)
        else:
            self._base = self._peft.unload()
            self._peft = None
        gc.collect()
