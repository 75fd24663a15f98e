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
    """Claim 1, the data shaped this model: counts and p-values, as logarithms to base 10, rounded up.

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
    """Logarithm of alpha / sessions; None where alpha is 0."""
    certified: bool
    """False if the bits of at least one signature are an estimate, not a bound."""


class CoverageClaim(Document):
    """Claim 2: at least ``share_least`` of the rows that could have been canaries were trained on, rounded down.

    The bound holds at the policy's confidence, for a provider that does not choose rows by their content: see section 3
    of docs/statistics.md. Only canaries of a single row count, because whoever has the data sees repeated rows.
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
    """Claim 3, the endpoint answers ordinary prompts as the delivered adapter does. Logarithms are rounded up."""

    asked: Count
    """Number of decoys that both modes answered."""
    equal: Count
    """Number of these that both modes answered alike."""
    floor: DecimalString
    log10_p_differs: DecimalString | None
    """P-value of an endpoint that agrees on ``floor`` of its traffic or less, equation (13); None for 0."""
    log10_needed: DecimalString
    log10_p_agrees: DecimalString | None
    """P-value of an endpoint that agrees on ``floor`` of its traffic or more, equation (14); None for 0."""


class RecitalClaim(Document):
    """The recital test: how many canaries' answers the model recites. Logarithms to base 10, rounded up."""

    asked: Count
    recited: Count
    nats: Nats
    floor: Share
    log10_p_honest: DecimalString | None
    """Probability that an honest run at ``floor`` recites no more, equations (15) and (16); None for 0."""
    log10_needed: DecimalString
    """A PASS needs a probability above this one."""


class HonestFit(Document):
    """Base-10 logarithms of the chance that an honest run at the floors does no better; None for 0, or no canaries."""

    log10_p_groups: DecimalString | None
    log10_p_naturals: DecimalString | None
    log10_needed: DecimalString | None
    """Logarithm of beta, divided among tests, modes and sessions; None where beta is 0."""


class Activation(Document):
    """Numbers of prompts asked and of signatures shown, by kind of prompt. Only held-out ones count for claim 1."""

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
    """How many leaves one mode covers, of those that the session may open.

    Under ``fixed`` both are the same; under ``sequential`` the difference did not have to be asked.
    """

    leaves: Count
    available: Count


class Reason(Document):
    """One reason for the verdict: a code for programs and a sentence for people."""

    code: ReasonCode
    mode: Mode | None
    text: ShortText


class ModeJudgement(Document):
    """Verdict and figures of one mode by itself."""

    mode: Mode
    counts: bool
    """True if the policy lists this mode; another mode is only reported."""
    verdict: Verdict
    influence: InfluenceClaim
    coverage: CoverageClaim
    honest: HonestFit
    agreement: AgreementClaim | None
    """None for the delivered mode, and where not both modes were asked."""
    recital: RecitalClaim | None
    """None where the contract asks for no recitals."""
    activation: Activation
    doses: Annotated[tuple[DoseCount, ...], Field(max_length=64)]
    """Counts of natural canaries by rising number of copies."""
    extent: Extent
    missing: Count
    """Number of required answers that are absent, or cut off too early."""


class Judgement(Document):
    """The verdict with the figures of each mode and the reasons."""

    version: Literal[1] = 1
    verdict: Verdict
    modes: Annotated[tuple[ModeJudgement, ...], Field(max_length=2)]
    reasons: Annotated[tuple[Reason, ...], Field(min_length=1, max_length=64)]
