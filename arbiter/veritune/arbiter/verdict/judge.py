"""From what was seen to PASS, FAIL or INCONCLUSIVE, by the rules that both parties signed.

Equations (5) and (6) of docs/statistics.md, on p-values by the form of stopping that the policy names: of a fixed
number of canaries, or of as many as were asked one after the other (`veritune.arbiter.statistics.sequential`).
Pure: the same looks and policy give the same judgement on every machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from veritune.arbiter.documents.judgement import (
    Activation,
    CoverageClaim,
    DoseCount,
    Extent,
    HonestFit,
    InfluenceClaim,
    Judgement,
    Mode,
    ModeJudgement,
    Reason,
    ReasonCode,
    Verdict,
)
from veritune.arbiter.statistics import sequential
from veritune.arbiter.statistics.coverage import Coverage, coverage_bound
from veritune.arbiter.statistics.exact import binomial_at_most, floor_text, log10_or_none, log10_text
from veritune.arbiter.statistics.influence import Group, Ranked, influence_p, rank_p, rank_sum, trigger_p
from veritune.arbiter.verdict.agreement import Agreement, Matches
from veritune.arbiter.verdict.recital import Recital, weigh
from veritune.arbiter.verdict.rules import Rules
from veritune.common.documents.manifest import Policy

_RECITALS: Mapping[str, tuple[ReasonCode, str]] = {
    "shown": ("RECITAL_SHOWN", "Known by heart: "),
    "undecided": ("RECITAL_NOT_SHOWN", "Not known by heart as after the training that was agreed: only "),
    "failed": ("TOO_FEW_RECITED", "Only "),
}


@dataclass(frozen=True)
class GroupLook:
    """The answers of one trigger group; ``group.queries`` counts the held-out prompts that were answered."""

    group: Group
    held_out_shown: int
    in_data_asked: int
    in_data_shown: int
    certified: bool


@dataclass(frozen=True)
class Look:
    """One way of looking at the model. ``missing`` counts answers that the contract asks for and that are not there.

    Groups and naturals may stand in any order: no test of either form depends on it.
    """

    mode: Mode
    groups: tuple[GroupLook, ...]
    naturals: tuple[Ranked, ...]
    decoys_asked: int
    decoys_shown: int
    missing: int
    recited: tuple[bool, ...] = ()
    """Of the naturals whether each is recited, in any order."""
    leaves: int = 0
    """Leaves that it covers, padding among them, of ``available`` that the session may open: for the report."""
    available: int = 0
    matches: Matches | None = None
    """Of the served mode, set against the delivered one."""

    @property
    def groups_appeared(self) -> int:
        """Groups whose S appeared at all. The client chose the held-out prompts: that a model that has learnt a group
        does not take them for such prompts is no fault of the provider's."""
        return sum(item.group.found or item.in_data_shown > 0 for item in self.groups)


def judge(policy: Policy, rows: int, looks: Sequence[Look]) -> Judgement:
    """The verdict over a data set of ``rows`` rows.

    FAIL if a mode that the policy lists fails, PASS if every one of them passes, INCONCLUSIVE otherwise.
    """
    rules = Rules.of(policy)
    judged = [_judge_mode(rules, rows, look) for look in looks]
    reasons = [reason for _, its_reasons in judged for reason in its_reasons]
    found = {mode.mode: mode.verdict for mode, _ in judged}
    verdicts: list[Verdict] = []
    for wanted in policy.modes:
        if wanted not in found:
            reasons.append(
                _reason("MODE_NOT_LOOKED_AT", wanted, f"The contract asks for the {wanted} model; nobody looked.")
            )
        verdicts.append(found.get(wanted, "INCONCLUSIVE"))
    return Judgement(verdict=_overall(verdicts), modes=tuple(mode for mode, _ in judged), reasons=tuple(reasons))


def _overall(verdicts: Sequence[Verdict]) -> Verdict:
    if "FAIL" in verdicts:
        return "FAIL"
    return "PASS" if set(verdicts) == {"PASS"} else "INCONCLUSIVE"


@dataclass(frozen=True)
class _Weighed:
    """What a look comes to, whatever the form; None where there is nothing to test."""

    p_triggers: Fraction | None
    p_ranks: Fraction | None
    p: Fraction
    covered: Coverage
    p_groups: Fraction | None
    """Of an honest run to do no better; 1 - beta's side of the verdict."""
    p_naturals: Fraction | None


def _weigh_fixed(rules: Rules, rows: int, look: Look) -> _Weighed:
    """Equations (1) to (4) and the tails of (6): everything that the session opens was asked."""
    groups, naturals = [item.group for item in look.groups], look.naturals
    single = [item for item in naturals if item.copies == 1]
    # With different numbers of candidates the largest luck of all is taken for each: too much credit to chance.
    luck = max((_luck(rules, item) for item in single), default=Fraction(1))
    hits = _hits(rules, naturals)
    return _Weighed(
        p_triggers=trigger_p(groups) if groups else None,
        p_ranks=rank_p(naturals) if naturals else None,
        p=influence_p(groups, naturals),
        covered=coverage_bound(rows, len(single), _hits(rules, single), luck, rules.confidence),
        p_groups=binomial_at_most(len(groups), rules.trigger_floor, look.groups_appeared) if groups else None,
        p_naturals=binomial_at_most(len(naturals), rules.natural_floor, hits) if naturals else None,
    )


def _weigh_sequential(rules: Rules, rows: int, look: Look) -> _Weighed:
    """Equations (7) to (10): right wherever the challenge stopped."""
    groups, naturals = [item.group for item in look.groups], look.naturals
    single = [item for item in naturals if item.copies == 1]
    outcomes = [(_luck(rules, item), item.rank <= rules.policy.hit_rank) for item in naturals]
    lucks = [_luck(rules, item) for item in single if item.rank <= rules.policy.hit_rank]
    return _Weighed(
        p_triggers=sequential.p_value(sequential.trigger_e(groups)) if groups else None,
        p_ranks=sequential.p_value(sequential.rank_e(naturals)) if naturals else None,
        p=sequential.p_value(sequential.influence_e(groups, naturals)),
        covered=sequential.coverage_bound(rows, len(single), lucks, rules.confidence),
        p_groups=sequential.honest_groups_p(len(groups), look.groups_appeared, rules.trigger_floor) if groups else None,
        p_naturals=sequential.honest_naturals_p(outcomes, rules.natural_floor) if naturals else None,
    )


def _luck(rules: Rules, item: Ranked) -> Fraction:
    """The most that a canary can hit with, had its row not been trained on."""
    return min(Fraction(1), Fraction(rules.policy.hit_rank, item.candidates))


def _hits(rules: Rules, naturals: Sequence[Ranked]) -> int:
    return sum(item.rank <= rules.policy.hit_rank for item in naturals)


def _doses(rules: Rules, naturals: Sequence[Ranked]) -> tuple[DoseCount, ...]:
    asked = Counter(item.copies for item in naturals)
    hits = Counter(item.copies for item in naturals if item.rank <= rules.policy.hit_rank)
    return tuple(DoseCount(copies=copies, asked=asked[copies], hits=hits[copies]) for copies in sorted(asked))


def _judge_mode(rules: Rules, rows: int, look: Look) -> tuple[ModeJudgement, list[Reason]]:
    policy = rules.policy
    weighed = (_weigh_sequential if policy.stopping == "sequential" else _weigh_fixed)(rules, rows, look)
    single = [item for item in look.naturals if item.copies == 1]
    influence = InfluenceClaim(
        groups=len(look.groups),
        groups_found=sum(item.group.found for item in look.groups),
        log10_p_triggers=log10_or_none(weighed.p_triggers),
        naturals=len(look.naturals),
        rank_sum=rank_sum(look.naturals),
        log10_p_ranks=log10_or_none(weighed.p_ranks),
        log10_p=log10_text(weighed.p),
        log10_needed=log10_or_none(rules.alpha),
        certified=all(item.certified for item in look.groups),
    )
    coverage = CoverageClaim(
        asked=len(single),
        hits=_hits(rules, single),
        hit_rank=policy.hit_rank,
        rows=rows,
        rows_least=weighed.covered.rows_least,
        share_least=floor_text(weighed.covered.share),
        confidence=policy.coverage_confidence,
        floor=policy.coverage_floor,
    )
    honest = HonestFit(
        log10_p_groups=log10_or_none(weighed.p_groups),
        log10_p_naturals=log10_or_none(weighed.p_naturals),
        log10_needed=log10_or_none(rules.beta),
    )
    agreement = None if look.matches is None else look.matches.weigh(rules)
    recital = weigh(rules, look.recited)
    verdict, reasons = _decide(
        look,
        too_few=(_at_most(weighed.p_groups, rules.beta), _at_most(weighed.p_naturals, rules.beta)),
        influenced=weighed.p <= rules.alpha,
        covered=weighed.covered.share >= rules.coverage_floor,
        influence=influence,
        coverage=coverage,
        honest=honest,
        recital=recital,
        agreement=agreement,
        rules=rules,
    )
    return (
        ModeJudgement(
            mode=look.mode,
            counts=look.mode in policy.modes,
            verdict=verdict,
            influence=influence,
            coverage=coverage,
            honest=honest,
            agreement=None if agreement is None else agreement.claim,
            recital=None if recital is None else recital.claim,
            activation=_activation(look),
            doses=_doses(rules, look.naturals),
            extent=Extent(leaves=look.leaves, available=look.available),
            missing=look.missing,
        ),
        reasons,
    )


def _decide(
    look: Look,
    *,
    too_few: tuple[bool, bool],
    influenced: bool,
    covered: bool,
    influence: InfluenceClaim,
    coverage: CoverageClaim,
    honest: HonestFit,
    recital: Recital | None,
    agreement: Agreement | None,
    rules: Rules,
) -> tuple[Verdict, list[Reason]]:
    """Missing answers first: a gap never counts against the provider, nor for it. Then FAIL, then PASS."""
    mode, reasons = look.mode, list[Reason]()
    if not influence.certified:
        text = "At least one signature's entropy is an estimate by sampling, so its p-value is no proven bound."
        reasons.append(_reason("SIGNATURES_NOT_CERTIFIED", mode, text))
    if not look.groups and not look.naturals:
        reasons.append(_reason("NOTHING_ASKED", mode, "No canary was asked."))
        return "INCONCLUSIVE", reasons
    if look.missing:
        reasons.append(
            _reason("ANSWERS_MISSING", mode, f"{look.missing} answers that the contract asks for are missing.")
        )
        return "INCONCLUSIVE", reasons
    failed = recital is not None and recital.outcome == "failed"
    if any(too_few) or failed:
        if too_few[0]:
            text = (
                f"Only {look.groups_appeared} of {influence.groups} signatures appeared, prompts of the data counted "
                f"too; an honest run {_ever(rules)}does so badly with a probability of at most "
                f"{_power(honest.log10_p_groups)}."
            )
            reasons.append(_reason("TOO_FEW_ACTIVATIONS", mode, text))
        if too_few[1]:
            text = (
                f"Only {_hits(rules, look.naturals)} of {len(look.naturals)} natural canaries came out within rank "
                f"{coverage.hit_rank}; an honest run {_ever(rules)}does so badly with a probability of at most "
                f"{_power(honest.log10_p_naturals)}."
            )
            reasons.append(_reason("TOO_FEW_HITS", mode, text))
        if recital is not None and failed:
            reasons.append(_recital_reason(mode, recital, rules))
        return "FAIL", reasons
    reasons.append(_influence_reason(mode, influenced, influence, rules))
    reasons.append(_coverage_reason(mode, covered, coverage, rules))
    if recital is not None:
        reasons.append(_recital_reason(mode, recital, rules))
    if mode == "served" and rules.policy.served_assumption == "none":
        text = "An endpoint alone can't pass: it may look answers up, and the contract assumes nothing about that."
        reasons.append(_reason("SERVED_WITHOUT_ASSUMPTION", mode, text))
        return "INCONCLUSIVE", reasons
    agrees: Verdict = "PASS"
    if mode == "served" and rules.policy.compares:
        agrees, reason = _agrees(rules, agreement)
        reasons.append(reason)
    if agrees == "FAIL":
        return "FAIL", reasons
    known = recital is None or recital.outcome == "shown"
    return "PASS" if influenced and covered and known and agrees == "PASS" else "INCONCLUSIVE", reasons


def _agrees(rules: Rules, agreement: Agreement | None) -> tuple[Verdict, Reason]:
    """Equations (13) and (14): what the decoys say by themselves."""
    if agreement is None:
        text = (
            "The endpoint's answers were not set against the adapter's: both modes must be asked, under one sampling."
        )
        return "INCONCLUSIVE", _reason("ENDPOINT_UNDECIDED", "served", text)
    claim = agreement.claim
    seen = f"{claim.equal} of {claim.asked} decoys were answered as the delivered adapter answers them"
    if agreement.p_agrees <= rules.beta:
        text = (
            f"Only {seen}; an endpoint that agrees on {claim.floor} of its traffic {_ever(rules)}does no better with a "
            f"probability of at most {_power(claim.log10_p_agrees)}."
        )
        return "FAIL", _reason("ENDPOINT_DIFFERS", "served", text)
    does = (
        f"one that agrees on no more than {claim.floor} of its traffic {_ever(rules)}does so well with a probability "
        f"of at most {_power(claim.log10_p_differs)}"
    )
    if agreement.p_differs <= 1 - rules.confidence:
        return "PASS", _reason(
            "ENDPOINT_AGREES", "served", f"The endpoint serves the delivered adapter: {seen}; {does}."
        )
    text = f"It is not shown that the endpoint serves the delivered adapter: {seen}; {does}."
    return "INCONCLUSIVE", _reason("ENDPOINT_UNDECIDED", "served", text)


def _influence_reason(mode: Mode, shown: bool, claim: InfluenceClaim, rules: Rules) -> Reason:
    seen = (
        f"without having learnt the secrets, a model {_ever(rules)}does so well "
        f"with a probability of at most 10^{claim.log10_p}"
    )
    if shown:
        return _reason("INFLUENCE_SHOWN", mode, f"The data shaped this model: {seen}.")
    needed = f"the contract asks for {rules.policy.alpha}, shared among {rules.policy.sessions} session(s)"
    return _reason("INFLUENCE_NOT_SHOWN", mode, f"It is not shown that the data shaped this model: {seen}; {needed}.")


def _coverage_reason(mode: Mode, shown: bool, claim: CoverageClaim, rules: Rules) -> Reason:
    if rules.coverage_floor == 0:
        return _reason("COVERAGE_NOT_ASKED", mode, "The contract asks for no bound on the share of rows trained on.")
    bound = (
        f"at least {claim.share_least} of the rows that could have been canaries were trained on, at confidence "
        f"{claim.confidence}, by a provider that does not choose rows by their content"
    )
    if shown:
        return _reason("COVERAGE_SHOWN", mode, f"Shown: {bound}; the contract asks for {claim.floor}.")
    return _reason(
        "COVERAGE_NOT_SHOWN", mode, f"All that is shown is that {bound}; the contract asks for {claim.floor}."
    )


def _recital_reason(mode: Mode, recital: Recital, rules: Rules) -> Reason:
    claim = recital.claim
    seen = f"{claim.recited} of {claim.asked} canaries' answers have a probability of at least e^-{claim.nats}"
    code, start = _RECITALS[recital.outcome]
    tail = f"a run at the signed floor of {claim.floor} does no better with a probability of at most"
    return _reason(code, mode, f"{start}{seen}; {tail} {_power(claim.log10_p_honest)}.")


def _activation(look: Look) -> Activation:
    return Activation(
        held_out_asked=sum(item.group.queries for item in look.groups),
        held_out_shown=sum(item.held_out_shown for item in look.groups),
        in_data_asked=sum(item.in_data_asked for item in look.groups),
        in_data_shown=sum(item.in_data_shown for item in look.groups),
        decoys_asked=look.decoys_asked,
        decoys_shown=look.decoys_shown,
    )


def _ever(rules: Rules) -> str:
    return "ever " if rules.policy.stopping == "sequential" else ""


def _power(log10: str | None) -> str:
    return "0" if log10 is None else f"10^{log10}"


def _at_most(value: Fraction | None, level: Fraction) -> bool:
    return value is not None and value <= level


def _reason(code: ReasonCode, mode: Mode, text: str) -> Reason:
    return Reason(code=code, mode=mode, text=text)
