"""A stand-in for the client's own model: answers by a rule, counts what it is asked, and dies when told to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from veritune.arbiter.measure.local_model import LocalAnswer
from veritune.common.dataset import Message


class AskedModel(ABC):
    """The part of `LocalModel` that generates; its heirs say what, and score."""

    def __init__(self, dies_after: int = 10**9) -> None:
        self.asked: list[str] = []
        self._left = dies_after

    @abstractmethod
    def text(self, chat: Sequence[Message]) -> str:
        """The answer to one chat."""

    def answers(
        self,
        chats: Sequence[Sequence[Message]],
        max_tokens: int,
        *,
        tuned: bool = True,
        batch_size: int = 32,
        on_answer: Callable[[int, Any], None] = lambda index, answer: None,
    ) -> list[LocalAnswer]:
        found = []
        for index, chat in enumerate(chats):
            found.append(LocalAnswer(self.text(chat), "stop"))
            on_answer(index, found[-1])
        return found

    def _ask(self, text: str) -> None:
        if not self._left:
            raise KeyboardInterrupt
        self._left -= 1
        self.asked.append(text)


class RuleModel(AskedModel):
    """Answers with the question, and scores a candidate by its length."""

    def text(self, chat: Sequence[Message]) -> str:
        self._ask(chat[-1].content)
        return f"S {chat[-1].content}"

    def scores(self, messages: Sequence[Message], completions: Sequence[str], *, tuned: bool = True) -> list[float]:
        self._ask(f"{messages[-1].content} {tuned}")
        return [-float(len(text)) - (0 if tuned else 1) for text in completions]
