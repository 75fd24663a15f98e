"""The verdict's rules: thresholds, precedence, modes, reasons."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction
from typing import Any, Literal

import pytest

from tests.support.looks import ROWS, codes, look, verdict
from veritune.arbiter.documents.judgement import Mode
from veritune.arbiter.verdict.judge import judge
from veritune.arbiter.verdict.look import Look
from veritune.arbiter.verdict.rules import Rules
from veritune.common.documents.manifest import Policy
from veritune.common.errors import MalformedDocumentError


def test_an_honest_run_passes() -> None:
    judgement = judge(Policy(), ROWS, [look()])
    assert judgement.verdict == "PASS"
    assert {reason.code for reason in judgement.reasons} == {"INFLUENCE_SHOWN", "COVERAGE_SHOWN"}
    mode = judgement.modes[0]
    assert mode.influence.log10_p_ranks == "-48.1647"
    assert (mode.activation.held_out_asked, mode.activation.in_data_shown) == (8, 32)
    assert Fraction(mode.coverage.share_least) > Fraction("0.85")


def test_the_base_model_fails() -> None:
    assert verdict(Policy(), look(found=0, hits=3)) == "FAIL"
    assert codes(Policy(), look(found=0, hits=3)) == {"TOO_FEW_HITS"}


def test_too_few_activations_fail_too() -> None:
    assert codes(Policy(), look(groups=30, found=1)) == {"TOO_FEW_ACTIVATIONS"}
    assert verdict(Policy(), look(groups=30, found=1)) == "FAIL"


@pytest.mark.parametrize("stopping", ["fixed", "sequential"])
def test_odd_held_out_prompts_fail_nobody(stopping: Literal["fixed", "sequential"]) -> None:
    """The client chose them. Signatures that the data's own prompts bring out were learnt, and prove nothing."""
    policy, odd = Policy(stopping=stopping), look(groups=60, found=0)
    learnt = replace(odd, groups=tuple(replace(item, in_data_shown=1) for item in odd.groups))
    assert "TOO_FEW_ACTIVATIONS" in codes(policy, odd)
    assert "TOO_FEW_ACTIVATIONS" not in codes(policy, learnt)
    before, after = (judge(policy, ROWS, [item]).modes[0].influence for item in (odd, learnt))
    assert before == after


def test_few_groups_alone_decide_nothing() -> None:
    assert verdict(Policy(coverage_floor="0"), look(found=0, naturals=0, hits=0)) == "INCONCLUSIVE"


def test_half_the_rows_show_influence_without_coverage() -> None:
    seen = look(hits=25)
    assert verdict(Policy(coverage_floor="0.8"), seen) == "INCONCLUSIVE"
    assert codes(Policy(coverage_floor="0.8"), seen) == {"INFLUENCE_SHOWN", "COVERAGE_NOT_SHOWN"}
    assert verdict(Policy(coverage_floor="0.3"), seen) == "PASS"


def test_coverage_is_only_asked_for_by_the_contract() -> None:
    seen = look(naturals=0, hits=0)
    assert verdict(Policy(coverage_floor="0"), seen) == "PASS"
    assert codes(Policy(coverage_floor="0"), seen) == {"INFLUENCE_SHOWN", "COVERAGE_NOT_ASKED"}
    assert verdict(Policy(), seen) == "INCONCLUSIVE"


def test_influence_must_reach_alpha_shared_among_sessions() -> None:
    seen = look(groups=0, found=0, naturals=32, hits=32)  # p = 16**-32, about 10**-38.53
    assert verdict(Policy(alpha="1e-38"), seen) == "PASS"
    assert verdict(Policy(alpha="1e-39"), seen) == "INCONCLUSIVE"
    assert verdict(Policy(alpha="1e-38", sessions=3), seen) == "PASS"
    assert verdict(Policy(alpha="1e-38", sessions=4), seen) == "INCONCLUSIVE"
    assert "INFLUENCE_NOT_SHOWN" in codes(Policy(alpha="0"), seen)


def test_missing_answers_neither_fail_nor_pass() -> None:
    for seen in (look(missing=1), look(found=0, hits=0, missing=1)):
        assert verdict(Policy(), seen) == "INCONCLUSIVE"
        assert codes(Policy(), seen) == {"ANSWERS_MISSING"}


def test_nothing_asked_decides_nothing() -> None:
    seen = look(groups=0, found=0, naturals=0, hits=0)
    assert codes(Policy(coverage_floor="0", alpha="1"), seen) == {"NOTHING_ASKED"}
    assert verdict(Policy(coverage_floor="0", alpha="1"), seen) == "INCONCLUSIVE"


BOTH: tuple[Mode, ...] = ("delivered", "served")


@pytest.mark.parametrize(
    ("policy", "looks", "expected"),
    [
        ({"modes": BOTH, "served_assumption": "answers-from-weights"}, (look(), look(mode="served")), "PASS"),
        ({"modes": BOTH}, (look(), look(mode="served")), "INCONCLUSIVE"),
        ({"modes": BOTH}, (look(),), "INCONCLUSIVE"),
        ({"modes": BOTH}, (look(), look(mode="served", found=0, hits=0)), "FAIL"),
        ({"modes": BOTH}, (look(found=0, hits=0), look(mode="served")), "FAIL"),
        ({}, (look(), look(mode="served", found=0, hits=0)), "PASS"),
        ({}, (look(mode="served"),), "INCONCLUSIVE"),
        ({}, (), "INCONCLUSIVE"),
        ({"modes": ("served",)}, (look(mode="served"),), "INCONCLUSIVE"),
        ({"modes": BOTH, "served_assumption": "decoys-unrecognised"}, (look(), look(mode="served")), "INCONCLUSIVE"),
        ({"modes": ("served",), "served_assumption": "answers-from-weights"}, (look(mode="served"),), "PASS"),
    ],
)
def test_every_mode_that_the_contract_lists_must_pass(
    policy: dict[str, Any], looks: tuple[Look, ...], expected: str
) -> None:
    assert verdict(Policy(**policy), *looks) == expected


def test_a_mode_that_is_not_listed_is_reported_without_counting() -> None:
    judgement = judge(Policy(), ROWS, [look(), look(mode="served", found=0, hits=0)])
    assert [(mode.counts, mode.verdict) for mode in judgement.modes] == [(True, "PASS"), (False, "FAIL")]


def test_a_mode_nobody_looked_at_is_named() -> None:
    assert "MODE_NOT_LOOKED_AT" in codes(Policy(modes=BOTH), look())


def test_an_endpoint_alone_is_told_apart() -> None:
    assert "SERVED_WITHOUT_ASSUMPTION" in codes(Policy(modes=("served",)), look(mode="served"))


def test_estimated_bits_are_flagged() -> None:
    judgement = judge(Policy(), ROWS, [look(certified=False)])
    assert not judgement.modes[0].influence.certified
    assert "SIGNATURES_NOT_CERTIFIED" in {reason.code for reason in judgement.reasons}


def test_beta_is_shared_among_tests_modes_and_sessions() -> None:
    seen = look(found=4, naturals=21, hits=0)  # 2**-21, about 4.77e-7
    assert verdict(Policy(beta="1e-6"), seen) == "FAIL"
    assert verdict(Policy(beta="1e-6", modes=BOTH), seen) != "FAIL"
    assert verdict(Policy(beta="1e-6", sessions=2), seen) != "FAIL"
    assert verdict(Policy(beta="0"), seen) != "FAIL"


def test_a_floor_of_one_means_never_missing() -> None:
    judgement = judge(Policy(trigger_floor="1", natural_floor="1"), ROWS, [look(found=3, hits=39)])
    assert judgement.verdict == "FAIL"
    assert "probability of at most 0." in judgement.reasons[0].text


def test_an_honest_run_at_the_floors_fails_no_more_often_than_beta() -> None:
    policy = Policy(beta="0.05", trigger_floor="0.5", natural_floor="0.5")
    draw, runs = random.Random(11), 3000
    cache: dict[tuple[int, int], str] = {}
    failed = 0
    for _ in range(runs):
        key = (sum(draw.random() < 0.5 for _ in range(8)), sum(draw.random() < 0.5 for _ in range(16)))
        if key not in cache:
            cache[key] = verdict(policy, look(groups=8, found=key[0], naturals=16, hits=key[1]))
        failed += cache[key] == "FAIL"
    assert 0 < failed / runs <= 0.05


@pytest.mark.parametrize(
    "wrong",
    [
        {"alpha": "2"},
        {"beta": "-0.5"},
        {"trigger_floor": "1.5"},
        {"coverage_confidence": "1"},
        {"coverage_confidence": "0"},
        {"modes": ("served", "served")},
    ],
)
def test_a_policy_without_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(MalformedDocumentError):
        Rules.of(Policy(**wrong))


def test_the_judgement_is_a_document() -> None:
    judgement = judge(Policy(), ROWS, [look(), look(mode="served")])
    assert type(judgement).from_bytes(judgement.to_bytes()) == judgement
