"""A callback that long work tells how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with the phase, how much is done and how much there is (bytes, rows or canaries, as the phase goes)."""


def no_progress(_phase: str, _done: int, _total: int) -> None:
    """For callers that don't watch."""
