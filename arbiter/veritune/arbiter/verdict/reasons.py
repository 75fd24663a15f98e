"""The reasons of a judgement, each a code and a sentence that says what is shown and what is not."""

from __future__ import annotations

from collections.abc import Mapping

from veritune.arbiter.documents.judgement import CoverageClaim, InfluenceClaim, Mode, Reason, ReasonCode
from veritune.arbiter.verdict.recital import Recital
from veritune.arbiter.verdict.rules import Rules

RECITALS: Mapping[str, tuple[ReasonCode, str]] = {
    "shown": ("RECITAL_SHOWN", "Known by heart: "),
    "undecided": ("RECITAL_NOT_SHOWN", "Not known by heart as after the training that was agreed: only "),
    "failed": ("TOO_FEW_RECITED", "Only "),
}


def influence_reason(mode: Mode, shown: bool, claim: InfluenceClaim, rules: Rules) -> Reason:
    """The reason that says whether one mode shows influence (claim 1)."""
    seen = (
        f"without having learnt the secrets, a model {ever(rules)}does so well "
        f"with a probability of at most 10^{claim.log10_p}"
    )
    if shown:
        return make_reason("INFLUENCE_SHOWN", mode, f"The data shaped this model: {seen}.")
    needed = f"the contract asks for {rules.policy.alpha}, shared among {rules.policy.sessions} session(s)"
    return make_reason(
        "INFLUENCE_NOT_SHOWN", mode, f"It is not shown that the data shaped this model: {seen}; {needed}."
    )


def coverage_reason(mode: Mode, shown: bool, claim: CoverageClaim, rules: Rules) -> Reason:
    """The reason that says whether one mode shows coverage (claim 2), if the contract asks for it."""
    if rules.coverage_floor == 0:
        return make_reason(
            "COVERAGE_NOT_ASKED", mode, "The contract asks for no bound on the share of rows trained on."
        )
    bound = (
        f"at least {claim.share_least} of the rows that could have been canaries were trained on, at confidence "
        f"{claim.confidence}, by a provider that does not choose rows by their content"
    )
    if shown:
        return make_reason("COVERAGE_SHOWN", mode, f"Shown: {bound}; the contract asks for {claim.floor}.")
    return make_reason(
        "COVERAGE_NOT_SHOWN", mode, f"All that is shown is that {bound}; the contract asks for {claim.floor}."
    )


def recital_reason(mode: Mode, recital: Recital, rules: Rules) -> Reason:
    """The reason that says whether one mode recites enough canaries: equations (15) and (16)."""
    claim = recital.claim
    seen = f"{claim.recited} of {claim.asked} canaries' answers have a probability of at least e^-{claim.nats}"
    code, start = RECITALS[recital.outcome]
    tail = f"a run at the signed floor of {claim.floor} does no better with a probability of at most"
    return make_reason(code, mode, f"{start}{seen}; {tail} {power(claim.log10_p_honest)}.")


def ever(rules: Rules) -> str:
    """The word "ever " under sequential stopping, whose p-values hold at every moment; else nothing."""
    return "ever " if rules.policy.stopping == "sequential" else ""


def power(log10: str | None) -> str:
    """A probability as text, from its base-10 logarithm; None stands for a probability of 0."""
    return "0" if log10 is None else f"10^{log10}"


def make_reason(code: ReasonCode, mode: Mode, text: str) -> Reason:
    """A `Reason` of one mode with its code and its sentence."""
    return Reason(code=code, mode=mode, text=text)
