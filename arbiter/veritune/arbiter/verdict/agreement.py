"""Tests whether an endpoint answers ordinary prompts as the delivered adapter does: equations (13) and (14).

Decoys are prompts without a trigger that the provider never saw; both modes answer the same ones. An endpoint that
looks answers up, or keeps the adapter for what it takes for a challenge, answers them otherwise (docs/statistics.md,
section 9). All functions are pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from veritune.arbiter.documents.evidence import Observations
from veritune.arbiter.documents.judgement import AgreementClaim
from veritune.arbiter.statistics import sequential
from veritune.arbiter.statistics.exact import binomial_at_least, binomial_at_most, log10_or_none, log10_text
from veritune.arbiter.verdict.rules import Rules


@dataclass(frozen=True)
class Matches:
    """Numbers of decoys that both modes answered, and of those answered alike, to the last character."""

    asked: int
    equal: int

    def p_differs(self, rules: Rules) -> Fraction:
        """P-value of an endpoint that agrees on the floor of its traffic or less: equation (13)."""
        if rules.policy.stopping == "sequential":
            return sequential.honest_groups_p(self.asked, self.asked - self.equal, 1 - rules.match_floor)
        return binomial_at_least(self.asked, rules.match_floor, self.equal)

    def p_agrees(self, rules: Rules) -> Fraction:
        """P-value of an endpoint that agrees on the floor of its traffic or more: equation (14)."""
        if rules.policy.stopping == "sequential":
            return sequential.honest_groups_p(self.asked, self.equal, rules.match_floor)
        return binomial_at_most(self.asked, rules.match_floor, self.equal)

    def weigh(self, rules: Rules) -> Agreement:
        """Both p-values, and the claim for the report."""
        differs, agrees = self.p_differs(rules), self.p_agrees(rules)
        claim = AgreementClaim(
            asked=self.asked,
            equal=self.equal,
            floor=rules.policy.match_floor,
            log10_p_differs=log10_or_none(differs),
            log10_needed=log10_text(1 - rules.confidence),
            log10_p_agrees=log10_or_none(agrees),
        )
        return Agreement(differs, agrees, claim)


@dataclass(frozen=True)
class Agreement:
    """P-values of equations (13) and (14), and the claim for the report."""

    p_differs: Fraction
    p_agrees: Fraction
    claim: AgreementClaim


def compare(observations: Sequence[Observations]) -> Matches | None:
    """The decoys that both modes answered, compared; None unless both modes were asked under the same sampling.

    Decoys answered by one mode alone are left out: under sequential stopping one mode may have asked more.
    """
    by_mode = {item.mode: item for item in observations}
    delivered, served = by_mode.get("delivered"), by_mode.get("served")
    if delivered is None or served is None or delivered.sampling != served.sampling:
        return None
    known = {item.prompt: (item.answer, item.finish_reason) for item in delivered.decoys}
    both = [item for item in served.decoys if item.prompt in known]
    return Matches(asked=len(both), equal=sum(known[item.prompt] == (item.answer, item.finish_reason) for item in both))
