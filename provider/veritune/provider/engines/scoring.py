"""Log-probabilities of many answers to one prompt, the prompt computed once."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from veritune.common.model.kvcache import cache_argument

# Bounds one forward pass: cached positions over all rows, and rows times positions that get logits.
_MAX_CACHED = 16_384
_MAX_LOGITS = 1_024


def score_ids(
    model: Any, prompt: Sequence[int], completions: Sequence[Sequence[int]], adapter: str | None
) -> list[list[float]]:
    """Natural-log probability of each token of each completion, in float32; blocks.

    Shapes: ``prompt`` (p,), each completion (c_i,) with c_i >= 1; answers (c_i,). ``adapter`` is a PEFT adapter
    name (or the name of no adapter) in a PEFT model, None in a plain one.
    """
    result: list[list[float]] = [[] for _ in completions]
    with torch.inference_mode():
        tokens = torch.tensor([list(prompt)], device=model.device)
        out = model(input_ids=tokens, use_cache=True, logits_to_keep=1, **_names(adapter, 1))
        first = out.logits[0, -1].float().log_softmax(-1)
        for chunk in _chunks(completions, len(prompt)):
            rows = [completions[index] for index in chunk]
            width = max(map(len, rows)) - 1
            tails = torch.empty(len(rows), 0)
            if width:
                # Padded on the right, where a causal model never looks from the left.
                inputs = torch.zeros(len(rows), width, dtype=torch.long)
                targets = torch.zeros_like(inputs)
                for row, ids in enumerate(rows):
                    inputs[row, : len(ids) - 1] = torch.tensor(ids[:-1])
                    targets[row, : len(ids) - 1] = torch.tensor(ids[1:])
                cache = copy.deepcopy(cache_argument(out))
                for kept in cache.values():
                    kept.batch_repeat_interleave(len(rows))
                logits = model(input_ids=inputs.to(model.device), **cache, **_names(adapter, len(rows))).logits
                logprobs = logits.float().log_softmax(-1)
                tails = logprobs.gather(-1, targets.to(model.device)[..., None])[..., 0].cpu()
            for row, index in enumerate(chunk):
                ids = completions[index]
                result[index] = [float(first[ids[0]]), *tails[row, : len(ids) - 1].tolist()]
    return result


def _names(adapter: str | None, rows: int) -> dict[str, list[str]]:
    return {} if adapter is None else {"adapter_names": [adapter] * rows}


def _chunks(completions: Sequence[Sequence[int]], prompt: int) -> Iterator[list[int]]:
    """Indices of the completions, those of like length together, as many at once as the bounds allow."""
    chunk: list[int] = []
    for index in sorted(range(len(completions)), key=lambda i: len(completions[i])):
        rows, length = len(chunk) + 1, len(completions[index])
        if chunk and (rows * (prompt + length) > _MAX_CACHED or rows * length > _MAX_LOGITS):
            yield chunk
            chunk = []
        chunk.append(index)
    if chunk:
        yield chunk
