"""Sampling many answers to many prompts in one batch, fast on a CPU: shared prefixes are computed once.

All prompts begin with the same examples, and all answers to one prompt begin with that prompt. So the keys and
values of the examples are computed once, and so are those of each prompt. A step feeds one token of every unfinished
answer of a prompt as further positions of one sequence, under a mask that lets an answer see its prompt and itself
alone. With one sequence for each answer, a step would read many times as much memory.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from transformers import AttentionInterface, DynamicCache

from veritune.client.randomness import SecretStream
from veritune.common.errors import PlanError
from veritune.common.model.kvcache import cache_argument, cache_name

_ATTENTION = "veritune_grouped"
_FULL, _SLIDING = "full_attention", "sliding_attention"  # kinds of layers, as transformers names them
_PROMPT, _NOBODY = -1, -2  # owners of a position that belongs to none of the answers 0, 1, 2 ...


def sample_answers(
    model: Any,
    prompts: Sequence[Sequence[int]],
    counts: Sequence[int],
    max_tokens: int,
    streams: Sequence[SecretStream],
    temperature: float,
    top_k: int,
    stop: frozenset[int],
    banned: frozenset[int],
    on_step: Callable[[int], None],
) -> list[list[list[int]]]:
    """Token ids of ``counts[i]`` sampled answers to prompt i; an answer that ended has its stop token last.

    ``prompts`` are token ids. Each token is one of the ``top_k`` likeliest that are not ``banned``. The number that
    decides a token comes from the prompt's stream: 53 bits for each answer and step, whether they are used or not.
    ``on_step`` is called with the number of steps done.

    Raises `PlanError` for a model whose attention can't be computed here.
    """
    state = _State(model, prompts)
    width = max(counts)
    numbers = torch.from_numpy(np.stack([_uniform(stream, (max_tokens, width)) for stream in streams]))
    tokens: list[list[list[int]]] = [[[] for _ in range(count)] for count in counts]
    mask = torch.zeros(model.config.vocab_size)
    mask[sorted(banned)] = -torch.inf
    with torch.inference_mode(), _grouped(model):
        first = state.prefill()
        logits, active = first[:, None].expand(-1, width, -1), [list(range(count)) for count in counts]
        for step in range(max_tokens):
            drawn = _draw(logits, mask, temperature, min(top_k, logits.shape[-1]), _numbers(numbers, active, step))
            for row, answers in enumerate(active):
                for place, answer in enumerate(answers):
                    tokens[row][answer].append(int(drawn[row, place]))
                active[row] = [answer for answer in answers if tokens[row][answer][-1] not in stop]
            on_step(step + 1)
            if step + 1 == max_tokens or not any(active):
                break
            logits = state.feed(active, tokens, step)
    return tokens


class _State:
    """The model's cache, and the owner of each position of the cache: a tensor of shape (prompts, positions)."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]]) -> None:
        self._model = model
        # At least one token of each prompt is not shared, so that the prompt has logits of its own.
        self._shared = min(_shared_length(prompts), min(map(len, prompts)) - 1)
        self._prompts = prompts
        self._lengths = torch.tensor([len(prompt) for prompt in prompts])
        self._owner = torch.full((len(prompts), self._shared), _PROMPT)
        # All layers get a cache that keeps all positions; for layers with a window, a mask hides what is too far away.
        self._cache = {cache_name(inspect.signature(model.forward).parameters): DynamicCache()}
        kinds = getattr(model.config, "layer_types", None) or ()
        self._window: int = model.config.sliding_window if _SLIDING in kinds else 0
        self._place = torch.empty((1, 0), dtype=torch.long)

    def prefill(self) -> torch.Tensor:
        """Feeds the prompts and returns the logits of each one's next token, of shape (prompts, vocabulary)."""
        rests = [list(prompt[self._shared :]) for prompt in self._prompts]
        width = max(map(len, rests))
        if self._shared:
            ids = torch.tensor([list(self._prompts[0][: self._shared])])
            place = torch.arange(self._shared)
            self._run(ids, place[None], (place[None, :] <= place[:, None])[None], place)
            for kept in self._cache.values():
                kept.batch_repeat_interleave(len(rests))
        ids = torch.tensor([[0] * (width - len(rest)) + rest for rest in rests])
        lead = torch.tensor([width - len(rest) for rest in rests])[:, None]
        column = torch.arange(width)[None]
        owner = torch.where(column >= lead, _PROMPT, _NOBODY)
        self._owner = torch.cat([self._owner, owner], dim=1)
        place = torch.arange(self._owner.shape[1])
        own = self._shared + torch.arange(width)
        visible = (self._owner == _PROMPT)[:, None, :] & (place[None, :] <= own[:, None])[None]
        positions = (self._shared + column - lead).clamp(min=0)
        return self._run(ids, positions, visible, own)[:, -1]

    def feed(
        self, active: Sequence[Sequence[int]], tokens: Sequence[Sequence[Sequence[int]]], step: int
    ) -> torch.Tensor:
        """Feeds each active answer's last token and returns the logits of the next ones.

        Their shape is (prompts, width, vocabulary), where width is the largest number of active answers of a prompt.
        """
        width = max(map(len, active))
        pad = [[_NOBODY] * (width - len(answers)) for answers in active]
        owner = torch.tensor([[*answers, *rest] for answers, rest in zip(active, pad, strict=True)])
        ids = torch.tensor(
            [
                [*(tokens[row][answer][-1] for answer in answers), *([0] * (width - len(answers)))]
                for row, answers in enumerate(active)
            ]
        )
        before = self._owner.shape[1]
        self._owner = torch.cat([self._owner, owner], dim=1)
        visible = (self._owner == _PROMPT)[:, None, :] | (self._owner[:, None, :] == owner[:, :, None])
        positions = (self._lengths + step)[:, None].expand(-1, width)
        return self._run(ids, positions, visible, before + torch.arange(width), keep=width)

    def _run(
        self, ids: torch.Tensor, positions: torch.Tensor, visible: torch.Tensor, own: torch.Tensor, keep: int = 1
    ) -> torch.Tensor:
        # A padded position sees at least itself: a softmax over no positions would be NaN and spread.
        visible[:, torch.arange(len(own)), own] = True
        device = self._model.device
        self._place = torch.cat([self._place.expand(len(positions), -1), positions], dim=1)
        mask: Any = self._added(visible)
        if self._window:
            near = positions[:, :, None] - self._place[:, None, :] < self._window
            mask = {_FULL: mask, _SLIDING: self._added(visible & near)}
        output = self._model(
            input_ids=ids.to(device),
            position_ids=positions.to(device),
            attention_mask=mask,
            **self._cache,
            use_cache=True,
            logits_to_keep=keep,
        )
        self._cache = cache_argument(output)
        logits: torch.Tensor = output.logits.cpu()
        return logits

    def _added(self, visible: torch.Tensor) -> torch.Tensor:
        """A mask to add to attention scores, 0 or -inf; a Boolean mask would be converted again in every layer."""
        mask = torch.zeros(visible.shape, dtype=self._model.dtype).masked_fill_(~visible, -torch.inf)
        return mask[:, None].to(self._model.device)


@contextmanager
def _grouped(model: Any) -> Iterator[None]:
    """Switches the model to `_grouped_attention` inside the ``with`` block."""
    before = model.config._attn_implementation
    AttentionInterface.register(_ATTENTION, _grouped_attention)
    model.set_attn_implementation(_ATTENTION)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def _grouped_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Grouped-query attention with an additive mask; the result has shape (batch, queries, heads, size).

    ``query`` has shape (batch, heads, queries, size); keys and values have fewer heads. Heads that share keys are
    folded into the queries. On a CPU this takes less than half the time of torch's own function, for which
    transformers first copies every key and value once for each head that shares it.
    """
    if attention_mask is None or kwargs.get("softcap") is not None:
        raise PlanError("the generator's model attends in a way that drawing candidates does not know")
    batch, heads, queries, size = query.shape
    folded = query.reshape(batch, key.shape[1], -1, size) * (size**-0.5 if scaling is None else scaling)
    scores = (folded @ key.transpose(-1, -2)).view(batch, key.shape[1], -1, queries, key.shape[2])
    weights = (scores + attention_mask[:, :, None]).softmax(-1, dtype=torch.float32).to(query.dtype)
    mixed = weights.view(batch, key.shape[1], -1, key.shape[2]) @ value
    return mixed.view(batch, heads, queries, size).transpose(1, 2).contiguous(), None


def _shared_length(prompts: Sequence[Sequence[int]]) -> int:
    """The number of leading tokens that all prompts share, which is what the least and the greatest of them share."""
    least, greatest = min(map(list, prompts)), max(map(list, prompts))
    return next((i for i, (a, b) in enumerate(zip(least, greatest, strict=False)) if a != b), len(least))


def _draw(logits: torch.Tensor, mask: torch.Tensor, temperature: float, k: int, numbers: torch.Tensor) -> torch.Tensor:
    """Token ids drawn among the k likeliest by inverse CDF, of shape (prompts, answers)."""
    values, ids = (logits.float() + mask).topk(k, dim=-1)
    cumulative = (values / temperature).softmax(-1).double().cumsum(-1)
    place = torch.searchsorted(cumulative, (numbers * cumulative[..., -1])[..., None], right=True).clamp(max=k - 1)
    return ids.gather(-1, place)[..., 0]


def _numbers(numbers: torch.Tensor, active: Sequence[Sequence[int]], step: int) -> torch.Tensor:
    """The random numbers of the active answers at one step, of shape (prompts, width) and padded.

    ``numbers`` has shape (prompts, steps, answers).
    """
    width = max(map(len, active))
    index = torch.tensor([[*answers, *([0] * (width - len(answers)))] for answers in active])
    return numbers[:, step].gather(1, index)


def _uniform(stream: SecretStream, shape: tuple[int, int]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Uniform random numbers in [0, 1), multiples of 2**-53, in an array of this shape."""
    raw = np.frombuffer(stream.bytes(8 * shape[0] * shape[1]), dtype=">u8")
    return ((raw >> np.uint64(11)).astype(np.float64) * 2.0**-53).reshape(shape)
