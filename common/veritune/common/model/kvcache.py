"""Under which name a transformers model takes and gives its keys and values: ``past_key_values``, later ``cache``."""

from __future__ import annotations

from collections.abc import Container
from typing import Any


def cache_name(known: Container[str]) -> str:
    """The name among those of an output, or of the parameters of a model's ``forward``."""
    return "cache" if "cache" in known else "past_key_values"


def cache_argument(output: Any) -> dict[str, Any]:
    """The keyword argument that carries a model output's keys and values into the next call."""
    name = cache_name(output.keys())  # `in output` would map old names
    return {name: output[name]}
