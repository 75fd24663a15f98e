"""Rewording rows by rules or a model, and the canaries in place among them (docs/statistics.md, section 3)."""

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
"""Number of rows between two calls of the progress callback."""


@dataclass(frozen=True)
class RewrittenRows:
    """The training rows as they will be sent, and the canaries in place; keys are indices of the user's rows."""

    rows: dict[int, Row]
    in_place: dict[int, Natural]
    eligible: int | None
    """How many rows could have been a canary in place; None if the plan has none, or if not all rows were tried."""


class RowRewriter:
    """Rewords rows as one `Rewording` document says, with random choices that ``seed`` decides.

    ``longest`` is the training's sequence length in tokens, or None if it isn't known. ``model`` gives the wordings if
    a language model writes them; each answer costs a request, so only as many rows are tried as the plan needs.
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
        """The training rows with their canaries in place, and the other rows reworded if the plan says so.

        Canaries are a uniform sample of the eligible rows. A row is eligible if it has room (``fits``), has enough
        wordings, and if its prompt occurs in no other row and in no copy of a trigger group, which would teach another
        answer to it. A row without room is left unchanged.

        Raises `PlanError` if too few rows are eligible or the rewording is unfit, `EndpointError` if the rewording
        model can't be asked.
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
        """The row with a random wording of its answer, drawn from the stream of ``label``.

        The row itself comes back if no wording fits. Raises `PlanError` for an unfit rewording, `EndpointError` if the
        rewording model can't be asked.
        """
        text = self._one(row.completion, SecretStream(self._seed, label))
        # Rows that fit have room for a phrase more. Rewording adds far less, so this is a guard only.
        return row if len(text) > len(row.completion) + LIMITS.phrase else answered(row, text)

    def _choose(
        self, rows: Sequence[Row], possible: Sequence[int], on_progress: Progress
    ) -> tuple[list[int], int | None]:
        """A uniform sample of the eligible rows, and how many are eligible; None if not all were tried.

        A language model is asked about row after row in random order, until enough are found: the first eligible rows
        of a random order are a uniform sample too.
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
                f"the data have {len(chosen)}",
                setting="canaries.in_place",
                found=str(len(chosen)),
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
        """The row's candidates, the same at every call; empty if the row can't be a canary."""
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
