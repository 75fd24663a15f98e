"""The power of a planned contract: how likely each verdict is, by share of the rows trained on and by hit rate.

Probabilities come from exact binomial tails, as in `planning.odds` (docs/statistics.md, section 5).
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
    """Probabilities of the verdicts of one mode in one session with everything asked: decimal strings that sum to 1."""

    at: str
    """The share or hit rate for which the probabilities hold."""
    passes: str
    """Probability of PASS, a lower bound."""
    fails: str
    """Probability of FAIL, a lower bound."""
    undecided: str
    """Probability of INCONCLUSIVE, an upper bound."""


@dataclass(frozen=True)
class PowerCurve:
    """Two curves of verdict probabilities, each with points from 0 to 1."""

    by_share: tuple[Point, ...]
    """The curve by the share of rows trained on, for a provider that is honest otherwise."""
    by_hit: tuple[Point, ...]
    """The curve by an honest run's hit rate of natural canaries, those in place included."""


def power_curve(wish: Wish, planned: Planned, steps: int = 20) -> PowerCurve:
    """The power curves of a plan, each with ``steps`` + 1 points; ``steps`` must divide 100.

    If a share f of the rows is trained on, dropped one by one by chance, a canary hits with probability
    f * hit + (1 - f) * luck and a group is found with f times the honest probability, all independently.
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
