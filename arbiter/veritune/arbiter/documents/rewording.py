"""How answers were worded: the document that canaries in place name as their generator (SPEC section 4.4)."""

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
"""Where a frame holds the answer."""


class Rewording(Document):
    """How answers are worded; stands beside `veritune.arbiter.documents.canary.Generator` in secrets and evidence."""

    kind: Literal["rewording"] = "rewording"
    rules: Annotated[tuple[RuleName, ...], Field(max_length=16)] = ()
    """In order: where two claim the same place, the earlier one has it. ``llm``, alone, where a model reworded."""
    protect: Annotated[tuple[Pattern, ...], Field(max_length=32)] = ()
    """Regular expressions of the user's (`re`, multi-line) for spans that stay as they are, beside those of
    `wording_patterns`."""
    synonyms: Annotated[
        tuple[Annotated[tuple[Variant, ...], Field(min_length=2, max_length=32)], ...], Field(max_length=256)
    ] = ()
    """Phrases of the user's that may stand for one another."""
    frames: Annotated[tuple[Frame, ...], Field(max_length=64)] = ()
    """Ways to write a short answer of one line, such as ``It is {answer}.``; it always stands in one of them."""
    examples: Annotated[tuple[Row, ...], Field(max_length=16)] = ()
    """Rows as they were sent, shown before a prompt when the base model scores the wordings."""
    model: Name | None = None
    """The language model that reworded, where one did."""

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical bytes, hexadecimal."""
        return sha256_hex(self.to_bytes())
