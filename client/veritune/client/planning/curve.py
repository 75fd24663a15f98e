"""The power of a planned contract: how likely each verdict is, by share of the rows trained on and by hit rate.

Exact tails, as in `plan_odds` (docs/statistics.md, section 5).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from veritune.arbiter.statistics.exact import floor_text
from veritune.client.planning.odds import Chances
from veritune.client.planning.outcome import PlanOutcome, honest_chances, untrained_chances
from veritune.client.planning.wish import Planned, Wish

_PLACES = 6


@dataclass(frozen=True)
class Point:
    """One look at the model in one session, with everything asked. Decimal strings that add up to 1."""

    at: str
    passes: str
    """At least."""
    fails: str
    """At least."""
    undecided: str
    """The rest, at most."""


@dataclass(frozen=True)
class PowerCurve:
    """``by_share``: of the rows, trained on by a provider that is honest otherwise; ``by_hit``: of an honest run by its
    natural hit rate, canaries in place included."""

    by_share: tuple[Point, ...]
    by_hit: tuple[Point, ...]


def power_curve(wish: Wish, planned: Planned, steps: int = 20) -> PowerCurve:
    """``steps`` + 1 points of each, from 0 to 1; ``steps`` divides 100.

    Of a share f of the rows, a canary hits with probability f * hit + (1 - f) * luck and a group is found with f times
    the honest probability, each independently: rows are dropped one by one, by chance.
    """
    contract = PlanOutcome(wish, planned.plan)
    odds = contract.odds()
    honest, untrained = honest_chances(wish, planned.plan), untrained_chances(wish.policy, planned.plan)

    def trained_on(share: Fraction) -> Chances:
        return Chances(
            share * honest.found,
            share * honest.drawn + (1 - share) * untrained.drawn,
            share * honest.placed + (1 - share) * untrained.placed,
        )

    def points(chances: Callable[[Fraction], Chances]) -> tuple[Point, ...]:
        found = []
        for step in range(steps + 1):
            at = Fraction(step, steps)
            outcome = odds.outcome(chances(at))
            passes, fails = (Fraction(floor_text(p, _PLACES)) for p in (outcome.passes, outcome.fails))
            texts = (floor_text(p, _PLACES) for p in (passes, fails, 1 - passes - fails))
            found.append(Point(floor_text(at, 2), *texts))
        return tuple(found)

    return PowerCurve(points(trained_on), points(lambda hit: Chances(honest.found, hit, hit)))
