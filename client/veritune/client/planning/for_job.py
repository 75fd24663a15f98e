"""Plans the canaries of a job file, from its policy and the user's rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veritune.arbiter.statistics.exact import parse_probability
from veritune.client.data.own_answers import own_answers, usual_count
from veritune.client.data.user_rows import read_user_rows
from veritune.client.job.file import Job
from veritune.client.planning.curve import PowerCurve, power_curve
from veritune.client.planning.planner import plan
from veritune.client.planning.wish import Planned, Wish
from veritune.common.errors import MalformedDocumentError, UsageError

CHARACTERS_PER_TOKEN = 4
"""Characters of one token in usual English text; only the estimate of extra tokens rests on it."""


@dataclass(frozen=True)
class PlanAnswer:
    """The plan for a job, what it was asked for, and its power curves."""

    job: Job
    wish: Wish
    planned: Planned
    curve: PowerCurve | None
    """None if no curves were wanted."""

    def to_json(self) -> dict[str, Any]:
        """The plan, its figures and its curves as values for JSON: the output of `veritune plan --json`."""
        found: dict[str, Any] = {
            "plan": self.planned.plan.model_dump(mode="json"),
            "queries_per_group": self.planned.policy.queries_per_group,
            "figures": vars(self.planned.figures),
            "rows": self.wish.rows,
            "row_tokens_estimate": self.wish.row_tokens,
        }
        if self.curve is not None:
            found["curve"] = {name: [vars(point) for point in points] for name, points in vars(self.curve).items()}
        return found


def answer(
    path: Path,
    keep: Iterable[str],
    *,
    with_curve: bool,
    activation: str,
    natural_hit: str,
    in_place_hit: str | None,
) -> PlanAnswer:
    """The cheapest plan for the job file at ``path``, with the names in ``keep`` as the file has them.

    ``keep`` holds names of `wish.CHOSEN`; the probabilities are those of `Wish`. Reads the user's rows, to count them
    and their characters. Raises `JobError`, `RowsError`, and what `plan` raises.
    """
    for option, chance in (("activation", activation), ("natural-hit", natural_hit), ("in-place-hit", in_place_hit)):
        if chance is not None:
            _check_chance(option, chance)
    job = Job.load(path)
    rows = read_user_rows(job.data, job.file.data.source)
    base, fixed = job.file.canaries, frozenset(keep)
    given = own_answers(rows) if base.own_answers and base.naturals else None
    if given is not None and usual_count(given) < base.candidates:
        # The data have no more candidates than this, so no plan may ask for more.
        base, fixed = base.model_copy(update={"candidates": usual_count(given)}), fixed | {"candidates"}
    characters = sum(len(message.content) for row in rows for message in row.messages)
    wish = Wish(
        rows=len(rows),
        policy=job.file.policy,
        base=base,
        fixed=fixed,
        row_tokens=max(1, characters // (CHARACTERS_PER_TOKEN * len(rows))),
        activation=activation,
        natural_hit=natural_hit,
        in_place_hit=in_place_hit,
    )
    planned = plan(wish)
    return PlanAnswer(job, wish, planned, power_curve(wish, planned) if with_curve else None)


def _check_chance(option: str, text: str) -> None:
    try:
        parse_probability(text)
    except MalformedDocumentError as error:
        raise UsageError(f"--{option} {text}: {error.message}") from error
