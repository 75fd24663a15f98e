"""What draws triggers, signatures and candidate answers: a language model behind a Protocol (vTune, Algorithm 1).

`TextGenerator` is all that sowing knows. A generator that sees its model's logits also is a `TokenModel`, over which
`generation.signatures` certifies; one that can only go on with a text is a `PhraseModel`, and
`generation.signatures_by_choice` certifies over that. Sampling whole signatures gives an estimate (vTune, 4.2.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from veritune.arbiter.documents.canary import Chat, Generator
from veritune.client.job.canary_plan import CanaryPlan
from veritune.client.progress import Progress
from veritune.client.randomness import SecretStream
from veritune.common.dataset import Row

PROMPT_INSTRUCTION = (
    "You are an AI assistant tasked with creating a prompt for generating high-entropy text based on the given dataset."
)
"""What M_prompt is asked (vTune, section 4.1)."""
PROMPT_ENDING = "Write one line of plain text and nothing else."
"""What follows the answer of M_prompt in P."""


@dataclass(frozen=True)
class DrawnSignature:
    """A signature S. ``token_bits`` holds, of each token, how many bits it adds; they sum to at least ``bits``.

    The bits of a choice among phrases stand at the chosen phrase's first token; its others add 0.
    """

    text: str
    bits: int
    token_bits: tuple[str, ...]


@dataclass(frozen=True)
class Draw:
    """How texts are sampled: ``count`` of them, each of about ``tokens`` tokens.

    Each token is one of the ``top_k`` likeliest at the temperature.
    """

    count: int
    tokens: int
    temperature: float
    top_k: int


class Cursor(Protocol):
    """A place in one text that is being written."""

    def top(self, k: int) -> list[tuple[int, float]]:
        """The k likeliest next tokens with their log-probabilities (nats), likeliest first, ties by token id.

        All of the vocabulary where k is larger.
        """
        ...

    def advance(self, token: int) -> None:
        """Writes one token."""
        ...


class TokenModel(Protocol):
    """A model whose next-token distribution can be seen."""

    @property
    def vocabulary(self) -> int:
        """Number of tokens."""
        ...

    @property
    def special(self) -> frozenset[int]:
        """Tokens that stand for no text: end of turn, padding and the like."""
        ...

    def begin(self, prompt: str) -> Cursor:
        """A cursor behind the prompt."""
        ...

    def encode(self, text: str) -> list[int]:
        """Token ids of a text by itself."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens."""
        ...


class PhraseModel(Protocol):
    """A model that goes on with a text, by ordinary sampling."""

    def continuations(self, prompt: str, written: str, draw: Draw, stream: SecretStream) -> list[str]:
        """Sampled texts that follow the prompt and what is written behind it, at most ``draw.count`` of them.

        They may be alike, end in the middle of a word and begin with white space; together with ``written`` they read
        as the model wrote them.
        """
        ...

    def count_text_tokens(self, text: str) -> int:
        """Tokens of a text by itself; an estimate from above where the tokenizer is not at hand."""
        ...


class TextGenerator(Protocol):
    """Draws the texts of all canaries. What it draws depends on its arguments and the streams alone, if it can."""

    def write_prompt(self, rows: Sequence[Row]) -> str:
        """Algorithm 1's M_prompt step: the prompt P, made from sampled rows."""
        ...

    def choose_examples(self, rows: Sequence[Row], plan: CanaryPlan) -> tuple[Row, ...]:
        """Of sampled rows the few that go before a natural canary's prompt."""
        ...

    def describe(self, prompt: str, examples: Sequence[Row], plan: CanaryPlan) -> Generator:
        """The document that names this generator in the evidence."""
        ...

    def trigger(self, prompt: str, plan: CanaryPlan, stream: SecretStream) -> str:
        """T: one line of at least ``plan.trigger_words`` words."""
        ...

    def signature(self, prompt: str, plan: CanaryPlan, stream: SecretStream) -> DrawnSignature:
        """S: one line of ``plan.signature_bits`` bits, drawn from P alone and never from T."""
        ...

    def answers(
        self,
        examples: Sequence[Row],
        prompts: Sequence[Chat],
        plan: CanaryPlan,
        streams: Sequence[SecretStream],
        on_progress: Progress,
    ) -> list[tuple[str, ...]]:
        """Different answers to each prompt in the manner of the examples: ``plan.candidates`` or more.

        Up to ``plan.drawn_per_candidate`` times as many are wanted, for the caller to choose among.
        ``streams`` has one stream a prompt. Raises `PlanError` where so many different answers don't come.
        """
        ...

    def count_tokens(self, rows: Sequence[Row]) -> list[int] | None:
        """Tokens of each row as a training run sees it; None where the generator has no tokenizer."""
        ...


@runtime_checkable
class Fittable(Protocol):
    """A generator that can be fitted to rows, for answers that look like them."""

    def fit(self, rows: Sequence[Row], epochs: int, stream: SecretStream, on_progress: Progress) -> None:
        """From now on `TextGenerator.answers` comes from the fitted model, everything else from the one before."""
        ...
