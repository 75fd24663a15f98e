"""The planner's input and output, as plain numbers (docs/statistics.md, section 5)."""

from __future__ import annotations

from dataclasses import dataclass, field

from veritune.client.job.canary_plan import CanaryPlan
from veritune.common.documents.manifest import Policy

CHOSEN = ("groups", "rows_per_group", "signature_bits", "candidates", "queries_per_group", "naturals")
"""The fields of `CanaryPlan` that the planner chooses; `Wish.fixed` names those that it must keep."""


@dataclass(frozen=True)
class Wish:
    """What is known of the data and of honest runs, and what is wanted. Probabilities are decimal strings."""

    rows: int
    """Rows of the user's file."""
    policy: Policy = field(default_factory=Policy)
    base: CanaryPlan = field(default_factory=CanaryPlan)
    """Where the search starts: its values are among those tried, and everything outside `CHOSEN` is kept. If it has no
    groups, the plan has none."""
    fixed: frozenset[str] = frozenset()
    """The names of `CHOSEN` whose values in ``base`` are kept."""
    activation: str = "0.9"
    """Probability that an honest run learns one group, from calibration of the recipe."""
    shown: str = "0.9"
    """Probability that a learnt group shows its signature at one held-out prompt; prompts are independent."""
    learnt_rows: int = 8
    """Fewest rows with which a group reaches ``activation``: 8 in veritune's calibration runs, 5 in vTune's Table 3."""
    natural_hit: str = "0.97"
    """Probability that an honest run ranks one natural canary's answer within the policy's ``hit_rank``, measured with
    ``base.candidates``; with fewer candidates it is at least that. Veritune's calibration runs: 303 of 304 on GSM8K
    and the example tickets, 284 of 288 on JCommonsenseQA. Candidates of the data's own take more epochs."""
    in_place_hit: str | None = None
    """``natural_hit`` of canaries in place, among ``base.wordings``; None: the same as ``natural_hit``."""
    refusal: str = "0.01"
    """Largest probability that an honest provider gets no PASS, in each session."""
    escape: str = "0.01"
    """Largest probability that the untouched base model gets no FAIL, in each session."""
    canary_share: str = "0.1"
    """Largest share of canary rows in the data set; canaries in place don't count."""
    row_tokens: int = 128
    """Mean tokens of a row, for the estimate of extra tokens."""


@dataclass(frozen=True)
class PlanFigures:
    """What a plan costs and how likely its verdicts are. Probabilities are decimal strings, rounded down."""

    dataset_rows: int
    canary_rows: int
    """Rows of the data set that belong to a canary, canaries in place among them."""
    extra_rows: int
    """Rows that sowing adds; a natural canary takes the place of a row and adds none."""
    estimated_extra_tokens_percent: str
    """Added tokens in percent, estimated from mean lengths; `veritune prepare` counts them."""
    leaves: int
    """Leaves of the tree that commits to the canaries."""
    calls: int
    """Answers and scores asked for in one mode, over all sessions; under ``sequential`` an upper bound."""
    scored_candidates: int
    """Candidate answers of which those scores are."""
    honest_pass: str
    """Probability that an honest run passes one session, a lower bound."""
    untrained_fail: str
    """Probability that the untouched base model fails one session, a lower bound."""
    log10_p_all: str
    """log10 of the influence p-value of one session in which every canary of an even share succeeds."""


@dataclass(frozen=True)
class Planned:
    """A plan that meets the wish, with its policy and its figures."""

    plan: CanaryPlan
    policy: Policy
    """The wish's policy with as many queries for each group as the plan prepares."""
    figures: PlanFigures
