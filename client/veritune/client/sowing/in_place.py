"""Rows reworded by rules or a model, and the canaries in place that they carry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from veritune.arbiter.documents.canary import Rewording, of_different_forms
from veritune.client.job.canary_plan import CanaryPlan
from veritune.client.progress import Progress
from veritune.client.randomness import SecretStream
from veritune.client.sowing.naturals import Natural, answered
from veritune.client.sowing.split import Split
from veritune.client.wording.by_model import ModelWordings
from veritune.client.wording.draw import draw_wordings, random_wording
from veritune.common.dataset import Row
from veritune.common.errors import PlanError
from veritune.common.limits import LIMITS

_STEP = 256
"""Rows between two words about progress."""


@dataclass(frozen=True)
class RewrittenRows:
    """The training rows as they will be sent, by index of the user's rows, and the canaries among them."""

    rows: dict[int, Row]
    in_place: dict[int, Natural]
    eligible: int | None
    """How many rows could have been a canary in place; None where none were wanted, or not all were tried."""


class RowRewriter:
    """Rewords rows by one document. ``longest`` (tokens) is the training's sequence length, None: not known.

    ``model`` has the wordings where a language model rewords; asking it costs, so that no more rows are tried than
    must be.
    """

    def __init__(
        self,
        rewording: Rewording,
        plan: CanaryPlan,
        seed: bytes,
        count_tokens: Callable[[Sequence[Row]], list[int] | None],
        longest: int | None,
        model: ModelWordings | None = None,
    ) -> None:
        self._rewording, self._plan, self._seed = rewording, plan, seed
        self._count_tokens, self._longest, self._model = count_tokens, longest, model

    def word_rows(
        self, rows: Sequence[Row], split: Split, fits: Sequence[bool], on_progress: Progress
    ) -> RewrittenRows:
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
            chosen, eligible = self._choose(rows, possible, on_progress)
            in_place = {index: self._natural(rows, index) for index in chosen}
        sent = {index: in_place[index].row if index in in_place else rows[index] for index in split.train}
        if self._plan.reword_all:
            for number, index in enumerate(split.train):
                if number % (_STEP if self._model is None else 1) == 0:
                    on_progress("rewording", number, len(split.train))
                if index not in in_place and fits[index]:
                    sent[index] = self.anew(rows[index], f"reword/{index}")
            on_progress("rewording", len(split.train), len(split.train))
        return RewrittenRows(sent, in_place, eligible)

    def anew(self, row: Row, label: str) -> Row:
        """The row with its answer worded at random, from the stream of this label."""
        text = self._one(row.completion, SecretStream(self._seed, label))
        # Far beyond what rewording does; a row that fits has room for it.
        return row if len(text) > len(row.completion) + LIMITS.phrase else answered(row, text)

    def _choose(
        self, rows: Sequence[Row], possible: Sequence[int], on_progress: Progress
    ) -> tuple[list[int], int | None]:
        """A uniform sample of the eligible rows, and how many there are.

        A language model is asked for row after row in random order, until there are enough: the first eligible ones of
        a random order are such a sample too.
        """
        wanted, stream = self._plan.in_place, SecretStream(self._seed, "in-place")
        if self._model is None:
            found = list(self._eligible(rows, possible, on_progress))
            chosen, eligible = stream.sample(found, min(wanted, len(found))), len(found)
        else:
            order = stream.sample(possible, len(possible))
            chosen, eligible = list(islice(self._eligible(rows, order, on_progress), wanted)), None
        if len(chosen) < wanted:
            raise PlanError(
                f"{wanted} canaries in place need as many rows that have {self._plan.wordings} "
                "wordings, a question that stands in no other row and no copy in a trigger group; "
                f"the data have {len(chosen)}"
            )
        return chosen, eligible

    def _several(self, text: str, stream: SecretStream) -> tuple[str, ...]:
        if self._model is not None:
            return self._model.of(text)
        return draw_wordings(text, self._rewording, self._plan.wordings, stream)

    def _one(self, text: str, stream: SecretStream) -> str:
        if self._model is None:
            return random_wording(text, self._rewording, stream)
        found = self._model.of(text) if len(text) <= LIMITS.phrase else ()
        return found[stream.below(len(found))] if found else text

    def _eligible(self, rows: Sequence[Row], possible: Sequence[int], on_progress: Progress) -> Iterator[int]:
        for number, index in enumerate(possible):
            if number % (_STEP if self._model is None else 1) == 0:
                on_progress("wordings", number, len(possible))
            if self._candidates(rows, index):
                yield index
        on_progress("wordings", len(possible), len(possible))

    def _candidates(self, rows: Sequence[Row], index: int) -> tuple[str, ...]:
        """The row's candidates, the same at every call; none where it can't be a canary."""
        text, stream = rows[index].completion, SecretStream(self._seed, f"wordings/{index}")
        found = of_different_forms(self._several(text, stream)) if len(text) <= LIMITS.phrase else ()
        if len(found) < self._plan.wordings or max(map(len, found)) > LIMITS.phrase:
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
