"""An endpoint set against the delivered adapter: which decoys count, the two tests, and the verdict."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from scipy.stats import binom

from tests.support.exchange import HONEST, Exchange
from veritune.arbiter.audit.audit import audit
from veritune.arbiter.documents.evidence import Observations
from veritune.arbiter.documents.judgement import AgreementClaim, Judgement
from veritune.arbiter.verdict.agreement import Matches, compare
from veritune.arbiter.verdict.judge import judge_evidence
from veritune.arbiter.verdict.rules import Rules
from veritune.common.documents.manifest import Policy
from veritune.common.errors import MalformedDocumentError
from veritune.common.inference import SamplingTerms


def compared(**changes: Any) -> Policy:
    return Policy(
        coverage_floor="0.25",
        modes=("delivered", "served"),
        served_assumption="decoys-unrecognised",
        **changes,
    )


def exchange(alike: int, decoys: int = 24, **changes: Any) -> Exchange:
    """Both modes look perfect but for the decoys: the endpoint answers ``alike`` of them as the adapter does."""
    behaviour = replace(HONEST, served_alike=lambda decoy: decoy < alike)
    knobs: dict[str, Any] = {"modes": ("delivered", "served"), "policy": compared(), **changes}
    return Exchange(behaviour=behaviour, decoys=decoys, **knobs)


def judged(made: Exchange) -> Judgement:
    return judge_evidence(made.evidence, made.manifest)


def codes(judgement: Judgement) -> set[str]:
    return {reason.code for reason in judgement.reasons if reason.mode == "served"}


def claim_of(judgement: Judgement) -> AgreementClaim:
    claim = judgement.modes[1].agreement
    assert claim is not None
    return claim


def test_an_endpoint_that_serves_the_adapter_passes() -> None:
    judgement = judged(exchange(24))
    assert judgement.verdict == "PASS"
    assert "ENDPOINT_AGREES" in codes(judgement)
    claim = claim_of(judgement)
    assert (claim.asked, claim.equal, claim.floor, claim.log10_needed) == (24, 24, "0.7", "-2.0000")
    assert float(claim.log10_p_differs or 0) == pytest.approx(24 * math.log10(0.7), abs=1e-4)
    assert judgement.modes[0].agreement is None


@pytest.mark.parametrize("alike", [0, 3])
def test_an_endpoint_that_shows_every_canary_and_answers_decoys_otherwise_fails(alike: int) -> None:
    """What a look-up, or a filter that keeps the adapter for challenges, comes to."""
    judgement = judged(exchange(alike))
    assert judgement.verdict == "FAIL"
    assert codes(judgement) == {"INFLUENCE_SHOWN", "COVERAGE_SHOWN", "ENDPOINT_DIFFERS"}
    assert judgement.modes[0].verdict == "PASS"


@pytest.mark.parametrize(("alike", "decoys"), [(20, 24), (12, 24), (8, 8), (0, 0)])
def test_too_little_agreement_or_too_few_decoys_decide_nothing(alike: int, decoys: int) -> None:
    judgement = judged(exchange(alike, decoys))
    assert judgement.verdict == "INCONCLUSIVE"
    assert "ENDPOINT_UNDECIDED" in codes(judgement)


@pytest.mark.parametrize(("decoys", "verdict"), [(12, "INCONCLUSIVE"), (13, "PASS")])
def test_the_number_of_decoys_from_which_full_agreement_is_enough(decoys: int, verdict: str) -> None:
    """0.7^13 is just below one in a hundred."""
    assert judged(exchange(decoys, decoys)).verdict == verdict


def test_a_fail_of_the_canaries_comes_before_the_agreement() -> None:
    made = exchange(24).but(behaviour=replace(HONEST, activates=lambda group: False, rank=lambda natural: 9))
    judgement = judged(made)
    assert judgement.verdict == "FAIL"
    assert not {"ENDPOINT_AGREES", "ENDPOINT_DIFFERS", "ENDPOINT_UNDECIDED"} & codes(judgement)


@pytest.mark.parametrize("assumption", ["none", "answers-from-weights"])
def test_under_other_assumptions_agreement_is_reported_and_decides_nothing(assumption: str) -> None:
    policy = compared().model_copy(update={"served_assumption": assumption})
    found = [judged(exchange(alike, policy=policy)) for alike in (0, 24)]
    assert [claim_of(judgement).equal for judgement in found] == [0, 24]
    assert found[0].verdict == found[1].verdict != "FAIL"
    assert codes(found[0]) == codes(found[1])


def test_a_mode_that_nobody_asked_leaves_nothing_to_compare() -> None:
    judgement = judged(exchange(24, modes=("served",)))
    assert judgement.verdict == "INCONCLUSIVE"
    assert judgement.modes[0].agreement is None
    assert "ENDPOINT_UNDECIDED" in codes(judgement)


def test_the_audit_recomputes_the_agreement() -> None:
    for alike, verdict in ((24, "PASS"), (0, "FAIL")):
        made = exchange(alike)
        result = audit(made.report_bytes, made.evidence_bytes, *made.keys)
        assert result.verdict == verdict
    assert "decoys" in " ".join(result.statement.predicate.assumptions)


def both(**served: Any) -> tuple[Observations, Observations]:
    made = exchange(24)
    first, second = made.evidence.observations
    return first, second.model_copy(update=served)


def test_decoys_are_compared_by_prompt_whatever_their_order() -> None:
    first, second = both()
    assert compare((first, second.model_copy(update={"decoys": second.decoys[::-1]}))) == Matches(24, 24)
    assert compare((second, first)) == Matches(24, 24)


def test_a_decoy_that_one_mode_did_not_answer_is_left_out() -> None:
    first, second = both()
    assert compare((first, second.model_copy(update={"decoys": second.decoys[5:]}))) == Matches(19, 19)
    assert compare((first.model_copy(update={"decoys": first.decoys[:4]}), second)) == Matches(4, 4)


def test_an_answer_that_ended_for_another_reason_is_another_answer() -> None:
    first, second = both()
    cut = second.decoys[0].model_copy(update={"finish_reason": "length"})
    assert compare((first, second.model_copy(update={"decoys": (cut, *second.decoys[1:])}))) == Matches(24, 23)


def test_other_sampling_is_not_compared() -> None:
    first, second = both(sampling=SamplingTerms(max_tokens=7))
    assert compare((first, second)) is None
    assert compare((first,)) is None
    assert compare(()) is None


@pytest.mark.parametrize("floor", ["0.5", "0.7", "0.95"])
def test_the_fixed_form_is_the_binomials_two_tails(floor: str) -> None:
    rules = Rules.of(compared(match_floor=floor))
    for asked in (0, 1, 13, 64):
        for equal in range(asked + 1):
            matches = Matches(asked, equal)
            differs, agrees = matches.p_differs(rules), matches.p_agrees(rules)
            assert float(differs) == pytest.approx(binom.sf(equal - 1, asked, float(floor)), rel=1e-9)
            assert float(agrees) == pytest.approx(binom.cdf(equal, asked, float(floor)), rel=1e-9)


@pytest.mark.parametrize(("share", "tail"), [(0.7, "p_differs"), (0.7, "p_agrees")])
def test_the_sequential_form_is_right_wherever_the_challenge_stops(share: float, tail: str) -> None:
    """At the floor itself no walk of decoys may often get a small p-value at any moment."""
    rules = Rules.of(compared(stopping="sequential"))
    draw, runs, fooled = random.Random(20), 400, 0
    for _ in range(runs):
        equal, smallest = 0, Fraction(1)
        for asked in range(1, 65):
            equal += draw.random() < share
            smallest = min(smallest, getattr(Matches(asked, equal), tail)(rules))
        fooled += smallest <= Fraction(1, 20)
    assert fooled <= binom.ppf(0.999, runs, 0.05)


def test_the_sequential_form_tells_serving_from_looking_up() -> None:
    rules = Rules.of(compared(stopping="sequential"))
    assert Matches(32, 32).p_differs(rules) <= Fraction(1, 100)
    assert Matches(32, 2).p_agrees(rules) <= rules.beta


@pytest.mark.parametrize(
    ("floor", "stopping", "differs", "agrees"),
    [("0", "fixed", None, "0.0000"), ("1", "fixed", "0.0000", None), ("0", "sequential", None, "0.0000")],
)
def test_a_probability_of_nothing_has_no_logarithm(
    floor: str, stopping: Any, differs: str | None, agrees: str | None
) -> None:
    claim = Matches(4, 2).weigh(Rules.of(Policy(match_floor=floor, stopping=stopping))).claim
    assert (claim.log10_p_differs, claim.log10_p_agrees) == (differs, agrees)


@pytest.mark.parametrize(
    "changes",
    [
        {"modes": ("served",)},
        {"modes": ("delivered",)},
        {"match_floor": "0"},
        {"match_floor": "1"},
        {"match_floor": "1.5"},
    ],
)
def test_a_comparison_that_can_decide_nothing_is_no_policy(changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedDocumentError):
        Rules.of(compared().model_copy(update=changes))


def test_the_test_of_agreement_has_its_share_of_beta() -> None:
    alone = Rules.of(Policy(modes=("delivered", "served"), beta="1e-6"))
    assert alone.beta == Fraction(1, 4 * 10**6)
    assert Rules.of(compared(beta="1e-6", sessions=2)).beta == Fraction(1, 10 * 10**6)
