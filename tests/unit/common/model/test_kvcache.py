"""The renamed cache of transformers' outputs, and one row of it repeated."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from transformers import DynamicCache, MistralConfig
from transformers.cache_utils import DynamicLayer

from veritune.common.model.kvcache import cache_argument, repeated


def test_new_and_old_names() -> None:
    cache = object()
    assert cache_argument({"logits": 1, "cache": cache}) == {"cache": cache}
    assert cache_argument({"logits": 1, "past_key_values": cache}) == {"past_key_values": cache}


def filled(layers: int, config: Any = None) -> DynamicCache:
    cache = DynamicCache(config=config)
    for layer in range(layers):
        cache.update(torch.randn(1, 2, 3, 4), torch.randn(1, 2, 3, 4), layer)
    return cache


def grown(cache: Any, rows: int) -> list[torch.Tensor]:
    """Keys and values of both layers after one more token."""
    torch.manual_seed(1)
    return [
        tensor
        for layer in range(2)
        for tensor in cache.update(torch.randn(rows, 2, 1, 4), torch.randn(rows, 2, 1, 4), layer)
    ]


@pytest.mark.parametrize("config", [None, MistralConfig(num_hidden_layers=2, sliding_window=2)])
def test_a_repeated_row_grows_as_copies_of_it_would(config: Any) -> None:
    cache = filled(2, config)
    copied = copy.deepcopy(cache)
    copied.batch_repeat_interleave(5)
    before = copy.deepcopy(cache)
    made = repeated({"cache": cache}, 5)["cache"]
    assert all(torch.equal(one, other) for one, other in zip(grown(made, 5), grown(copied, 5), strict=True))
    assert made.get_seq_length() == 4
    assert cache.get_seq_length() == 3, "the one row stays as it was"
    assert all(torch.equal(one, other) for one, other in zip(grown(cache, 1), grown(before, 1), strict=True))


def test_a_cache_that_does_not_grow_by_joining_is_copied() -> None:
    class OtherLayer(DynamicLayer):  # type: ignore[misc]  # transformers ships no usable types
        """Whatever a later transformers brings."""

    cache = filled(1)
    cache.layers.append(OtherLayer())
    made = repeated({"cache": cache}, 2)["cache"]
    assert made.layers[0].keys.shape[0] == 2
    assert made.layers[0].keys.data_ptr() != cache.layers[0].keys.data_ptr()


def test_a_layer_without_keys_yet_is_left_without() -> None:
    cache = filled(1)
    cache.layers.append(DynamicLayer())
    made = repeated({"cache": cache}, 2)["cache"]
    assert [layer.get_seq_length() for layer in made.layers] == [3, 0]
