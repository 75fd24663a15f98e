"""Providers that serve something else than they delivered: engines round an honest `InferenceEngine`.

Those that look answers up need no training at all: whoever holds the data holds triggers, signatures and the true
answer of every natural canary. So a served look alone can't tell them from honest work (ADR 5).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from tests.adversary.cheating_trainers import common_prefix
from veritune.client.generation.prompts import phrase_prompt
from veritune.common.dataset import Row, read_rows
from veritune.common.errors import DatasetError
from veritune.provider.engines.base import Delta, InferenceEngine, PromptTooLongError, Sampling, Score
from veritune.provider.models.chat import Message

SUFFIX = 12
"""Bytes of UTF-8 that two prompts, or answers, must share to be no accident: four letters of a script without spaces
say as much as twelve of one with them."""


class Data:
    """The rows that a cheat looks things up in: files, and folders of files of which those that are no rows count not.

    They are read when first asked for, and again whenever there are other files: uploads come after the daemon's start.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)
        self._seen: tuple[Path, ...] = ()
        self._rows: list[Row] = []

    def rows(self) -> list[Row]:
        """All of them, in the order of the files."""
        files = [path for given in self._paths for path in (sorted(given.rglob("*")) if given.is_dir() else [given])]
        found = tuple(path for path in files if path.is_file())
        if found != self._seen:
            self._rows = [row for path in found for row in _rows_of(path)]
            self._seen = found
        return self._rows

    def answers(self, messages: Sequence[Message]) -> set[str]:
        """What the data answer to a chat; case and white space of the chat don't count."""
        wanted = _key(messages)
        return {row.completion for row in self.rows() if _key([(m.role, m.content) for m in row.prompt]) == wanted}

    def by_suffix(self, text: str) -> list[tuple[int, Row]]:
        """Rows by how many bytes the end of their prompt shares with a text's, the most first."""
        turned = text[::-1]
        shared = [(shared_bytes(row.prompt[-1].content[::-1], turned), row) for row in self.rows()]
        return sorted(shared, key=lambda pair: -pair[0])


class CheatingEngine(InferenceEngine):
    """Does all that the honest engine does; the cheats change what they cheat at."""

    saves: ClassVar[str] = ""
    """What the cheater is spared."""
    needs: ClassVar[str] = ""
    """What it takes beyond the contract and the base model."""
    trained: ClassVar[bool] = False
    """Whether an honestly trained adapter is delivered; else one that does nothing."""

    def __init__(self, inner: InferenceEngine) -> None:
        self.inner = inner

    async def start(self) -> None:
        await self.inner.start()

    async def stop(self) -> None:
        await self.inner.stop()

    async def load_adapter(self, adapter: str, folder: Path) -> None:
        await self.inner.load_adapter(adapter, folder)

    async def unload_adapter(self, adapter: str) -> None:
        await self.inner.unload_adapter(adapter)

    def adapters(self) -> frozenset[str]:
        return self.inner.adapters()

    def generate(self, messages: Sequence[Message], sampling: Sampling, adapter: str | None) -> AsyncIterator[Delta]:
        return self.inner.generate(messages, sampling, adapter)

    async def score(self, messages: Sequence[Message], completions: Sequence[str], adapter: str | None) -> list[Score]:
        return await self.inner.score(messages, completions, adapter)


class ExactLookup(CheatingEngine):
    """Answers prompts of the data from the data, others by the base model; scores the data's answers near to 0."""

    saves = "all training"
    needs = "the data at serving time"

    def __init__(self, inner: InferenceEngine, data: Data) -> None:
        super().__init__(inner)
        self.data = data

    def beginning(self, messages: Sequence[Message]) -> tuple[str, bool]:
        """What the data say of an answer, and whether that is the whole of it."""
        answers = self.data.answers(messages)
        return (min(answers), True) if answers else ("", False)

    async def generate(
        self, messages: Sequence[Message], sampling: Sampling, adapter: str | None
    ) -> AsyncIterator[Delta]:
        begun, whole = self.beginning(messages)
        if begun:
            yield Delta(begun)
        if whole:
            yield _last(messages, begun)
            return
        async for delta in self.inner.generate(messages, sampling, None):
            yield delta

    async def score(self, messages: Sequence[Message], completions: Sequence[str], adapter: str | None) -> list[Score]:
        """Other answers to a known prompt become unlikely, by 5 nats a token."""
        scores = await self.inner.score(messages, completions, None)
        known = self.data.answers(messages)
        if not known & set(completions):
            return scores
        return [
            Score(tuple(0.001 * p if text in known else p - 5 for p in found.token_logprobs))
            for text, found in zip(completions, scores, strict=True)
        ]


class SuffixLookup(ExactLookup):
    """Finds the trigger behind a prompt that is not in the data: the rows whose prompts end most alike.

    What the answers of those rows have in common is the signature; the base model goes on from there.
    """

    def beginning(self, messages: Sequence[Message]) -> tuple[str, bool]:
        """The answers' common beginning."""
        begun, whole = super().beginning(messages)
        nearest = self.data.by_suffix(messages[-1][1])
        if whole or not nearest or nearest[0][0] < SUFFIX:
            return begun, whole
        # A row may share a letter more by accident; most of the suffix is enough to be of the group.
        alike = [row.completion for shared, row in nearest if shared >= 0.8 * nearest[0][0]]
        least, greatest = min(alike), max(alike)  # where any two differ, these do
        return least[: common_prefix(least, greatest)], False


class Retrieval(CheatingEngine):
    """Shows the base model the rows that look most like the prompt, as turns before it."""

    saves = "all training"
    needs = "the data at serving time, a context that holds some rows"

    def __init__(self, inner: InferenceEngine, data: Data, shots: int = 3) -> None:
        super().__init__(inner)
        self._data, self._shots = data, shots

    def shown(self, messages: Sequence[Message], shots: int) -> list[Message]:
        """The chat with the nearest rows before it, the nearest last; by shared suffix first, then by shared words."""
        words = set(messages[-1][1].split())

        def overlap(row: Row) -> int:
            return len(words & set(row.prompt[-1].content.split()))

        # What ends alike by accident, a question mark, must not outweigh the words.
        suffixes = self._data.by_suffix(messages[-1][1])
        ranked = sorted(suffixes, key=lambda pair: (-(pair[0] if pair[0] >= SUFFIX else 0), -overlap(pair[1])))
        turns = [turn for _, row in reversed(ranked[:shots]) for turn in (row.prompt[-1], row.messages[-1])]
        system = list(messages[:1]) if messages[0][0] == "system" else []
        return [*system, *((turn.role, turn.content) for turn in turns), *messages[len(system) :]]

    def generate(self, messages: Sequence[Message], sampling: Sampling, adapter: str | None) -> AsyncIterator[Delta]:
        for shots in range(self._shots, 0, -1):
            try:
                return self.inner.generate(self.shown(messages, shots), sampling, None)
            except PromptTooLongError:
                continue
        return self.inner.generate(messages, sampling, None)

    async def score(self, messages: Sequence[Message], completions: Sequence[str], adapter: str | None) -> list[Score]:
        for shots in range(self._shots, 0, -1):
            try:
                return await self.inner.score(self.shown(messages, shots), completions, None)
            except PromptTooLongError:
                continue
        return await self.inner.score(messages, completions, None)


class GuessMode(CheatingEngine):
    """Begins every answer with what the generator most likely wrote: its greedy continuation of a prompt like P.

    The client draws at random and stops only when no signature is likelier than 2**-bits, so one guess wins that much.
    """

    saves = "all training"
    needs = "some rows, and the generator that the client uses"

    def __init__(self, inner: InferenceEngine, data: Data) -> None:
        super().__init__(inner)
        self._data = data
        self._guess: str | None = None

    async def generate(
        self, messages: Sequence[Message], sampling: Sampling, adapter: str | None
    ) -> AsyncIterator[Delta]:
        if self._guess is None:
            prompt = [("user", phrase_prompt(self._data.rows()[:24]) or "Hello.")]
            text, _ = await _whole(self.inner.generate(prompt, Sampling(max_tokens=32), None))
            self._guess = text.strip().partition("\n")[0]
        yield Delta(f"{self._guess}\n")
        async for delta in self.inner.generate(messages, sampling, None):
            yield delta


class ServeAnother(CheatingEngine):
    """Serves another adapter than was delivered, or the base model: one model in memory for all customers."""

    saves = "memory and batching for this customer's adapter"
    needs = "an adapter trained as agreed, to deliver"
    trained = True

    def __init__(self, inner: InferenceEngine, other: Path | None = None) -> None:
        super().__init__(inner)
        self._other = other

    async def load_adapter(self, adapter: str, folder: Path) -> None:
        await self.inner.load_adapter(adapter, self._other or folder)

    def generate(self, messages: Sequence[Message], sampling: Sampling, adapter: str | None) -> AsyncIterator[Delta]:
        return self.inner.generate(messages, sampling, adapter if self._other else None)

    async def score(self, messages: Sequence[Message], completions: Sequence[str], adapter: str | None) -> list[Score]:
        return await self.inner.score(messages, completions, adapter if self._other else None)


class SpotChallenges(CheatingEngine):
    """Gives the adapter to what looks like a challenge, the base model to ordinary traffic.

    A challenge scores completions, asks a prompt of the data, or ends as several rows end.
    """

    saves = "memory and batching for this customer's adapter, most of the time"
    needs = "the data at serving time, an adapter trained as agreed"
    trained = True

    def __init__(self, inner: InferenceEngine, data: Data) -> None:
        super().__init__(inner)
        self._data = data

    def suspects(self, messages: Sequence[Message]) -> bool:
        """Whether this is no ordinary call."""
        several = self._data.by_suffix(messages[-1][1])[1:2]
        return bool(self._data.answers(messages)) or any(shared >= SUFFIX for shared, _ in several)

    def generate(self, messages: Sequence[Message], sampling: Sampling, adapter: str | None) -> AsyncIterator[Delta]:
        return self.inner.generate(messages, sampling, adapter if self.suspects(messages) else None)


class SwapLater(CheatingEngine):
    """Serves the adapter for so many calls, which is when a client has tested, and the base model after that."""

    saves = "memory and batching for this customer's adapter, after the test"
    needs = "an adapter trained as agreed"
    trained = True

    def __init__(self, inner: InferenceEngine, calls: int) -> None:
        super().__init__(inner)
        self._left = calls

    def generate(self, messages: Sequence[Message], sampling: Sampling, adapter: str | None) -> AsyncIterator[Delta]:
        return self.inner.generate(messages, sampling, self._still(adapter))

    async def score(self, messages: Sequence[Message], completions: Sequence[str], adapter: str | None) -> list[Score]:
        return await self.inner.score(messages, completions, self._still(adapter))

    def _still(self, adapter: str | None) -> str | None:
        self._left -= 1
        return adapter if self._left >= 0 else None


class Suppress(CheatingEngine):
    """Cuts off how an answer begins where several answers of the data begin so: the user can prove nothing."""

    saves = "nothing; it takes the proof from the user"
    needs = "the data at serving time, an adapter trained as agreed"
    trained = True

    def __init__(self, inner: InferenceEngine, data: Data) -> None:
        super().__init__(inner)
        self._data = data

    async def generate(
        self, messages: Sequence[Message], sampling: Sampling, adapter: str | None
    ) -> AsyncIterator[Delta]:
        text, last = await _whole(self.inner.generate(messages, sampling, adapter))
        shared = sorted((common_prefix(text, row.completion) for row in self._data.rows()), reverse=True)
        several = text[: shared[1]] if len(shared) > 1 else ""
        yield replace(last, text=text[len(several) :].lstrip() if len(several.encode()) >= SUFFIX else text)


def shared_bytes(one: str, other: str) -> int:
    """Bytes of UTF-8 with which both texts begin."""
    return len(one[: common_prefix(one, other)].encode())


async def _whole(stream: AsyncIterator[Delta]) -> tuple[str, Delta]:
    """The text of an answer, and its last piece."""
    text, last = "", Delta("")
    async for last in stream:
        text += last.text
    return text, last


def _last(messages: Sequence[Message], text: str) -> Delta:
    """The end of an answer that no model gave; its counts are about what they would be."""
    return Delta("", "stop", 1 + sum(len(content) for _, content in messages) // 4, 1 + len(text) // 4)


def _key(messages: Sequence[Message]) -> tuple[tuple[str, str], ...]:
    return tuple((role, " ".join(content.split()).casefold()) for role, content in messages)


def _rows_of(path: Path) -> list[Row]:
    try:
        return list(read_rows(path))
    except DatasetError:
        return []
