"""A policy's thresholds, exact, with alpha and beta divided among its tests (docs/statistics.md, section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from veritune.arbiter.statistics.exact import parse_probability
from veritune.common.documents.manifest import Policy
from veritune.common.errors import MalformedDocumentError


@dataclass(frozen=True)
class Rules:
    """A policy's thresholds as exact fractions."""

    policy: Policy
    alpha: Fraction
    """Largest influence p-value of a PASS in one session."""
    beta: Fraction
    """Largest p-value of a FAIL in one test of one mode of one session."""
    trigger_floor: Fraction
    natural_floor: Fraction
    recital_floor: Fraction
    coverage_floor: Fraction
    confidence: Fraction
    match_floor: Fraction

    @classmethod
    def of(cls, policy: Policy) -> Rules:
        """The thresholds of ``policy``. Raises `MalformedDocumentError` where it makes no sense.

        alpha is divided among the sessions; beta among the sessions and their tests: two in each mode, one more where
        the contract asks for recitals, and one in all where agreement decides.
        """
        confidence = parse_probability(policy.coverage_confidence)
        if not 0 < confidence < 1:
            raise MalformedDocumentError("a confidence lies strictly between 0 and 1", field="confidence")
        if len(set(policy.modes)) != len(policy.modes):
            raise MalformedDocumentError("a policy lists a mode twice", field="modes")
        match_floor = parse_probability(policy.match_floor)
        if policy.compares and (len(policy.modes) != 2 or not 0 < match_floor < 1):
            raise MalformedDocumentError(
                "an endpoint is compared with the adapter only where both modes must pass, over a floor between 0 and 1"
            )
        recital_floor = Fraction(policy.recital_floor)
        if recital_floor and policy.stopping != "fixed":
            raise MalformedDocumentError("recitals are counted only where stopping is fixed", field="recital_floor")
        tests = (2 + bool(recital_floor)) * len(policy.modes) + policy.compares
        return cls(
            policy=policy,
            alpha=parse_probability(policy.alpha) / policy.sessions,
            beta=parse_probability(policy.beta) / (tests * policy.sessions),
            trigger_floor=parse_probability(policy.trigger_floor),
            natural_floor=parse_probability(policy.natural_floor),
            recital_floor=recital_floor,
            coverage_floor=parse_probability(policy.coverage_floor),
            confidence=confidence,
            match_floor=match_floor,
        )
