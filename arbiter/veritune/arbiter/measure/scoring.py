"""Log-probabilities of many answers to one chat; the prompt that they share is computed once.

Answers of like length are computed in one batch, from copies of the prompt's keys and values. If a prompt begins with
the same tokens as the one before it (the same examples before another question), that beginning isn't computed again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from veritune.common.model.kvcache import cache_argument, repeated

# Bounds one forward pass: cached positions over all rows, and rows times positions that get logits.
MAX_CACHED = 16_384
MAX_LOGITS = 1_024
_SLICE = 32
"""Rows of logits that are normalised together: as many as stay in a processor's cache."""


class PromptBeginning:
    """The keys and values of one prompt's beginning, kept for the next prompt that begins with the same tokens."""

    def __init__(self) -> None:
        self._ids: list[int] = []
        self._cache: dict[str, Any] = {}

    def cache(self, model: Any, ids: Sequence[int]) -> dict[str, Any]:
        """The model's cache argument for a prompt whose first tokens are ``ids``; a model must not write to it."""
        if self._ids != list(ids):
            self._cache = cache_argument(_forward(model, [list(ids)], {}, logits_to_keep=1))
            self._ids = list(ids)
        return self._cache


def score_tails(
    model: Any,
    prompt: Sequence[int],
    tails: Sequence[Sequence[int]],
    beginning: PromptBeginning | None = None,
    length: int = 0,
) -> list[float]:
    """Log-probability (nats) of each of ``tails`` as what follows ``prompt``, summed over its tokens.

    Shapes: ``prompt`` [p], each tail [t] with t >= 1; the result is in the order of ``tails``. Of ``prompt``, the first
    ``length`` tokens are taken from ``beginning``; they must be fewer than p.
    """

    begun = repeated(beginning.cache(model, prompt[:length]), 1) if beginning is not None and length else {}
    head = _forward(model, [list(prompt[length:])], begun, logits_to_keep=1)
    first = head.logits[0, -1].float().log_softmax(-1).cpu()
    totals = [math.nan] * len(tails)
    for chunk in _chunks(tails, len(prompt)):
        rows = [tails[index] for index in chunk]
        sums = _sums(model, repeated(cache_argument(head), len(rows)), rows)
        for total, index in zip(sums, chunk, strict=True):
            totals[index] = float(first[tails[index][0]].double() + total)
    return totals


def _sums(model: Any, cache: dict[str, Any], rows: Sequence[Sequence[int]]) -> list[float]:
    """Each row's summed log-probability (nats) over its tokens but the first."""
    import torch

    lengths = torch.tensor([len(ids) - 1 for ids in rows])
    width = int(lengths.max())
    if not width:
        return [0.0] * len(rows)
    # Padded on the right, where a causal model never looks from the left; padding gets no logits.
    inputs = [[*ids[:-1], *([0] * (width - len(ids) + 1))] for ids in rows]
    real = torch.arange(width)[None, :] < lengths[:, None]
    logits = _forward(model, inputs, cache, logits_to_keep=real.to(model.device)).logits
    targets = torch.tensor([token for ids in rows for token in ids[1:]], device=model.device)
    picked = torch.cat(
        [
            part.float().log_softmax(-1).gather(-1, wanted[:, None])[:, 0]
            for part, wanted in zip(torch.split(logits, _SLICE), torch.split(targets, _SLICE), strict=True)
        ]
    )
    return [float(row.double().sum()) for row in torch.split(picked.cpu(), lengths.tolist())]


def _forward(model: Any, ids: Sequence[Sequence[int]], cache: dict[str, Any], logits_to_keep: Any) -> Any:
    import torch

    inputs = torch.tensor(ids, device=model.device)
    return model(input_ids=inputs, use_cache=True, logits_to_keep=logits_to_keep, **cache)


def _chunks(tails: Sequence[Sequence[int]], prompt: int) -> Iterator[list[int]]:
    """Yields the indices of answers of like length, as many at once as the bounds allow."""
    chunk: list[int] = []
    for index in sorted(range(len(tails)), key=lambda i: len(tails[i])):
        rows, length = len(chunk) + 1, len(tails[index])
        if chunk and (rows * (prompt + length) > MAX_CACHED or rows * length > MAX_LOGITS):
            yield chunk
            chunk = []
        chunk.append(index)
    if chunk:
        yield chunk
