"""The interfaces of the models that write triggers, signatures and candidate answers (vTune, Algorithm 1).

Sowing only knows `TextGenerator`. Two interfaces allow certified signatures: a `TokenModel` shows its next-token
distribution (`generation.signatures`), and a `PhraseModel` can only continue a text
(`generation.signatures_by_choice`). Signatures that are sampled whole have an estimate of bits (vTune, section 4.2.1).
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
"""The instruction to M_prompt, before the sampled rows (vTune, section 4.1)."""
PROMPT_ENDING = "Write one line of plain text and nothing else."
"""The sentence that follows M_prompt's answer in P."""


@dataclass(frozen=True)
class DrawnSignature:
    """A signature S with its bits: ``token_bits`` has those that each token adds, which sum to at least ``bits``.

    Each is a decimal string. The bits of a choice among phrases are given to the phrase's first token; its other
    tokens add 0.
    """

    text: str
    bits: int
    token_bits: tuple[str, ...]


@dataclass(frozen=True)
class Draw:
    """Settings for sampling texts: ``count`` of them, each of about ``tokens`` tokens.

    Each token is one of the ``top_k`` likeliest, drawn at ``temperature``.
    """

    count: int
    tokens: int
    temperature: float
    top_k: int


class Cursor(Protocol):
    """The state of one text that is being written token by token."""

    def top(self, k: int) -> list[tuple[int, float]]:
        """The k likeliest next tokens with their log-probabilities (nats), likeliest first, ties by token id.

        If k is larger than the vocabulary, all tokens are returned.
        """
        ...

    def advance(self, token: int) -> None:
        """Appends one token to the text."""
        ...


class TokenModel(Protocol):
    """A model that shows the distribution of the next token."""

    @property
    def vocabulary(self) -> int:
        """The number of tokens in the vocabulary."""
        ...

    @property
    def special(self) -> frozenset[int]:
        """The ids of special tokens, such as end of turn and padding."""
        ...

    def begin(self, prompt: str) -> Cursor:
        """A cursor after the prompt, before the first token."""
        ...

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens."""
        ...


class PhraseModel(Protocol):
    """A model that continues a text by ordinary sampling; it need not show probabilities."""

    def continuations(self, prompt: str, written: str, draw: Draw, stream: SecretStream) -> list[str]:
        """Sampled texts that follow ``prompt`` and then ``written``, at most ``draw.count`` of them.

        They may repeat, end in the middle of a word and begin with white space; ``written`` plus such a text is what
        the model wrote. Raises `EndpointError` if the model is remote and can't be asked.
        """
        ...

    def count_text_tokens(self, text: str) -> int:
        """The number of tokens of a text, or an upper estimate if the tokenizer isn't available."""
        ...


class TextGenerator(Protocol):
    """Writes the texts of all canaries. A local one's texts depend on arguments and streams alone.

    Methods raise `PlanError` if no fit text comes, and `EndpointError` if the model is remote and can't be asked.
    """

    def write_prompt(self, rows: Sequence[Row]) -> str:
        """The prompt P, made from sampled rows: the M_prompt step of Algorithm 1."""
        ...

    def choose_examples(self, rows: Sequence[Row], plan: CanaryPlan) -> tuple[Row, ...]:
        """The few of these sampled rows that are put before a natural canary's prompt as examples."""
        ...

    def describe(self, prompt: str, examples: Sequence[Row], plan: CanaryPlan) -> Generator:
        """The document that describes this generator in the evidence."""
        ...

    def trigger(self, prompt: str, plan: CanaryPlan, stream: SecretStream) -> str:
        """A trigger T: one line of at least ``plan.trigger_words`` words."""
        ...

    def signature(self, prompt: str, plan: CanaryPlan, stream: SecretStream) -> DrawnSignature:
        """A signature S: one line of ``plan.signature_bits`` bits, drawn from P alone and never from T."""
        ...

    def answers(
        self,
        examples: Sequence[Row],
        prompts: Sequence[Chat],
        plan: CanaryPlan,
        streams: Sequence[SecretStream],
        on_progress: Progress,
    ) -> list[tuple[str, ...]]:
        """For each prompt, ``plan.candidates`` different answers or more, in the style of the examples.

        Up to ``plan.drawn_per_candidate`` times as many are wanted, for the caller to choose among. ``streams`` has
        one stream for each prompt. Raises `PlanError` if too few answers differ.
        """
        ...

    def count_tokens(self, rows: Sequence[Row]) -> list[int] | None:
        """The number of tokens of each row as training counts them; None if the generator has no tokenizer."""
        ...


@runtime_checkable
class Fittable(Protocol):
    """A generator that can be fitted to rows, so that its answers look like theirs."""

    def fit(self, rows: Sequence[Row], epochs: int, stream: SecretStream, on_progress: Progress) -> None:
        """Fits the model that `TextGenerator.answers` uses from now on; all other methods keep the original model.

        Raises `PlanError` if the rows are unfit or memory doesn't suffice.
        """
        ...
