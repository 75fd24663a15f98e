"""The judgement as a document: the verdict, both claims with their bounds, and the reasons (SPEC section 7.2)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from veritune.common.documents.base import Count, DecimalString, Document, Nats, Positive, Share, ShortText

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
    "RECITAL_SHOWN",
    "RECITAL_NOT_SHOWN",
    "TOO_FEW_RECITED",
    "ENDPOINT_AGREES",
    "ENDPOINT_DIFFERS",
    "ENDPOINT_UNDECIDED",
    "SIGNATURES_NOT_CERTIFIED",
]


class InfluenceClaim(Document):
    """Claim 1: the data shaped this model. Logarithms to base 10, rounded up.

    Under sequential stopping the p-values hold at every moment of the challenge (docs/statistics.md, section 8).
    """

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
    """Claim 2: at least ``share_least`` of the rows that could have been canaries were trained on, rounded down.

    At the policy's confidence, by a provider that does not choose rows by their content (statistics.md, section 3).
    Only natural canaries of a single row are counted: whoever has the data sees that rows are repeated.
    """

    asked: Count
    hits: Count
    hit_rank: Positive
    rows: Positive
    rows_least: Count
    share_least: DecimalString
    confidence: DecimalString
    floor: DecimalString


class AgreementClaim(Document):
    """Claim 3, of an endpoint: it answers ordinary prompts as the delivered adapter does. Logarithms rounded up."""

    asked: Count
    """Decoys that both modes answered."""
    equal: Count
    floor: DecimalString
    log10_p_differs: DecimalString | None
    """Of an endpoint that agrees on ``floor`` of its traffic at most to do so well; None for a probability of 0."""
    log10_needed: DecimalString
    log10_p_agrees: DecimalString | None
    """Of an endpoint that agrees on ``floor`` or more to do no better; None for a probability of 0."""


class RecitalClaim(Document):
    """The canaries' answers are known by heart as well as by an honest run. Logarithms to base 10, rounded up."""

    asked: Count
    recited: Count
    nats: Nats
    floor: Share
    log10_p_honest: DecimalString | None
    """Of an honest run at ``floor`` to recite no more; None for a probability of 0."""
    log10_needed: DecimalString
    """A PASS needs more than this."""


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


class DoseCount(Document):
    """Natural canaries of ``copies`` rows each: how many were asked, and how many came out within the hit rank."""

    copies: Positive
    asked: Count
    hits: Count


class Extent(Document):
    """How far a look went: leaves of the session's order that it covers, of those that the session may open.

    Under ``fixed`` both are the same; under ``sequential`` the difference is what needed not be asked.
    """

    leaves: Count
    available: Count


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
    agreement: AgreementClaim | None
    """None for the delivered mode, and where the modes were not both looked at."""
    recital: RecitalClaim | None
    """None where the contract asks for none."""
    activation: Activation
    doses: Annotated[tuple[DoseCount, ...], Field(max_length=64)]
    """By rising number of copies."""
    extent: Extent
    missing: Count


class Judgement(Document):
    """The verdict with everything it rests on."""

    version: Literal[1] = 1
    verdict: Verdict
    modes: Annotated[tuple[ModeJudgement, ...], Field(max_length=2)]
    reasons: Annotated[tuple[Reason, ...], Field(min_length=1, max_length=64)]
