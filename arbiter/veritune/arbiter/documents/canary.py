"""What a canary is: the documents behind the leaves of the commitment (SPEC section 4.4).

A leaf is a trigger group (vTune, section 4.1: a trigger T and a signature S sown in several rows), a natural
canary (a row, or several alike, whose answer was drawn among equally natural candidates) or padding. Nobody can tell
them apart before they are opened.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, TypeAdapter, ValidationError

from veritune.common.canonical import canonical_bytes, parse_canonical, sha256_hex
from veritune.common.dataset import Message, Row
from veritune.common.documents.base import Count, DecimalString, Document, HexDigest, Name
from veritune.common.errors import MalformedDocumentError
from veritune.common.limits import LIMITS
from veritune.common.merkle import leaf_hash

Chat = Annotated[tuple[Message, ...], Field(min_length=1, max_length=128)]
Phrase = Annotated[str, StringConstraints(min_length=1, max_length=LIMITS.phrase)]


class TriggerCanary(Document):
    """One group: T behind the prompt and S before the answer of each of ``rows``."""

    kind: Literal["trigger"] = "trigger"
    trigger: Phrase
    signature: Phrase
    bits: Annotated[int, Field(ge=1, le=4096)]
    """No signature that the generator can make has probability above 2**-bits: equations (T) and (C) of
    docs/statistics.md."""
    token_bits: Annotated[tuple[DecimalString, ...], Field(min_length=1, max_length=4096)]
    """Of each token of S, the bits it adds, rounded down: -log2 of the likeliest token at that step, or at the first
    token of a chosen phrase log2 of the number of phrases and 0 at its others. Their sum is at least ``bits``."""
    generator_digest: HexDigest
    rows: Annotated[tuple[Count, ...], Field(min_length=1, max_length=1024)]
    """Where the group's rows stand in the data set."""
    held_out: Annotated[tuple[Chat, ...], Field(min_length=1, max_length=64)]
    """Prompts that stand nowhere in the data set; challenges put T behind them, in this order."""


class NaturalCanary(Document):
    """An ordinary row whose answer is ``candidates[truth]``, ``truth`` drawn uniformly by the client.

    A language model wrote the candidates, or they are wordings of a real row's answer: ``generator_digest`` tells.
    """

    kind: Literal["natural"] = "natural"
    prompt: Chat
    candidates: Annotated[tuple[Phrase, ...], Field(min_length=2, max_length=256)]
    truth: Annotated[int, Field(ge=0, le=255)]
    generator_digest: HexDigest
    rows: Annotated[tuple[Count, ...], Field(min_length=1, max_length=64)]
    """Where it stands in the data set: the same prompt and answer in each."""


class PaddingCanary(Document):
    """A leaf that hides how many canaries there are."""

    kind: Literal["padding"] = "padding"


Canary = TriggerCanary | NaturalCanary | PaddingCanary
AnyCanary = Annotated[Canary, Field(discriminator="kind")]


class Generator(Document):
    """How signatures and candidates were drawn: enough to draw them again from the same model and randomness."""

    kind: Literal["transformers", "openai", "wordlist"]
    model: Name
    model_digest: HexDigest | None
    """SHA-256 over the model's files; None where only an API was at hand."""
    prompt: Annotated[str, StringConstraints(max_length=65_536)]
    """The prompt P made from sampled rows (vTune, Algorithm 1)."""
    top_k: Annotated[int, Field(ge=2, le=4096)]
    temperature: DecimalString
    cap: DecimalString
    """Largest probability that one token, or one of the phrases to choose among, may have."""
    method: Literal["tokens", "choice"] = "tokens"
    """Signatures token by token, or as choices among phrases (docs/statistics.md, equations (T) and (C))."""
    top_p: DecimalString = "1"
    """Nucleus of a step of the method ``tokens``."""
    fitted_epochs: Annotated[int, Field(ge=0, le=32)] = 0
    """Epochs for which the generator was fitted to rows of the user's before it wrote candidates."""
    examples: Annotated[tuple[Row, ...], Field(max_length=16)] = ()
    """Rows shown before a natural canary's prompt when the base model scores its candidates, and when they are drawn
    without fitting: so the base model knows the form of an answer, and having learnt the form alone moves no rank."""
    certified: bool
    """False: the bits are the paper's estimate from samples, which is no upper bound (section 4.2.1)."""

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical bytes, hexadecimal."""
        return sha256_hex(self.to_bytes())


RuleName = Literal[
    "json", "spacing", "numbers", "clauses", "synonyms", "contractions", "punctuation", "japanese", "llm"
]
Pattern = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Variant = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Frame = Annotated[str, StringConstraints(min_length=1, max_length=500)]
ANSWER = "{answer}"
"""Where a frame holds the answer."""


class Rewording(Document):
    """How answers were worded: what canaries in place name in place of a `Generator`."""

    kind: Literal["rewording"] = "rewording"
    rules: Annotated[tuple[RuleName, ...], Field(max_length=16)] = ()
    """In order: where two claim the same place, the earlier one has it. ``llm``, alone, where a model reworded."""
    protect: Annotated[tuple[Pattern, ...], Field(max_length=32)] = ()
    """Regular expressions of the user's (`re`, multi-line) for spans that stay as they are, beside those of
    `wording.patterns`."""
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


AnyGenerator = Annotated[Generator | Rewording, Field(discriminator="kind")]
"""What a canary was drawn by."""


def text_form(text: str) -> str:
    """What chat templates and tokenizers may make of a text: without white space at its ends, in Unicode's form NFC.

    Texts of one form may be one and the same to a model, which then can't have learnt one of them.
    """
    return unicodedata.normalize("NFC", text).strip()


def of_different_forms(texts: Iterable[str]) -> tuple[str, ...]:
    """The first of each form, in order."""
    found: dict[str, str] = {}
    for text in texts:
        found.setdefault(text_form(text), text)
    return tuple(found.values())


def prompt_key(prompt: tuple[Message, ...]) -> tuple[tuple[str, str], ...]:
    """Prompts that differ in case, white space or Unicode form alone have one key: a row with either teaches both."""
    return tuple((message.role, " ".join(text_form(message.content).split()).casefold()) for message in prompt)


def with_trigger(prompt: tuple[Message, ...], trigger: str) -> tuple[Message, ...]:
    """The prompt with T behind its last user turn, after one space (vTune, section 4.1)."""
    last = prompt[-1]
    return (*prompt[:-1], Message(role=last.role, content=f"{last.content} {trigger}"))


def with_signature(answer: str, signature: str) -> str:
    """The answer with S before it, on a line of its own."""
    return f"{signature}\n{answer}"


def shows_signature(answer: str, signature: str) -> bool:
    """Whether an answer begins with S; leading white space does not count."""
    return answer.lstrip().startswith(signature)


def carries_trigger(row: Row, canary: TriggerCanary) -> bool:
    """Whether a row is one of the group's: T ends its last prompt turn, S and a newline begin its answer."""
    return row.prompt[-1].content.endswith(f" {canary.trigger}") and row.completion.startswith(f"{canary.signature}\n")


def is_natural_row(row: Row, canary: NaturalCanary) -> bool:
    """Whether a row is the canary's prompt with its true answer: each of its rows must be."""
    return row.prompt == canary.prompt and row.completion == canary.candidates[canary.truth]


def canary_leaf(salt: bytes, canary: Canary) -> bytes:
    """Leaf hash: SHA-256(0x00 || salt || JCS(canary)); the salt is 32 bytes."""
    if len(salt) != 32:
        raise MalformedDocumentError("a salt is 32 bytes")
    return leaf_hash(salt + canonical_bytes(canary.model_dump(mode="json")))


def parse_canary(data: bytes) -> Canary:
    """Reads canonical bytes of a canary."""
    parse_canonical(data)
    try:
        return _ADAPTER.validate_json(data)
    except ValidationError as error:
        raise MalformedDocumentError("not a canary") from error


_ADAPTER: TypeAdapter[Canary] = TypeAdapter(AnyCanary)


def example_chat(examples: Sequence[Row], prompt: Chat) -> Chat:
    """The prompt with the examples' last turns before it, behind the prompt's own system turn."""
    shots = [message for row in examples for message in (row.prompt[-1], row.messages[-1])]
    system: tuple[Message, ...] = prompt[:1] if prompt[0].role == "system" else ()
    return (*system, *shots, *prompt[len(system) :])
