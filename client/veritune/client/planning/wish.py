"""What a plan is asked for, and what comes out: plain numbers (docs/statistics.md, section 5)."""

from __future__ import annotations

from dataclasses import dataclass, field

from veritune.client.job.canary_plan import CanaryPlan
from veritune.common.documents.manifest import Policy

CHOSEN = ("groups", "rows_per_group", "signature_bits", "candidates", "queries_per_group", "naturals")
"""What the planner chooses, by its name in `CanaryPlan`; each may be kept as it is (`Wish.fixed`)."""


@dataclass(frozen=True)
class Wish:
    """What is known and wanted. Probabilities are decimal strings."""

    rows: int
    """Rows of the user's file."""
    policy: Policy = field(default_factory=Policy)
    base: CanaryPlan = field(default_factory=CanaryPlan)
    """Where the search starts: its own values are among those tried, and everything outside `CHOSEN` is kept. Without
    groups there are none in the plan either."""
    fixed: frozenset[str] = frozenset()
    """Those of `CHOSEN` that stay as ``base`` has them."""
    activation: str = "0.9"
    """Probability that an honest run learns one group, from calibration of the recipe."""
    shown: str = "0.9"
    """Probability that a group that was learnt shows its signature at one held-out prompt, each by itself."""
    learnt_rows: int = 8
    """Rows from which on a group reaches ``activation``: 8 in veritune's calibration runs, 5 in vTune's Table 3."""
    natural_hit: str = "0.97"
    """Probability that an honest run ranks one natural canary's answer within the policy's ``hit_rank``, measured with
    ``base.candidates``; with fewer candidates it is at least that. Veritune's calibration runs: 303 of 304 on GSM8K
    and the example tickets, 284 of 288 on JCommonsenseQA. Candidates of the data's own take more epochs."""
    in_place_hit: str | None = None
    """The same for canaries in place, among ``base.wordings``; ``natural_hit`` unless given."""
    refusal: str = "0.01"
    """Most often that an honest provider may fail to get a PASS, in each session."""
    escape: str = "0.01"
    """Most often that the untouched base model may fail to get a FAIL, in each session."""
    canary_share: str = "0.1"
    """Most canary rows, as a share of the data set's; canaries in place don't count."""
    row_tokens: int = 128
    """Mean tokens of a row, for the estimate of extra tokens."""


@dataclass(frozen=True)
class PlanFigures:
    """What a plan costs and brings. Probabilities are decimal strings, rounded towards the worse."""

    dataset_rows: int
    canary_rows: int
    """Rows of the data set that belong to a canary, canaries in place among them."""
    extra_rows: int
    """Rows that would not be there without canaries; a natural canary takes the place of a row."""
    estimated_extra_tokens_percent: str
    """From mean lengths; `veritune prepare` counts them."""
    leaves: int
    calls: int
    """Answers and scores asked for by one look at the model in all sessions; under ``sequential`` at most so many."""
    scored_candidates: int
    """Candidate answers that those scores are of."""
    honest_pass: str
    """Of one session, at least."""
    untrained_fail: str
    """Of one session, at least."""
    log10_p_all: str
    """Influence p-value of a session with its share of the canaries, where every one of them succeeds."""


@dataclass(frozen=True)
class Planned:
    """A plan that reaches its aims, the policy with as many queries, and its figures."""

    plan: CanaryPlan
    policy: Policy
    figures: PlanFigures
