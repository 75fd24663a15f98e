"""Measures of how a text is written."""

from __future__ import annotations

START_CHARACTERS = 100
"""Characters at the start of a text that `odd_share` reads."""


def odd_share(text: str) -> float:
    """The share (0 to 1) of a text's first `START_CHARACTERS` characters that are neither letters nor spaces.

    ``text`` must not be empty.
    """
    start = text[:START_CHARACTERS]
    return sum(not (c.isalpha() or c == " ") for c in start) / len(start)
