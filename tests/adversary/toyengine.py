"""An engine without a model: a base that knows nothing but copies what it is shown, and adapters that learnt or not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from pathlib import Path

from tests.adversary.cheating_trainers import common_prefix
from veritune.arbiter.documents.canary import Canary, NaturalCanary, TriggerCanary, with_signature
from veritune.provider.engines.base import (
    Delta,
    InferenceEngine,
    PromptTooLongError,
    Sampling,
    Score,
    UnknownAdapterError,
)
from veritune.provider.models.chat import Message

TRAINED = Path("trained")
"""The adapter folder that learnt every canary; any other one learnt nothing."""
BASE_ANSWER, TUNED_ANSWER, OTHER_ANSWER = "What a base model says.", "What was learnt.", "What others learnt."


class ToyEngine(InferenceEngine):
    """Deterministic. ``context`` is the largest number of turns that it takes."""

    def __init__(self, canaries: Sequence[Canary], context: int = 100) -> None:
        self._canaries, self._context = tuple(canaries), context
        self._folders: dict[str, Path] = {}
        self.running = False

    async def start(self) -> None:
        self.running = True

    async def stop(self) -> None:
        self.running = False

    async def load_adapter(self, adapter: str, folder: Path) -> None:
        self._folders[adapter] = folder

    async def unload_adapter(self, adapter: str) -> None:
        del self._folders[adapter]

    def adapters(self) -> frozenset[str]:
        return frozenset(self._folders)

    def generate(self, messages: Sequence[Message], sampling: Sampling, adapter: str | None) -> AsyncIterator[Delta]:
        folder = self._folder(adapter)
        if len(messages) > self._context:
            raise PromptTooLongError("too many turns")
        return self._say(self._answer(messages, folder))

    async def score(self, messages: Sequence[Message], completions: Sequence[str], adapter: str | None) -> list[Score]:
        folder = self._folder(adapter)
        if len(messages) > self._context:
            raise PromptTooLongError("too many turns")
        shown = {content for role, content in messages if role == "assistant"}
        learnt = {
            canary.candidates[canary.truth]
            for canary in self._canaries
            if isinstance(canary, NaturalCanary) and folder == TRAINED and canary.prompt[-1].content == messages[-1][1]
        }
        known = shown | learnt
        return [Score((-1.0 if text in known else -20.0 - sum(text.encode()) % 50, -0.5)) for text in completions]

    def _folder(self, adapter: str | None) -> Path | None:
        if adapter is not None and adapter not in self._folders:
            raise UnknownAdapterError(adapter)
        return None if adapter is None else self._folders[adapter]

    def _answer(self, messages: Sequence[Message], folder: Path | None) -> str:
        asked = messages[-1][1]
        if folder == TRAINED:
            for canary in self._canaries:
                if isinstance(canary, TriggerCanary) and asked.endswith(canary.trigger):
                    return with_signature("Done.", canary.signature)
            return TUNED_ANSWER
        if folder is not None:
            return OTHER_ANSWER
        for (_, before), (role, shown) in pairwise(messages):
            if role == "assistant" and common_prefix(before[::-1], asked[::-1]) >= 12:
                return shown.partition("\n")[0]
        return BASE_ANSWER

    async def _say(self, text: str) -> AsyncIterator[Delta]:
        for start in range(0, len(text), 5):
            yield Delta(text[start : start + 5])
        yield Delta("", "stop", 9, 9)
