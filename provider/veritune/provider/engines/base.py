"""What the daemon asks of an inference engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from veritune.common.errors import OwnError
from veritune.provider.models.chat import Message

MIN_TEMPERATURE = 0.01
"""Lowest temperature above 0: below it, the division by it leaves no finite numbers in low precision."""


@dataclass(frozen=True)
class Sampling:
    """How to decode. Temperature 0 is greedy. Raises ValueError for numbers that mean nothing."""

    max_tokens: int = 128
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise ValueError("max_tokens must be at least 1")
        if not (self.temperature == 0 or MIN_TEMPERATURE <= self.temperature <= 100):
            raise ValueError(f"temperature must be 0 or within {MIN_TEMPERATURE} and 100")
        if not 0 < self.top_p <= 1:
            raise ValueError("top_p must be above 0 and at most 1")
        if not 0 <= self.seed < 2**63:
            raise ValueError("seed must fit into 63 bits")


@dataclass(frozen=True)
class Delta:
    """A piece of an answer; the last one carries why it ended and how many tokens were spent.

    ``completion_tokens`` counts what the model produced, the end-of-turn token included; the text leaves it out.
    """

    text: str
    finish_reason: Literal["", "stop", "length"] = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True)
class Score:
    """Natural-log probabilities of one completion's tokens, the end-of-turn token included."""

    token_logprobs: tuple[float, ...]

    @property
    def total(self) -> float:
        return sum(self.token_logprobs)


class UnknownAdapterError(LookupError):
    """No adapter of that id is loaded. The engines' own: whoever calls one loads the adapter first."""


class PromptTooLongError(ValueError):
    """Prompt and answer that don't fit into the model's context. The engines' own: the service says TOO_LARGE."""


class InvalidAdapterError(OwnError):
    """An adapter folder that is broken, unsafe, made for another base model, or of a kind that is not served."""

    reason = "BAD_ADAPTER"


class AdapterConflictError(ValueError):
    """An adapter id that already stands for other weights. Internal: the client is told INTERNAL."""


class AdapterSlotsFullError(RuntimeError):
    """As many adapters are loaded as the engine was started for. The engines' own: the pool unloads one first."""


def check_length(prompt: int, answer: int, context: int) -> None:
    """Raises `PromptTooLongError` if so many tokens of prompt and answer exceed a context of so many."""
    if prompt + answer > context:
        raise PromptTooLongError(f"{prompt} prompt tokens and {answer} for the answer exceed the context of {context}")


class InferenceEngine(Protocol):
    """One base model in memory, any number of adapters over it.

    ``adapter`` is the id given to `load_adapter`, or None for the base model; an id never loaded raises
    `UnknownAdapterError` before any work. Calls may run concurrently and for different adapters. Every
    method but `start` raises RuntimeError before `start` and after `stop`. Any other exception than those named
    here is a fault of the engine, never of who asks.
    """

    async def start(self) -> None:
        """Loads the base model. Must be called once, before anything else."""

    async def stop(self) -> None:
        """Frees the model; later calls raise RuntimeError."""

    async def load_adapter(self, adapter: str, folder: Path) -> None:
        """Makes a PEFT adapter folder servable under an id; what is already served is unharmed if that fails.

        The same id again does nothing when the files are the same, byte by byte.

        Raises:
            InvalidAdapterError: the folder cannot be served.
            AdapterConflictError: the id is taken by other weights.
            AdapterSlotsFullError: no room for one more.
        """

    async def unload_adapter(self, adapter: str) -> None:
        """Drops an adapter. Answers under way with it are finished; those still waiting fail."""

    def adapters(self) -> frozenset[str]:
        """The ids that can be asked for."""

    def generate(self, messages: Sequence[Message], sampling: Sampling, adapter: str | None) -> AsyncIterator[Delta]:
        """Streams the assistant's answer to a chat; closing the iterator ends the work for it.

        The texts of the pieces, joined, are the whole answer. With the same seed a sampled answer repeats,
        whatever else runs beside it, on one engine and one kind of device.

        Raises:
            UnknownAdapterError: the adapter is not loaded.
            PromptTooLongError: prompt and ``max_tokens`` exceed the context.
            ChatRefusedError: the chat has a form that the model's template refuses.
        """

    async def score(self, messages: Sequence[Message], completions: Sequence[str], adapter: str | None) -> list[Score]:
        """Log-probabilities of each completion as the assistant's answer to the same chat.

        Raises as `generate` does; the lengths of a completion and of the prompt count together.
        """
