"""The name of the key-value cache of a transformers model: ``past_key_values``, later ``cache``."""

from __future__ import annotations

from collections.abc import Container
from typing import Any


def cache_name(known: Container[str]) -> str:
    """The cache's name among ``known``, the keys of a model output or the parameters of ``forward``."""
    return "cache" if "cache" in known else "past_key_values"


def cache_argument(output: Any) -> dict[str, Any]:
    """The keyword argument that passes a model output's key-value cache to the next forward call."""
    name = cache_name(output.keys())  # `in output` would map old names
    return {name: output[name]}
