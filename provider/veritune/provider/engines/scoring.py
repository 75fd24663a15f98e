"""Log-probabilities of the tokens of many answers to one prompt; the prompt is computed once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from veritune.common.model.kvcache import cache_argument, repeated

# Bounds one forward pass: cached positions over all rows, and rows times positions that get logits.
_MAX_CACHED = 16_384
_MAX_LOGITS = 1_024
_SLICE = 32
"""Rows of logits that are normalised together: as many as stay in a processor's cache."""


def score_ids(model: Any, prompt: Sequence[int], completions: Sequence[Sequence[int]]) -> list[list[float]]:
    """Log-probability (nats, float32) of each token of each completion as what follows ``prompt``; blocks.

    Shapes: ``prompt`` [p], each completion [c] with c >= 1; the result has [c] for each, in the order given. A PEFT
    model computes with the adapter that is active in it.
    """
    result: list[list[float]] = [[] for _ in completions]
    with torch.inference_mode():
        tokens = torch.tensor([list(prompt)], device=model.device)
        out = model(input_ids=tokens, use_cache=True, logits_to_keep=1)
        first = out.logits[0, -1].float().log_softmax(-1).cpu()
        for chunk in _chunks(completions, len(prompt)):
            rows = [completions[index] for index in chunk]
            tails = _tails(model, repeated(cache_argument(out), len(rows)), rows)
            for index, tail in zip(chunk, tails, strict=True):
                result[index] = [float(first[completions[index][0]]), *tail]
    return result


def _tails(model: Any, cache: dict[str, Any], rows: Sequence[Sequence[int]]) -> list[list[float]]:
    """Log-probabilities of each row's tokens but the first; ``cache`` holds the prompt's keys and values."""
    width = max(map(len, rows)) - 1
    if not width:
        return [[] for _ in rows]
    # Padded on the right, where a causal model never looks from the left. Padding gets no logits: a vocabulary is wide.
    inputs = torch.zeros(len(rows), width, dtype=torch.long)
    keep = torch.zeros(len(rows), width, dtype=torch.bool)
    for row, ids in enumerate(rows):
        inputs[row, : len(ids) - 1] = torch.tensor(ids[:-1])
        keep[row, : len(ids) - 1] = True
    output = model(input_ids=inputs.to(model.device), logits_to_keep=keep.to(model.device), use_cache=True, **cache)
    following = torch.tensor([token for ids in rows for token in ids[1:]], device=model.device)
    parts = zip(torch.split(output.logits, _SLICE), torch.split(following, _SLICE), strict=True)
    flat = torch.cat([logits.float().log_softmax(-1).gather(-1, ids[:, None])[:, 0] for logits, ids in parts])
    return [part.tolist() for part in torch.split(flat.cpu(), [len(ids) - 1 for ids in rows])]


def _chunks(completions: Sequence[Sequence[int]], prompt: int) -> Iterator[list[int]]:
    """Yields the indices of completions of like length, as many at once as the bounds allow."""
    chunk: list[int] = []
    for index in sorted(range(len(completions)), key=lambda i: len(completions[i])):
        rows, length = len(chunk) + 1, len(completions[index])
        if chunk and (rows * (prompt + length) > _MAX_CACHED or rows * length > _MAX_LOGITS):
            yield chunk
            chunk = []
        chunk.append(index)
    if chunk:
        yield chunk
