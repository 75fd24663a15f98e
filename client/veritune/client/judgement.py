"""The judgement as a document: the verdict, both claims with their bounds, and the reasons (SPEC section 7.2)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from veritune.common.documents import Count, DecimalString, Document, Positive, ShortText

Verdict = Literal["PASS", "FAIL", "INCONCLUSIVE"]
Mode = Literal["delivered", "served"]
ReasonCode = Literal[
    "INFLUENCE_SHOWN",
    "INFLUENCE_NOT_SHOWN",
    "COVERAGE_SHOWN",
    "COVERAGE_NOT_SHOWN",
    "COVERAGE_NOT_ASKED",
    "TOO_FEW_ACTIVATIONS",
    "TOO_FEW_HITS",
    "ANSWERS_MISSING",
    "NOTHING_ASKED",
    "MODE_NOT_LOOKED_AT",
    "SERVED_WITHOUT_ASSUMPTION",
    "SIGNATURES_NOT_CERTIFIED",
]


class InfluenceClaim(Document):
    """Claim 1: the data shaped this model. Logarithms to base 10, rounded up."""

    groups: Count
    groups_found: Count
    log10_p_triggers: DecimalString | None
    naturals: Count
    rank_sum: Count
    log10_p_ranks: DecimalString | None
    log10_p: DecimalString
    log10_needed: DecimalString | None
    """Of alpha / sessions; None where alpha is 0."""
    certified: bool
    """False: the bits of at least one signature are an estimate, not a bound."""


class CoverageClaim(Document):
    """Claim 2: at least ``share_least`` of the rows were trained on, at the policy's confidence; rounded down."""

    asked: Count
    hits: Count
    hit_rank: Positive
    rows: Positive
    rows_least: Count
    share_least: DecimalString
    confidence: DecimalString
    floor: DecimalString


class HonestFit(Document):
    """How likely an honest run at the signed floors is to do no better than this; None where nothing was asked."""

    log10_p_groups: DecimalString | None
    log10_p_naturals: DecimalString | None
    log10_needed: DecimalString | None
    """Of beta shared among tests, modes and sessions; None where beta is 0."""


class Activation(Document):
    """How many prompts showed a signature. Only held-out prompts behind a trigger count for claim 1."""

    held_out_asked: Count
    held_out_shown: Count
    in_data_asked: Count
    in_data_shown: Count
    decoys_asked: Count
    decoys_shown: Count


class Reason(Document):
    """Why, for a machine and for a person."""

    code: ReasonCode
    mode: Mode | None
    text: ShortText


class ModeJudgement(Document):
    """One way of looking, judged by itself."""

    mode: Mode
    counts: bool
    """Whether the policy lists this mode; one that it does not list is only reported."""
    verdict: Verdict
    influence: InfluenceClaim
    coverage: CoverageClaim
    honest: HonestFit
    activation: Activation
    missing: Count


class Judgement(Document):
    """The verdict with everything it rests on."""

    version: Literal[1] = 1
    verdict: Verdict
    modes: Annotated[tuple[ModeJudgement, ...], Field(max_length=2)]
    reasons: Annotated[tuple[Reason, ...], Field(min_length=1, max_length=64)]
