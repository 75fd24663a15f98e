"""The key-value cache of a transformers model: the name under which the model takes it, and one row copied to many.

The name is ``past_key_values``, later ``cache``.
"""

from __future__ import annotations

import copy
from collections.abc import Container
from typing import Any

_GROWING = frozenset({"DynamicLayer", "DynamicSlidingWindowLayer"})


def cache_name(known: Container[str]) -> str:
    """The cache's name among ``known``, the keys of a model output or the parameters of ``forward``."""
    return "cache" if "cache" in known else "past_key_values"


def cache_argument(output: Any) -> dict[str, Any]:
    """The keyword argument that passes a model output's key-value cache to the next forward call."""
    name = cache_name(output.keys())  # `in output` would map old names
    return {name: output[name]}


def repeated(argument: dict[str, Any], rows: int) -> dict[str, Any]:
    """The argument of `cache_argument` for ``rows`` rows that all begin as its one row; itself it stays as it is.

    Layers that grow by joining new tensors, as transformers' dynamic ones do, share the one row's memory until they
    grow; every other kind is copied whole.
    """
    return {name: _repeated(cache, rows) for name, cache in argument.items()}


def _kind(value: Any) -> str:
    """The name of a class of transformers' own, which this module must not import; else nothing."""
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "transformers.cache_utils" else ""


def _repeated(cache: Any, rows: int) -> Any:
    if _kind(cache) != "DynamicCache" or any(_kind(layer) not in _GROWING for layer in cache.layers):
        whole = copy.deepcopy(cache)
        whole.batch_repeat_interleave(rows)
        return whole
    shared = copy.copy(cache)
    shared.layers = [copy.copy(layer) for layer in cache.layers]
    for layer in shared.layers:
        if layer.get_seq_length():
            layer.keys = layer.keys.expand(rows, -1, -1, -1)
            layer.values = layer.values.expand(rows, -1, -1, -1)
    return shared
