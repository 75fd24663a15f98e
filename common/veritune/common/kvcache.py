"""Under which name a transformers model takes and gives its keys and values: ``past_key_values``, later ``cache``."""

from __future__ import annotations

from typing import Any


def cache_argument(output: Any) -> dict[str, Any]:
    """The keyword argument that carries a model output's keys and values into the next call."""
    name = "cache" if "cache" in output.keys() else "past_key_values"  # noqa: SIM118 - `in output` maps old names
    return {name: output[name]}
