"""Tests whether a model recites the canaries' answers as an honest run does: equations (15) and (16).

Ranks show that rows were trained on; how far an answer's probability has risen shows how much. Fewer epochs, a lower
rank or a hasty learning rate leave it low, where ranks may be good already (docs/statistics.md, section 10).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from veritune.arbiter.documents.judgement import RecitalClaim
from veritune.arbiter.statistics.exact import binomial_at_most, log10_or_none, log10_text
from veritune.arbiter.verdict.rules import Rules

_MILLIONTHS = 10**6


@dataclass(frozen=True)
class Recital:
    """The result of the recital test: enough recitals are shown, far too few are (``failed``), or neither."""

    outcome: Literal["shown", "undecided", "failed"]
    claim: RecitalClaim


def is_recited(log_probability: str, nats: str) -> bool:
    """True if the true answer's log-probability, a text with six places, is at least -``nats``; compared exactly."""
    return int(log_probability.replace(".", "")) >= -Fraction(nats) * _MILLIONTHS


def weigh(rules: Rules, recited: Sequence[bool]) -> Recital | None:
    """The recital test of one mode, equations (15) and (16); None where the contract asks for no recitals.

    Nothing is shown where no canary was asked.
    """
    if not rules.recital_floor:
        return None
    p_honest = binomial_at_most(len(recited), rules.recital_floor, sum(recited))
    claim = RecitalClaim(
        asked=len(recited),
        recited=sum(recited),
        nats=rules.policy.recital_nats,
        floor=rules.policy.recital_floor,
        log10_p_honest=log10_or_none(p_honest),
        log10_needed=log10_text(1 - rules.confidence),
    )
    if p_honest <= rules.beta:
        return Recital("failed", claim)
    return Recital("shown" if recited and p_honest > 1 - rules.confidence else "undecided", claim)
