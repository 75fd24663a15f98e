"""Figures of a text that tell how it is written."""

from __future__ import annotations

START_CHARACTERS = 100


def odd_share(text: str) -> float:
    """Share of the first `START_CHARACTERS` characters that are neither letters nor spaces."""
    start = text[:START_CHARACTERS]
    return sum(not (c.isalpha() or c == " ") for c in start) / len(start)
