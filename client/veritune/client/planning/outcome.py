"""One plan under one policy: how likely its verdicts are and what it costs (docs/statistics.md, section 5)."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from veritune.arbiter.statistics.exact import floor_text, log10_text, parse_probability
from veritune.arbiter.verdict.rules import Rules
from veritune.client.job.canary_plan import CanaryPlan
from veritune.client.planning.cost import (
    asked_of,
    calls,
    dataset_rows,
    drawn_rows,
    extra_rows,
    extra_tokens_percent,
    leaves_of,
    scored_candidates,
)
from veritune.client.planning.odds import Chances, Odds, share_of
from veritune.client.planning.thresholds import Terms, Thresholds
from veritune.client.planning.wish import PlanFigures, Wish
from veritune.common.documents.manifest import Policy

_HALF_A_PLACE = Fraction(1, 200)


class PlanOutcome:
    """Computes the verdict probabilities and the costs of a plan.

    ``policy`` is that of the wish with as many queries as the plan prepares. Raises `MalformedDocumentError` for a
    policy or probability that is out of range.
    """

    def __init__(self, wish: Wish, canaries: CanaryPlan) -> None:
        self.wish, self.plan = wish, canaries
        self.policy: Policy = wish.policy.model_copy(update={"queries_per_group": canaries.queries_per_group})
        self._rules = Rules.of(self.policy)
        self._honest, self._untrained = honest_chances(wish, canaries), untrained_chances(wish.policy, canaries)

    def honest_pass(self, odds: Odds) -> Fraction:
        """A lower bound on the probability that an honest run passes a session in every mode of the policy.

        Under ``sequential`` a FAIL may come before; equation (10) bounds how often. If the contract asks for recitals,
        they count as shown: calibration puts their floor below what honest runs recite.
        """
        modes, rules, chances = len(self.policy.modes), self._rules, self._honest
        early = Fraction(0)
        if self.policy.stopping == "sequential":
            early = 2 * rules.beta
            if chances.found < rules.trigger_floor or min(chances.drawn, chances.placed) < rules.natural_floor:
                return Fraction(0)  # the equation speaks of runs at the floors or above
        return max(Fraction(0), 1 - modes * (1 - odds.outcome(self._honest).passes + early))

    def untrained_fail(self, odds: Odds) -> Fraction:
        """A lower bound on the probability that the untouched base model fails a session.

        Under ``sequential`` a PASS may come before, with a probability of at most alpha.
        """
        early = self._rules.alpha if self.policy.stopping == "sequential" else Fraction(0)
        return max(Fraction(0), odds.outcome(self._untrained).fails - early)

    def odds(self) -> Odds:
        """The odds of one session, which gets its share of the canaries by chance."""
        dropped = min(parse_probability(self.wish.refusal), parse_probability(self.wish.escape)) / 100
        return Odds.divided(self._terms(self._rules), asked_of(self.plan), leaves_of(self.plan), dropped)

    def guess(self, influence: bool = True) -> Odds:
        """The approximate odds of one session with an even share; without ``influence`` every p-value passes."""
        rules = self._rules if influence else replace(self._rules, alpha=Fraction(1))
        return Odds.even(self._terms(rules), asked_of(self.plan))

    @property
    def alpha(self) -> Fraction:
        """The largest influence p-value that passes in one session."""
        return self._rules.alpha

    def best_p(self) -> Fraction:
        """The smallest influence p-value that one session can reach: every canary of an even share succeeds."""
        share = share_of(asked_of(self.plan), self.policy.sessions)
        return Thresholds(self._terms(self._rules), share).p_value(share.groups, share.drawn, share.in_place)

    def figures(self) -> PlanFigures:
        """The plan's costs and verdict probabilities, for reports."""
        odds = self.odds()
        return PlanFigures(
            dataset_rows=dataset_rows(self.wish.rows, self.plan),
            canary_rows=self.plan.groups * self.plan.rows_per_group + drawn_rows(self.plan) + self.plan.in_place,
            extra_rows=extra_rows(self.plan),
            estimated_extra_tokens_percent=floor_text(extra_tokens_percent(self.wish, self.plan) + _HALF_A_PLACE, 2),
            leaves=leaves_of(self.plan),
            calls=calls(self.plan, self.policy),
            scored_candidates=scored_candidates(self.plan),
            honest_pass=floor_text(self.honest_pass(odds), 6),
            untrained_fail=floor_text(self.untrained_fail(odds), 6),
            log10_p_all=log10_text(self.best_p()),
        )

    def _terms(self, rules: Rules) -> Terms:
        canaries = self.plan
        return Terms(
            rules=rules,
            rows=dataset_rows(self.wish.rows, canaries),
            queries=canaries.queries_per_group,
            bits=canaries.signature_bits,
            candidates=canaries.candidates,
            wordings=canaries.wordings,
        )


def honest_chances(wish: Wish, canaries: CanaryPlan) -> Chances:
    """The probabilities of an honest run: a group is found if it was learnt and one of its queries shows it.

    Raises `MalformedDocumentError` for text that is no probability.
    """
    hidden = (1 - parse_probability(wish.shown)) ** canaries.queries_per_group
    drawn = parse_probability(wish.natural_hit)
    placed = drawn if wish.in_place_hit is None else parse_probability(wish.in_place_hit)
    return Chances(parse_probability(wish.activation) * (1 - hidden), drawn, placed)


def untrained_chances(policy: Policy, canaries: CanaryPlan) -> Chances:
    """The probabilities of the untouched base model: no group is found, natural canaries hit by luck alone."""
    lucks = (min(Fraction(1), Fraction(policy.hit_rank, n)) for n in (canaries.candidates, canaries.wordings))
    return Chances(Fraction(0), *lucks)
