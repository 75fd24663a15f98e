"""Canaries: the documents behind the leaves of the client's commitment (SPEC section 4.4).

A leaf is a trigger group (vTune, section 4.1: a trigger T and a signature S sown in several rows), a natural
canary (a row, or several alike, whose answer was drawn among equally natural candidates) or padding. Nobody can tell
them apart before they are opened.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from veritune.common.canonical import canonical_bytes, sha256_hex
from veritune.common.dataset import Message, Row
from veritune.common.documents.base import Count, DecimalString, Document, HexDigest, Name
from veritune.common.errors import MalformedDocumentError
from veritune.common.limits import LIMITS
from veritune.common.merkle import leaf_hash

Chat = Annotated[tuple[Message, ...], Field(min_length=1, max_length=128)]
Phrase = Annotated[str, StringConstraints(min_length=1, max_length=LIMITS.phrase)]


class TriggerCanary(Document):
    """A trigger group: rows that have the trigger T after their prompt and the signature S before their answer."""

    kind: Literal["trigger"] = "trigger"
    trigger: Phrase
    signature: Phrase
    bits: Annotated[int, Field(ge=1, le=4096)]
    """No signature that the generator can draw has probability above 2**-bits: equations (T) and (C) of
    docs/statistics.md."""
    token_bits: Annotated[tuple[DecimalString, ...], Field(min_length=1, max_length=4096)]
    """The bits that each token of S adds, rounded down: -log2 of the likeliest token at that step; or, with the method
    ``choice``, log2 of the number of phrases at a phrase's first token and 0 at its others. The sum is at least
    ``bits``."""
    generator_digest: HexDigest
    rows: Annotated[tuple[Count, ...], Field(min_length=1, max_length=1024)]
    """Indices of the group's rows in the data set."""
    held_out: Annotated[tuple[Chat, ...], Field(min_length=1, max_length=64)]
    """Prompts that are in no row of the data set; challenges ask them with T after each, in this order."""


class NaturalCanary(Document):
    """An ordinary row whose answer is ``candidates[truth]``, where the client drew ``truth`` uniformly.

    The candidates are answers by a language model or wordings of a real row's answer, as ``generator_digest`` tells.
    """

    kind: Literal["natural"] = "natural"
    prompt: Chat
    candidates: Annotated[tuple[Phrase, ...], Field(min_length=2, max_length=256)]
    truth: Annotated[int, Field(ge=0, le=255)]
    generator_digest: HexDigest
    rows: Annotated[tuple[Count, ...], Field(min_length=1, max_length=64)]
    """Indices of the canary's rows in the data set, all with the same prompt and answer."""


class PaddingCanary(Document):
    """A leaf without a canary, which hides the number of canaries."""

    kind: Literal["padding"] = "padding"


Canary = TriggerCanary | NaturalCanary | PaddingCanary
AnyCanary = Annotated[Canary, Field(discriminator="kind")]


class Generator(Document):
    """How signatures and candidates were drawn, so that anybody with the model and the seed can draw them again."""

    kind: Literal["transformers", "openai", "wordlist"]
    model: Name
    model_digest: HexDigest | None
    """SHA-256 over the model's files; None for a model behind an API."""
    prompt: Annotated[str, StringConstraints(max_length=65_536)]
    """The prompt P made from sampled rows (vTune, Algorithm 1)."""
    top_k: Annotated[int, Field(ge=2, le=4096)]
    """Number of likeliest tokens that a step draws from."""
    temperature: DecimalString
    cap: DecimalString
    """Largest probability that one token, or one phrase of a choice, may have."""
    method: Literal["tokens", "choice"] = "tokens"
    """Signatures are drawn token by token or by choice of phrases: equations (T) and (C) of docs/statistics.md."""
    top_p: DecimalString = "1"
    """Nucleus (top-p) of each step of the method ``tokens``."""
    fitted_epochs: Annotated[int, Field(ge=0, le=32)] = 0
    """Epochs of fine-tuning on the user's rows before the generator wrote candidates."""
    examples: Annotated[tuple[Row, ...], Field(max_length=16)] = ()
    """Rows put before a natural canary's prompt when the base model scores its candidates, and when they are drawn
    without fine-tuning: the base model then knows the form of an answer, and learning the form alone moves no rank."""
    certified: bool
    """True if the bits are a proved bound; False for the estimate from samples (vTune, section 4.2.1)."""

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical bytes, hexadecimal; canaries name their generator by it."""
        return sha256_hex(self.to_bytes())


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


AnyGenerator = Annotated[Generator | Rewording, Field(discriminator="kind")]
"""The document that says how a canary was drawn."""


def text_form(text: str) -> str:
    """A text without white space at its ends, in Unicode's form NFC, as chat templates and tokenizers may change it.

    A model may not see any difference between texts of one form, and so can't have learnt one of them.
    """
    return unicodedata.normalize("NFC", text).strip()


def of_different_forms(texts: Iterable[str]) -> tuple[str, ...]:
    """The first text of each `text_form`, in order."""
    found: dict[str, str] = {}
    for text in texts:
        found.setdefault(text_form(text), text)
    return tuple(found.values())


def prompt_key(prompt: tuple[Message, ...]) -> tuple[tuple[str, str], ...]:
    """A key that prompts share if only case, white space or Unicode form differ: a row with one teaches both."""
    return tuple((message.role, " ".join(text_form(message.content).split()).casefold()) for message in prompt)


def with_trigger(prompt: tuple[Message, ...], trigger: str) -> tuple[Message, ...]:
    """The prompt with a space and T after the text of its last turn (vTune, section 4.1)."""
    last = prompt[-1]
    return (*prompt[:-1], Message(role=last.role, content=f"{last.content} {trigger}"))


def with_signature(answer: str, signature: str) -> str:
    """The answer with S on a line before it."""
    return f"{signature}\n{answer}"


def shows_signature(answer: str, signature: str) -> bool:
    """True if an answer begins with S; leading white space does not count."""
    return answer.lstrip().startswith(signature)


def carries_trigger(row: Row, canary: TriggerCanary) -> bool:
    """True if a row is one of the group's: T ends its prompt, and S and a newline begin its answer."""
    return row.prompt[-1].content.endswith(f" {canary.trigger}") and row.completion.startswith(f"{canary.signature}\n")


def is_natural_row(row: Row, canary: NaturalCanary) -> bool:
    """True if a row is the canary's prompt with its true answer, as each of its rows must be."""
    return row.prompt == canary.prompt and row.completion == canary.candidates[canary.truth]


def canary_leaf(salt: bytes, canary: Canary) -> bytes:
    """Leaf hash, SHA-256(0x00 || salt || RFC 8785 bytes). Raises `MalformedDocumentError` for no 32-byte salt."""
    if len(salt) != 32:
        raise MalformedDocumentError("a salt is 32 bytes", cause="salt")
    return leaf_hash(salt + canonical_bytes(canary.model_dump(mode="json")))


def example_chat(examples: Sequence[Row], prompt: Chat) -> Chat:
    """The prompt with each example's last question and answer before it, after the prompt's own system turn."""
    shots = [message for row in examples for message in (row.prompt[-1], row.messages[-1])]
    system: tuple[Message, ...] = prompt[:1] if prompt[0].role == "system" else ()
    return (*system, *shots, *prompt[len(system) :])
