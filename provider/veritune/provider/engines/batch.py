"""Decodes one batch of answers with a transformers model; its rows may differ in adapter, limits and seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from veritune.provider.engines.base import Sampling

BASE = "__base__"
"""The name by which PEFT marks a row without an adapter in a mixed batch."""

Token = int | Literal["stop", "length"]
"""A token id, or why an answer ended."""


@dataclass(eq=False)
class BatchRow:
    """One answer of a batch: its prompt (token ids), how to sample it, and where its tokens go.

    ``emit`` is called from the thread that decodes: with each token id, and at the end with the reason.
    ``cancelled`` may be set from any thread; the row ends at the next token.
    """

    prompt: Sequence[int]
    sampling: Sampling
    stop_ids: frozenset[int]
    emit: Callable[[Token], None]
    adapter: str = BASE
    cancelled: bool = False
    finished: bool = False
    _count: int = 0
    _generator: torch.Generator | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if self.sampling.temperature > 0:
            # On the CPU whatever the model runs on, so that the draws do not depend on the device.
            self._generator = torch.Generator().manual_seed(self.sampling.seed)
            self._warpers = LogitsProcessorList([TemperatureLogitsWarper(self.sampling.temperature)])
            if self.sampling.top_p < 1:
                self._warpers.append(TopPLogitsWarper(self.sampling.top_p))

    def choose(self, logits: torch.Tensor) -> int | None:
        """The next token, drawn from ``logits`` of shape [vocabulary]; None means the likeliest one."""
        if self._generator is None or self.finished:
            return None
        warped = self._warpers(None, logits[None].float().cpu())
        return int(torch.multinomial(warped.softmax(-1)[0], 1, generator=self._generator))

    def advance(self, token: int) -> None:
        """Emits the token that was decoded for this row, and ends the row at a stop token, its limit or a cancel."""
        if self.finished:
            return
        self._count += 1
        if self.cancelled:
            self.finished = True
            return
        self.emit(token)
        if token in self.stop_ids:
            self.finished = True
            self.emit("stop")
        elif self._count >= self.sampling.max_tokens:
            self.finished = True
            self.emit("length")


class _Draw(LogitsProcessor):  # type: ignore[misc]  # transformers ships no usable types
    """Puts each sampled row's own draw first, so that one greedy step serves greedy and sampled rows alike."""

    def __init__(self, rows: Sequence[BatchRow]) -> None:
        self._rows = rows

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        for index, row in enumerate(self._rows):
            token = row.choose(scores[index])
            if token is not None:
                scores[index] = -torch.inf
                scores[index, token] = 0
        return scores


class _Progress(StoppingCriteria):  # type: ignore[misc]  # transformers ships no usable types
    """Hands every new token to its row and tells which rows are done."""

    def __init__(self, rows: Sequence[BatchRow]) -> None:
        self._rows = rows

    def __call__(self, input_ids: torch.Tensor, scores: object, **_: object) -> torch.Tensor:
        for row, token in zip(self._rows, input_ids[:, -1].tolist(), strict=True):
            row.advance(token)
        return torch.tensor([row.finished for row in self._rows], device=input_ids.device)


def decode(model: Any, rows: Sequence[BatchRow], pad_id: int, *, mixed: bool) -> None:
    """Decodes the rows together and blocks until each has ended; tokens go to each row's ``emit``.

    ``pad_id`` fills prompts on the left. ``mixed``: ``model`` is a PEFT model that answers each row with its adapter.
    """
    width = max(len(row.prompt) for row in rows)
    # Padded on the left, so that every row's next token is in the same column.
    ids = torch.full((len(rows), width), pad_id, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, width - len(row.prompt) :] = torch.tensor(row.prompt)
        mask[index, width - len(row.prompt) :] = 1
    with torch.inference_mode():
        model.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            generation_config=GenerationConfig(
                do_sample=False,
                max_new_tokens=max(row.sampling.max_tokens for row in rows),
                pad_token_id=pad_id,
                use_cache=True,
            ),
            logits_processor=LogitsProcessorList([_Draw(rows)]),
            stopping_criteria=StoppingCriteriaList([_Progress(rows)]),
            **({"adapter_names": [row.adapter for row in rows]} if mixed else {}),
        )
