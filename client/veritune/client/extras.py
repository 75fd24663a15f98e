"""Imports optional libraries at the moment they are needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from veritune.client.errors import MissingExtraError


def library(name: str, extra: str) -> Any:
    """The module ``name`` of an optional library. Raises `MissingExtraError`, which says how to install ``extra``."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{name.partition('.')[0]} is not installed; pip install 'veritune[{extra}]' brings it", extra=extra
        ) from error
