"""The serving engine: vLLM's AsyncLLM with LoRA adapters that come and go at run time.

vLLM batches by itself. What this module adds is care where vLLM is known to answer wrongly without an error:

- On a CPU a row without an adapter reads the last LoRA slot. So there is one slot more than adapters are ever
  loaded, and it stays empty.
- `add_lora` keeps the old weights for a number that it knows, and the prefix cache keys on the adapter's name. So
  every load gets a number and a name that were never used.
- An adapter may be reported as loaded and not be applied. So each load ends with a preflight: one mixed batch of a
  fixed probe over the base and all adapters, compared with what each of them answered before.
- With LoRA on the output layer, asking for a prompt's log-probabilities kills the engine. So LoRA is switched on for
  the layers that adapters may have, and no others.
- A request under way makes vLLM load its adapter again. So an adapter is unloaded when its last answer is done.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Literal

from veritune.provider.engines.adapter_files import AdapterFiles, Shapes, linear_shapes, read_adapter
from veritune.provider.engines.adapter_table import AdapterTable
from veritune.provider.engines.base import (
    Delta,
    InferenceEngine,
    InvalidAdapterError,
    Sampling,
    Score,
    check_length,
)
from veritune.provider.models.chat import ChatFormat, Message

_PROBE: Sequence[Message] = (("user", "Name three colours and count from one to ten."),)
_PROBE_ANSWER = "Red, green, blue; 1, 2, 3, 4, 5, 6, 7, 8, 9, 10. The quick brown fox jumps over the lazy dog."

# Largest differences of a probe token's log-probability: up to `same`, two runs of one set of weights;
# not above `alike`, a sign that another set of weights answered than the one asked for. In bfloat16
# rounding moves with the batch, so only equality to the last bit is a sign.
_SAME = {"float32": 1e-3, "bfloat16": 0.25}
_ALIKE = {"float32": 1e-4, "bfloat16": 0.0}


@dataclass(eq=False)
class _Loaded:
    """A loaded adapter: vLLM's request for it, its answer to the probe, and how many calls use it."""

    request: Any  # vllm.lora.request.LoRARequest
    digest: str
    probe: tuple[float, ...] = ()
    users: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)


class VllmEngine(InferenceEngine):
    """Serves one local model folder and LoRA adapters over it through vLLM, in a process that vLLM starts.

    ``dtype`` auto is bfloat16 on a GPU, float32 on a CPU. ``threads`` and ``kv_cache_gib`` matter on a CPU only:
    by default vLLM keeps one core back. ``max_rank`` must be one that vLLM knows (8, 16, 32, 64, 128, ...);
    adapters of lower rank are padded to it. The program's entry point needs the ``if __name__ == "__main__"`` guard.
    """

    def __init__(
        self,
        model_dir: Path,
        *,
        dtype: Literal["float32", "bfloat16", "auto"] = "auto",
        threads: int | None = None,
        max_model_len: int | None = None,
        max_adapters: int = 8,
        max_rank: int = 32,
        max_batch: int = 32,
        kv_cache_gib: int = 1,
    ) -> None:
        self._model_dir = model_dir
        self._dtype = dtype
        self._threads = threads
        self._max_model_len = max_model_len
        self._max_adapters = max_adapters
        self._max_rank = max_rank
        self._max_batch = max_batch
        self._kv_cache_gib = kv_cache_gib
        self._engine: Any = None
        self._chat: ChatFormat | None = None
        self._limit = 0
        self._shapes: Shapes = {}
        self._adapters = AdapterTable[_Loaded](
            max_adapters, lambda folder: read_adapter(folder, self._shapes, max_rank)
        )
        self._base_probe: tuple[float, ...] = ()
        self._numbers = count(1)

    async def start(self) -> None:
        """Starts vLLM's process and loads the base model. Raises `RuntimeError` if that was done before."""
        if self._engine is not None:
            raise RuntimeError("the engine was started before")
        self._set_environment()
        from vllm import AsyncEngineArgs
        from vllm.platforms import current_platform
        from vllm.v1.engine.async_llm import AsyncLLM

        on_cpu = current_platform.is_cpu()
        if self._dtype == "auto":
            self._dtype = "float32" if on_cpu else "bfloat16"
        self._chat = ChatFormat.load(self._model_dir)
        await asyncio.to_thread(self._read_config)
        args = AsyncEngineArgs(
            model=str(self._model_dir),
            dtype=self._dtype,
            max_model_len=self._limit,
            max_num_seqs=self._max_batch,
            enforce_eager=on_cpu,
            enable_lora=True,
            max_loras=self._max_adapters + 1,
            max_lora_rank=self._max_rank,
            lora_target_modules=sorted({name.rpartition(".")[2] for name in self._shapes}),
            generation_config="vllm",  # not the folder's penalties and temperatures
            disable_log_stats=True,
            trust_remote_code=False,
            seed=0,
        )
        self._engine = await asyncio.to_thread(AsyncLLM.from_engine_args, args)
        # Also the warm-up: the first request is slow.
        self._base_probe = await self._probe(None)

    async def stop(self) -> None:
        """Ends vLLM's process; later calls raise `RuntimeError`."""
        engine, self._engine, self._chat = self._engine, None, None
        self._adapters.clear()
        if engine is not None:
            await asyncio.to_thread(engine.shutdown)

    def adapters(self) -> frozenset[str]:
        """The ids of the loaded adapters."""
        return self._adapters.ids()

    async def load_adapter(self, adapter: str, folder: Path) -> None:
        """Loads an adapter under a new vLLM number and checks that it is applied.

        Raises as `InferenceEngine.load_adapter` does, and `RuntimeError` if other answers have changed.
        """
        self._ready()
        await self._adapters.load(adapter, folder, self._load)

    async def unload_adapter(self, adapter: str) -> None:
        """Unloads an adapter after its last answer. Raises `UnknownAdapterError` if it is not loaded."""
        self._ready()
        await self._adapters.unload(adapter, self._unload)

    async def _load(self, files: AdapterFiles) -> _Loaded:
        from vllm.lora.request import LoRARequest

        number = next(self._numbers)
        request = LoRARequest(f"adapter-{number}", number, str(files.folder))
        loaded = _Loaded(request, files.digest)
        try:
            await self._engine.add_lora(request)
            await self._preflight(loaded, is_zero=files.is_zero)
        except BaseException as error:
            await self._engine.remove_lora(number)
            # What fails in vLLM's own process comes back as a plain Exception.
            if type(error) is Exception:
                raise InvalidAdapterError(f"vLLM cannot load the adapter: {error}") from error
            raise
        return loaded

    async def _unload(self, loaded: _Loaded) -> None:
        while loaded.users:
            loaded.idle.clear()
            await loaded.idle.wait()
        await self._engine.remove_lora(loaded.request.lora_int_id)

    def generate(self, messages: Sequence[Message], sampling: Sampling, adapter: str | None) -> AsyncIterator[Delta]:
        """Yields the answer to a chat in pieces; closing the iterator aborts vLLM's request.

        Raises as `InferenceEngine.generate` does.
        """
        chat = self._ready()
        loaded = None if adapter is None else self._adapters.find(adapter)
        prompt = chat.prompt_ids(messages)
        check_length(len(prompt), sampling.max_tokens, self._limit)
        return self._stream(chat, prompt, sampling, adapter, loaded)

    async def score(self, messages: Sequence[Message], completions: Sequence[str], adapter: str | None) -> list[Score]:
        """Log-probabilities of each completion, computed by vLLM as those of a prompt, all at the same time.

        Raises as `InferenceEngine.score` does; one token of the context stays free, which vLLM always decodes.
        """
        chat = self._ready()
        loaded = None if adapter is None else self._adapters.find(adapter)
        prompt = chat.prompt_ids(messages)
        ids = [chat.completion_ids(completion) for completion in completions]
        # vLLM always decodes one token more.
        check_length(len(prompt), max(map(len, ids), default=0) + 1, self._limit)
        with _using(loaded):
            logprobs = await asyncio.gather(*(self._logprobs(prompt, answer, loaded) for answer in ids))
        return [Score(row) for row in logprobs]

    async def _stream(
        self,
        chat: ChatFormat,
        prompt: list[int],
        sampling: Sampling,
        adapter: str | None,
        loaded: _Loaded | None,
    ) -> AsyncIterator[Delta]:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        self._ready()
        self._adapters.require_still(adapter, loaded)
        params = SamplingParams(
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=sampling.seed if sampling.temperature > 0 else None,
            stop_token_ids=sorted(chat.stop_ids),
            ignore_eos=True,  # the same stop tokens as the other engine, no more
            detokenize=False,
            output_kind=RequestOutputKind.DELTA,
        )
        text, spent = chat.stream(), 0
        with _using(loaded):
            # Closing the inner generator is what aborts the request in vLLM.
            async with aclosing(self._submit(prompt, params, loaded)) as outputs:
                async for output in outputs:
                    answer = output.outputs[0]
                    spent += len(answer.token_ids)
                    piece = text.push(token for token in answer.token_ids if token not in chat.stop_ids)
                    if piece:
                        yield Delta(piece)
                    if output.finished:
                        if answer.finish_reason not in ("stop", "length"):
                            raise RuntimeError(f"vLLM ended an answer early: {answer.finish_reason}")
                        yield Delta(text.flush(), answer.finish_reason, len(prompt), spent)
                        return
        raise RuntimeError("vLLM ended an answer without a reason")

    async def _logprobs(
        self, prompt: Sequence[int], answer: Sequence[int], loaded: _Loaded | None
    ) -> tuple[float, ...]:
        from vllm import SamplingParams

        params = SamplingParams(max_tokens=1, temperature=0, prompt_logprobs=0, detokenize=False)
        rows: list[Any] = []
        async with aclosing(self._submit([*prompt, *answer], params, loaded)) as outputs:
            async for output in outputs:
                rows = output.prompt_logprobs or rows
        if len(rows) != len(prompt) + len(answer):
            raise RuntimeError("vLLM answered with another number of log-probabilities than tokens")
        return tuple(float(row[token].logprob) for row, token in zip(rows[len(prompt) :], answer, strict=True))

    def _submit(self, ids: list[int], params: Any, loaded: _Loaded | None) -> Any:
        return self._engine.generate(
            {"prompt_token_ids": ids},
            params,
            request_id=f"request-{next(self._numbers)}",
            lora_request=None if loaded is None else loaded.request,
        )

    async def _probe(self, loaded: _Loaded | None) -> tuple[float, ...]:
        chat = self._ready()
        room = self._limit - 1
        prompt = chat.prompt_ids(_PROBE)[: room // 2]
        return await self._logprobs(prompt, chat.completion_ids(_PROBE_ANSWER)[: room - len(prompt)], loaded)

    async def _preflight(self, new: _Loaded, *, is_zero: bool) -> None:
        """Checks in one mixed batch that the new adapter is applied and nothing else has changed.

        Raises `InvalidAdapterError` if it is not applied, `RuntimeError` if other answers have changed.
        """
        if new.request.lora_int_id not in await self._engine.list_loras():
            raise InvalidAdapterError("vLLM did not keep the adapter")
        others = self._adapters.loaded()
        base, probe, *rest = await asyncio.gather(*(self._probe(row) for row in (None, new, *others)))
        same, alike = _SAME[self._dtype], _ALIKE[self._dtype]
        if _distance(base, self._base_probe) > same:
            raise RuntimeError("the base model answers differently since this adapter was loaded")
        for other, answered in zip(others, rest, strict=True):
            if _distance(answered, other.probe) > same:
                raise RuntimeError("another adapter answers differently since this adapter was loaded")
            if other.digest != new.digest and not is_zero and _distance(probe, answered) <= alike:
                raise InvalidAdapterError("the adapter answers as another adapter does")
        if not is_zero and _distance(probe, base) <= alike:
            raise InvalidAdapterError("the adapter answers as the base model does")
        new.probe = probe

    def _ready(self) -> ChatFormat:
        if self._chat is None or self._engine is None:
            raise RuntimeError("the engine is not running")
        return self._chat

    def _set_environment(self) -> None:
        """Sets the environment variables that vLLM reads; those that the operator has set are kept."""
        wanted = {
            "HF_HUB_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "VLLM_LOGGING_LEVEL": "WARNING",
            "VLLM_CPU_KVCACHE_SPACE": str(self._kv_cache_gib),
            "OMP_WAIT_POLICY": "passive",
        }
        if self._threads is not None:
            cores = sorted(os.sched_getaffinity(0))[: self._threads]
            wanted["VLLM_CPU_OMP_THREADS_BIND"] = ",".join(map(str, cores))
        for name, value in wanted.items():
            os.environ.setdefault(name, value)

    def _read_config(self) -> None:
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM

        config = AutoConfig.from_pretrained(self._model_dir, local_files_only=True, trust_remote_code=False)
        with torch.device("meta"):
            self._shapes = linear_shapes(AutoModelForCausalLM.from_config(config))
        own = int(config.max_position_embeddings)
        self._limit = own if self._max_model_len is None else min(own, self._max_model_len)


@contextmanager
def _using(loaded: _Loaded | None) -> Iterator[None]:
    """Keeps an adapter from being unloaded while it answers."""
    if loaded is None:
        yield
        return
    loaded.users += 1
    try:
        yield
    finally:
        loaded.users -= 1
        if not loaded.users:
            loaded.idle.set()


def _distance(left: Sequence[float], right: Sequence[float]) -> float:
    """Largest absolute difference of two probes' log-probabilities; infinite if one of them is not finite."""
    gaps = [abs(a - b) for a, b in zip(left, right, strict=True)]
    return max(gaps) if all(map(math.isfinite, gaps)) else math.inf
