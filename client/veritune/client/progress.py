"""The callback to which long work reports its progress."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""A function that gets the phase, how much is done and how much there is (0: unknown), in units of the phase: bytes,
rows, canaries, steps."""


def no_progress(_phase: str, _done: int, _total: int) -> None:
    """Ignores every report: the default where no caller gives a `Progress`."""
