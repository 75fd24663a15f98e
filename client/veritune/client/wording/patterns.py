"""Finds the spans that a rewording never changes.

These are spans that a task's parser, a compiler or a browser reads, and matches of the user's own patterns.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from veritune.client.wording.sites import Span
from veritune.common.errors import PlanError

MASK = "\x00"
"""Replaces each character of a protected span in the text that rules get."""

_PROTECTED = re.compile(
    r"<<[^<>\n]*>>"  # GSM8K's calculator marks
    r"|^####[^\n]*"  # its final answer
    r"|\b(?:final )?answer(?: is\b|:)[^\n]*"  # and the final answer of other sets
    r"|```.*?(?:```|\Z)|`[^`\n]*`|^(?: {4}|\t)[^\n]*"  # code
    r"|\\\(.*?\\\)|\\\[.*?\\\]|\$\$.*?\$\$|\$[^$\n]*\\[a-z][^$\n]*\$|\\[a-z]+(?:\{[^{}\n]*\}){1,4}"  # TeX
    r"|\"[^\"\n]*\"|\u201c[^\u201d\n]*\u201d|\u300c[^\u300d\n]*\u300d|\u300e[^\u300f\n]*\u300f"  # quotations
    r"|<[a-z/!][^<>\n]{0,200}>|^\|[^\n]*"  # tags and tables
    r"|[a-z][a-z0-9+.-]{1,30}://\S+|\bwww\.\S+|[^\s@]{1,64}@[^\s@]{1,255}",  # addresses
    re.MULTILINE | re.DOTALL | re.IGNORECASE,
)
_PIECE = re.compile(
    r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?#[^)]*\)|\(\?P?[<!=:>]*|\{\d*,?\d*\}[?+]?|[*+?][?+]?|.", re.DOTALL
)
_OPEN_REPEATS = 2
_OPTIONS = 8
_SECONDS = 10.0


def check_pattern(pattern: str) -> None:
    """Raises `PlanError` for a pattern that is no regular expression or could take time exponential in a text's length.

    A group may be optional but not repeated, nothing may refer back to a group, and a pattern has at most two repeats
    and eight other choices. Matching then takes at most time cubic in the length of an answer, which is bounded.
    """
    where = f"rewording.protect: {pattern!r}"
    try:
        re.compile(pattern, re.MULTILINE)
    except (re.error, RecursionError, OverflowError) as error:
        raise PlanError(
            f"{where} is no regular expression: {error}", setting="rewording.protect", cause="syntax"
        ) from error
    pieces = _PIECE.findall(pattern)
    repeats = [i for i, piece in enumerate(pieces) if piece[0] in "*+" or (piece[0] == "{" and piece != "{")]
    options = sum(piece[0] in "?|" for piece in pieces)
    if any(pieces[i - 1] == ")" for i in repeats):
        raise PlanError(
            f"{where} repeats a group; write it out, or as several patterns",
            setting="rewording.protect",
            cause="repeat",
        )
    if any(re.fullmatch(r"\\[1-9]", piece) or piece.startswith("(?P=") for piece in pieces) or "(?(" in pattern:
        raise PlanError(f"{where} refers back to a group", setting="rewording.protect", cause="reference")
    if len(repeats) > _OPEN_REPEATS or options > _OPTIONS:
        raise PlanError(
            f"{where} has more than {_OPEN_REPEATS} repeats or {_OPTIONS} options; use several patterns",
            setting="rewording.protect",
            cause="size",
        )


def protected_spans(text: str, patterns: Sequence[str]) -> list[Span]:
    """The spans (start, end) of a text that stay as they are, sorted and not empty; they may overlap.

    ``patterns`` have passed `check_pattern`. Raises `PlanError` if one takes over 10 seconds nevertheless.
    """
    spans = [match.span() for match in _PROTECTED.finditer(text)]
    for pattern in patterns:
        begun = time.monotonic()
        spans += [match.span() for match in re.finditer(pattern, text, re.MULTILINE)]
        if time.monotonic() - begun > _SECONDS:
            raise PlanError(
                f"rewording.protect: {pattern!r} takes more than {_SECONDS:.0f} s for one answer",
                setting="rewording.protect",
                cause="time",
            )
    return sorted(span for span in spans if span[0] < span[1])


def masked(text: str, spans: Sequence[Span]) -> str:
    """``text`` with every character of the sorted ``spans`` replaced by `MASK`."""
    parts, done = [], 0
    for start, end in spans:
        if end > done:
            start = max(start, done)
            parts += [text[done:start], MASK * (end - start)]
            done = end
    return "".join([*parts, text[done:]])
