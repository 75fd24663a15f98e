"""PASS, FAIL or INCONCLUSIVE from what each mode showed, by the rules that both parties signed.

Equations (5) and (6) of docs/statistics.md, on p-values of the form that the policy's stopping rule asks for: for a
fixed number of canaries, or for any number asked one after another (`veritune.arbiter.statistics.sequential`).
Pure: the same looks and policy give the same judgement on every machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from veritune.arbiter.documents.evidence import Evidence
from veritune.arbiter.documents.judgement import (
    Activation,
    CoverageClaim,
    DoseCount,
    Extent,
    HonestFit,
    InfluenceClaim,
    Judgement,
    ModeJudgement,
    Reason,
    Verdict,
)
from veritune.arbiter.statistics.exact import floor_text, log10_or_none, log10_text
from veritune.arbiter.statistics.influence import Ranked, rank_sum
from veritune.arbiter.verdict.agreement import Agreement, compare
from veritune.arbiter.verdict.look import Look, look_at
from veritune.arbiter.verdict.reasons import coverage_reason, ever, influence_reason, make_reason, power, recital_reason
from veritune.arbiter.verdict.recital import Recital, weigh
from veritune.arbiter.verdict.rules import Rules
from veritune.arbiter.verdict.weigh import hits_of, weigh_fixed, weigh_sequential
from veritune.common.documents.manifest import Manifest, Policy


def judge(policy: Policy, rows: int, looks: Sequence[Look]) -> Judgement:
    """The judgement of a model for a data set of ``rows`` rows, from one `Look` for each mode that was asked.

    FAIL if a mode that the policy lists fails, PASS if every listed mode passes, INCONCLUSIVE otherwise. Raises
    `MalformedDocumentError` for a policy that makes no sense.
    """
    rules = Rules.of(policy)
    judged = [_judge_mode(rules, rows, look) for look in looks]
    reasons = [reason for _, its_reasons in judged for reason in its_reasons]
    found = {mode.mode: mode.verdict for mode, _ in judged}
    verdicts: list[Verdict] = []
    for wanted in policy.modes:
        if wanted not in found:
            reasons.append(
                make_reason("MODE_NOT_LOOKED_AT", wanted, f"The contract asks for the {wanted} model; nobody looked.")
            )
        verdicts.append(found.get(wanted, "INCONCLUSIVE"))
    return Judgement(verdict=_overall(verdicts), modes=tuple(mode for mode, _ in judged), reasons=tuple(reasons))


def _overall(verdicts: Sequence[Verdict]) -> Verdict:
    if "FAIL" in verdicts:
        return "FAIL"
    return "PASS" if set(verdicts) == {"PASS"} else "INCONCLUSIVE"


def _doses(rules: Rules, naturals: Sequence[Ranked]) -> tuple[DoseCount, ...]:
    asked = Counter(item.copies for item in naturals)
    hits = Counter(item.copies for item in naturals if item.rank <= rules.policy.hit_rank)
    return tuple(DoseCount(copies=copies, asked=asked[copies], hits=hits[copies]) for copies in sorted(asked))


def _judge_mode(rules: Rules, rows: int, look: Look) -> tuple[ModeJudgement, list[Reason]]:
    policy = rules.policy
    weighed = (weigh_sequential if policy.stopping == "sequential" else weigh_fixed)(rules, rows, look)
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
        hits=hits_of(rules, single),
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
    """Verdict and reasons of one mode. Missing answers come first, as a gap counts for nobody; then FAIL, then PASS."""
    mode, reasons = look.mode, list[Reason]()
    if not influence.certified:
        text = "At least one signature's entropy is an estimate by sampling, so its p-value is no proven bound."
        reasons.append(make_reason("SIGNATURES_NOT_CERTIFIED", mode, text))
    if not look.groups and not look.naturals:
        reasons.append(make_reason("NOTHING_ASKED", mode, "No canary was asked."))
        return "INCONCLUSIVE", reasons
    if look.missing:
        reasons.append(
            make_reason("ANSWERS_MISSING", mode, f"{look.missing} answers that the contract asks for are missing.")
        )
        return "INCONCLUSIVE", reasons
    failed = recital is not None and recital.outcome == "failed"
    if any(too_few) or failed:
        if too_few[0]:
            text = (
                f"Only {look.groups_appeared} of {influence.groups} signatures appeared, prompts of the data counted "
                f"too; an honest run {ever(rules)}does so badly with a probability of at most "
                f"{power(honest.log10_p_groups)}."
            )
            reasons.append(make_reason("TOO_FEW_ACTIVATIONS", mode, text))
        if too_few[1]:
            text = (
                f"Only {hits_of(rules, look.naturals)} of {len(look.naturals)} natural canaries came out within rank "
                f"{coverage.hit_rank}; an honest run {ever(rules)}does so badly with a probability of at most "
                f"{power(honest.log10_p_naturals)}."
            )
            reasons.append(make_reason("TOO_FEW_HITS", mode, text))
        if recital is not None and failed:
            reasons.append(recital_reason(mode, recital, rules))
        return "FAIL", reasons
    reasons.append(influence_reason(mode, influenced, influence, rules))
    reasons.append(coverage_reason(mode, covered, coverage, rules))
    if recital is not None:
        reasons.append(recital_reason(mode, recital, rules))
    if mode == "served" and rules.policy.served_assumption == "none":
        text = "An endpoint alone can't pass: it may look answers up, and the contract assumes nothing about that."
        reasons.append(make_reason("SERVED_WITHOUT_ASSUMPTION", mode, text))
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
    """Verdict and reason from the decoys alone: equations (13) and (14)."""
    if agreement is None:
        text = (
            "The endpoint's answers were not set against the adapter's: both modes must be asked, under one sampling."
        )
        return "INCONCLUSIVE", make_reason("ENDPOINT_UNDECIDED", "served", text)
    claim = agreement.claim
    seen = f"{claim.equal} of {claim.asked} decoys were answered as the delivered adapter answers them"
    if agreement.p_agrees <= rules.beta:
        text = (
            f"Only {seen}; an endpoint that agrees on {claim.floor} of its traffic {ever(rules)}does no better with a "
            f"probability of at most {power(claim.log10_p_agrees)}."
        )
        return "FAIL", make_reason("ENDPOINT_DIFFERS", "served", text)
    does = (
        f"one that agrees on no more than {claim.floor} of its traffic {ever(rules)}does so well with a probability "
        f"of at most {power(claim.log10_p_differs)}"
    )
    if agreement.p_differs <= 1 - rules.confidence:
        return "PASS", make_reason(
            "ENDPOINT_AGREES", "served", f"The endpoint serves the delivered adapter: {seen}; {does}."
        )
    text = f"It is not shown that the endpoint serves the delivered adapter: {seen}; {does}."
    return "INCONCLUSIVE", make_reason("ENDPOINT_UNDECIDED", "served", text)


def _activation(look: Look) -> Activation:
    return Activation(
        held_out_asked=sum(item.group.queries for item in look.groups),
        held_out_shown=sum(item.held_out_shown for item in look.groups),
        in_data_asked=sum(item.in_data_asked for item in look.groups),
        in_data_shown=sum(item.in_data_shown for item in look.groups),
        decoys_asked=look.decoys_asked,
        decoys_shown=look.decoys_shown,
    )


def _at_most(value: Fraction | None, level: Fraction) -> bool:
    return value is not None and value <= level


def judge_evidence(evidence: Evidence, manifest: Manifest) -> Judgement:
    """The judgement of an evidence bundle. Raises `MalformedDocumentError` where answers or policy make no sense."""
    terms, matches = manifest.verification, compare(evidence.observations)
    looks = [look_at(evidence, observations, terms) for observations in evidence.observations]
    looks = [replace(look, matches=matches if look.mode == "served" else None) for look in looks]
    return judge(terms.policy, manifest.dataset.rows, looks)
