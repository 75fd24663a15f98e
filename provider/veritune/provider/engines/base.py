"""The interface of inference engines, with the values and errors that it uses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from veritune.common.errors import OwnError
from veritune.provider.models.chat import Message

MIN_TEMPERATURE = 0.01
"""Lowest temperature above 0; logits divided by less are no finite numbers in low precision."""


@dataclass(frozen=True)
class Sampling:
    """Sampling parameters of an answer; temperature 0 decodes greedily. Raises `ValueError` for values out of range."""

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
    """A piece of an answer; the last piece says why the answer ended and how many tokens it took.

    ``completion_tokens`` counts what the model produced, the end-of-turn token included; the text leaves it out.
    """

    text: str
    finish_reason: Literal["", "stop", "length"] = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True)
class Score:
    """Log-probabilities (nats) of one completion's tokens, the end-of-turn token included."""

    token_logprobs: tuple[float, ...]

    @property
    def total(self) -> float:
        """Log-probability of the whole completion in nats: the sum over its tokens."""
        return sum(self.token_logprobs)


class UnknownAdapterError(LookupError):
    """No adapter of that id is loaded. Internal: the caller must load an adapter before it asks for answers."""


class PromptTooLongError(ValueError):
    """Prompt and answer don't fit into the model's context. Internal: the client is told TOO_LARGE."""


class InvalidAdapterError(OwnError):
    """An adapter folder that is broken, unsafe, made for another base model, or of a kind that is not served."""

    reason = "BAD_ADAPTER"


class AdapterConflictError(ValueError):
    """An adapter id is loaded already with other weights. Internal: the client is told INTERNAL."""


class AdapterSlotsFullError(RuntimeError):
    """The engine has loaded as many adapters as it can hold. Internal: the engine pool unloads one and tries again."""


def check_length(prompt: int, answer: int, context: int) -> None:
    """Raises `PromptTooLongError` if ``prompt`` and ``answer`` tokens together exceed ``context`` tokens."""
    if prompt + answer > context:
        raise PromptTooLongError(f"{prompt} prompt tokens and {answer} for the answer exceed the context of {context}")


class InferenceEngine(Protocol):
    """One base model in memory, with LoRA adapters that are loaded and unloaded while it runs.

    ``adapter`` is the id given to `load_adapter`, or None for the base model; an id that is not loaded raises
    `UnknownAdapterError` before any computation. Calls may run concurrently and for different adapters. Methods that
    need the model raise `RuntimeError` before `start` and after `stop`. Any other exception than those named here is a
    fault of the engine, never of its caller.
    """

    async def start(self) -> None:
        """Loads the base model; must be called once, before any other method."""

    async def stop(self) -> None:
        """Frees the model's memory; later calls raise `RuntimeError`."""

    async def load_adapter(self, adapter: str, folder: Path) -> None:
        """Loads a PEFT adapter folder under an id; if that fails, adapters loaded before still answer as before.

        Nothing happens if the id is loaded already with the same files, byte by byte.

        Raises:
            InvalidAdapterError: the folder cannot be served.
            AdapterConflictError: the id is loaded already with other weights.
            AdapterSlotsFullError: the engine can't hold another adapter.
        """

    async def unload_adapter(self, adapter: str) -> None:
        """Unloads an adapter; answers that are being computed with it are finished.

        Raises `UnknownAdapterError` if it is not loaded; so do requests that wait for it.
        """

    def adapters(self) -> frozenset[str]:
        """The ids of the loaded adapters."""

    def generate(self, messages: Sequence[Message], sampling: Sampling, adapter: str | None) -> AsyncIterator[Delta]:
        """Yields the assistant's answer to a chat in pieces; closing the iterator stops the computation.

        The texts of the pieces, joined, are the whole answer. With the same seed a sampled answer is the same again on
        one engine and one kind of device, whatever else runs at the same time.

        Raises:
            UnknownAdapterError: the adapter is not loaded.
            PromptTooLongError: prompt and ``max_tokens`` exceed the context.
            ChatRefusedError: the chat has a form that the model's template refuses.
        """

    async def score(self, messages: Sequence[Message], completions: Sequence[str], adapter: str | None) -> list[Score]:
        """Log-probabilities of each completion as the assistant's answer to the same chat, in the order given.

        Raises as `generate` does; the prompt and the longest completion together must fit into the context.
        """
