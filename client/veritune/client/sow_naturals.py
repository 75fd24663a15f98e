"""Natural canaries: answers drawn for set-aside rows, and rewordings of real rows where they stand.

Of both, the true candidate is drawn uniformly, from a stream of its own, once the candidates are fixed: whatever the
candidates are, each is as likely (docs/statistics.md, equation 2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from veritune.client.canary_plan import CanaryPlan
from veritune.client.generator import PHRASE_CHARACTERS, TextGenerator
from veritune.client.rewording import Rewording, random_wording, wordings
from veritune.client.rows import Progress
from veritune.client.sow_split import Split
from veritune.client.stream import SecretStream
from veritune.common.dataset import Message, Row
from veritune.common.errors import PlanError

_STEP = 256
"""Rows between two words about progress."""


@dataclass(frozen=True)
class Natural:
    """A natural canary before its rows have places: ``row`` carries the true answer and stands ``copies`` times."""

    row: Row
    candidates: tuple[str, ...]
    truth: int
    copies: int = 1


@dataclass(frozen=True)
class Worded:
    """The training rows as they will be sent, by index of the user's rows, and the canaries among them."""

    rows: dict[int, Row]
    in_place: dict[int, Natural]
    eligible: int | None
    """How many rows could have been a canary in place; None where none were wanted."""


def draw_naturals(
    hosts: Sequence[Row],
    examples: Sequence[Row],
    plan: CanaryPlan,
    generator: TextGenerator,
    seed: bytes,
    on_progress: Progress,
) -> list[Natural]:
    """A canary for each of the set-aside rows, whose own answers are not used; copies go round the plan's list."""
    if not hosts:
        return []
    streams = [SecretStream(seed, f"candidates/{number}") for number in range(len(hosts))]
    answers = generator.answers(examples, [row.prompt for row in hosts], plan, streams, on_progress)
    naturals = []
    for number, (host, candidates) in enumerate(zip(hosts, answers, strict=True)):
        if len(set(candidates)) != plan.candidates:
            raise RuntimeError("a generator gave too few different candidates")
        truth = SecretStream(seed, f"truth/{number}").below(len(candidates))
        copies = plan.repetitions[number % len(plan.repetitions)]
        naturals.append(Natural(answered(host, candidates[truth]), candidates, truth, copies))
    return naturals


class Wording:
    """Rewords rows by one document. ``longest`` (tokens) is the training's sequence length, None: not known."""

    def __init__(
        self,
        rewording: Rewording,
        plan: CanaryPlan,
        seed: bytes,
        count_tokens: Callable[[Sequence[Row]], list[int] | None],
        longest: int | None,
    ) -> None:
        self._rewording, self._plan, self._seed = rewording, plan, seed
        self._count_tokens, self._longest = count_tokens, longest

    def word_rows(self, rows: Sequence[Row], split: Split, fits: Sequence[bool], on_progress: Progress) -> Worded:
        """Draws the canaries in place, and a wording for every other row where the plan says so.

        Canaries are a uniform sample of the eligible rows: those with room, enough wordings and a prompt that stands
        nowhere else, not even in a trigger group's copy of the row, which would teach it another answer. A row
        without room stays as it is. Raises `PlanError` where too few are eligible.
        """
        in_place: dict[int, Natural] = {}
        eligible = None
        if self._plan.in_place:
            free = split.single.difference(split.hosts)
            possible = [index for index in split.train if index in free and fits[index]]
            found = list(self._eligible(rows, possible, on_progress))
            eligible = len(found)
            if eligible < self._plan.in_place:
                raise PlanError(
                    f"{self._plan.in_place} canaries in place need as many rows that have {self._plan.wordings} "
                    "wordings, a question that stands in no other row and no copy in a trigger group; "
                    f"the data have {eligible}"
                )
            chosen = SecretStream(self._seed, "in-place").sample(found, self._plan.in_place)
            in_place = {index: self._natural(rows, index) for index in chosen}
        sent = {index: in_place[index].row if index in in_place else rows[index] for index in split.train}
        if self._plan.reword_all:
            for index in split.train:
                if index not in in_place and fits[index]:
                    sent[index] = self.anew(rows[index], f"reword/{index}")
        return Worded(sent, in_place, eligible)

    def anew(self, row: Row, label: str) -> Row:
        """The row with its answer worded at random, from the stream of this label."""
        text = random_wording(row.completion, self._rewording, SecretStream(self._seed, label))
        # Far beyond what rewording does; a row that fits has room for it.
        return row if len(text) > len(row.completion) + PHRASE_CHARACTERS else answered(row, text)

    def _eligible(self, rows: Sequence[Row], possible: Sequence[int], on_progress: Progress) -> Iterator[int]:
        for number, index in enumerate(possible):
            if number % _STEP == 0:
                on_progress("wordings", number, len(possible))
            if self._candidates(rows, index):
                yield index
        on_progress("wordings", len(possible), len(possible))

    def _candidates(self, rows: Sequence[Row], index: int) -> tuple[str, ...]:
        """The row's candidates, the same at every call; none where it can't be a canary."""
        text, stream = rows[index].completion, SecretStream(self._seed, f"wordings/{index}")
        found = wordings(text, self._rewording, self._plan.wordings, stream) if len(text) <= PHRASE_CHARACTERS else ()
        if len(found) < self._plan.wordings or max(map(len, found)) > PHRASE_CHARACTERS:
            return ()
        if self._longest is not None:
            tokens = self._count_tokens([answered(rows[index], text) for text in found])
            if tokens is not None and max(tokens) > self._longest:
                return ()
        return found

    def _natural(self, rows: Sequence[Row], index: int) -> Natural:
        candidates = self._candidates(rows, index)
        truth = SecretStream(self._seed, f"wording-truth/{index}").below(len(candidates))
        return Natural(answered(rows[index], candidates[truth]), candidates, truth)


def answered(row: Row, answer: str) -> Row:
    """The row's prompt with another answer."""
    return Row(messages=(*row.prompt, Message(role="assistant", content=answer)), source=row.source)
