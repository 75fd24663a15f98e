"""Rewording: the document that canaries in place name as their generator (SPEC section 4.4)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from veritune.common.canonical import sha256_hex
from veritune.common.dataset import Row
from veritune.common.documents.base import Document, Name

RuleName = Literal[
    "json", "spacing", "numbers", "clauses", "synonyms", "contractions", "punctuation", "japanese", "llm"
]
Pattern = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Variant = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Frame = Annotated[str, StringConstraints(min_length=1, max_length=500)]
ANSWER = "{answer}"
"""The part of a frame that the answer replaces."""


class Rewording(Document):
    """How the wordings of answers were drawn; secrets and evidence list it beside the `Generator` of other canaries."""

    kind: Literal["rewording"] = "rewording"
    rules: Annotated[tuple[RuleName, ...], Field(max_length=16)] = ()
    """Rules in order: where two match the same text, the earlier one applies. ``llm`` alone where a model reworded."""
    protect: Annotated[tuple[Pattern, ...], Field(max_length=32)] = ()
    """The user's regular expressions (`re`, multi-line) for text that stays as it is, beside the built-in ones."""
    synonyms: Annotated[
        tuple[Annotated[tuple[Variant, ...], Field(min_length=2, max_length=32)], ...], Field(max_length=256)
    ] = ()
    """The user's groups of phrases that may replace one another."""
    frames: Annotated[tuple[Frame, ...], Field(max_length=64)] = ()
    """Sentences for a short answer of one line, such as ``It is {answer}.``; one of them always encloses it."""
    examples: Annotated[tuple[Row, ...], Field(max_length=16)] = ()
    """Rows as they were sent, put before a prompt when the base model scores the wordings."""
    model: Name | None = None
    """Name of the language model that reworded; None if rules did."""

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical bytes, hexadecimal; canaries name their rewording by it."""
        return sha256_hex(self.to_bytes())
