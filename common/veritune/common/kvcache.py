"""Under which name a transformers model takes and gives its keys and values: ``past_key_values``, later ``cache``."""

from __future__ import annotations

import inspect
from typing import Any


def cache_argument(output: Any) -> dict[str, Any]:
    """The keyword argument that carries a model output's keys and values into the next call."""
    name = "cache" if "cache" in output.keys() else "past_key_values"  # noqa: SIM118 - `in output` maps old names
    return {name: output[name]}


def empty_cache(model: Any) -> dict[str, Any]:
    """The keyword argument for a first call whose keys and values are all kept, whatever window a layer has."""
    from transformers import DynamicCache

    return {"cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values": DynamicCache()}
