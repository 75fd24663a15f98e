"""Prompts made of the user's rows, so that the text a model writes after them looks like the data."""

from __future__ import annotations

import re
from collections.abc import Sequence

from veritune.client.generation.protocols import PROMPT_INSTRUCTION
from veritune.common.dataset import Row

_SENTENCE = re.compile(r"(?<=[.!?])\s+|(?<=\u3002)|[\r\n]+")
_LONGEST = 160
_LINES = 16
_PROMPT_ROWS = 8
_ROW_CHARACTERS = 2000


def phrase_prompt(rows: Sequence[Row]) -> str:
    """The prompt P: sentences from the rows' questions, one on each line; the model continues with the next line.

    Words with which every question begins ("Summarise:") are left out, since every phrase would begin with them too.
    """
    texts = [row.prompt[-1].content for row in rows]
    skip = _shared_words(texts)
    sentences = dict.fromkeys(" ".join(s.split()) for text in texts for s in _SENTENCE.split(text[skip:]) if s)
    lines = [s for s in sentences if len(s) <= _LONGEST and len(s.split()) >= 3]
    if len(lines) < 2:  # a script without spaces, or answers to one-word questions
        lines = [s[:_LONGEST] for s in sentences if s.strip()]
    return "".join(f"{line}\n" for line in lines[:_LINES])


def prompt_request(rows: Sequence[Row]) -> str:
    """The request to M_prompt: the paper's instruction, then a few sampled rows (vTune, section 4.1)."""
    shown = [
        f"{row.prompt[-1].content[:_ROW_CHARACTERS]}\n{row.completion[:_ROW_CHARACTERS]}" for row in rows[:_PROMPT_ROWS]
    ]
    return "\n\n".join([PROMPT_INSTRUCTION, *shown])


def _shared_words(texts: Sequence[str]) -> int:
    """The length of the prefix that all texts share, up to its last space; 0 for fewer than three texts."""
    if len(texts) < 3:
        return 0
    # The least and the greatest of a list differ where any two do.
    least, greatest = min(texts), max(texts)
    length = next((i for i, (a, b) in enumerate(zip(least, greatest, strict=False)) if a != b), len(least))
    return 0 if length == len(least) else least.rfind(" ", 0, length) + 1
