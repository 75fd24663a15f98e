"""The verdict under sequential stopping, and what both forms share: copies, doses, how far a look went."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from veritune.arbiter.documents.judgement import Mode, ModeJudgement
from veritune.arbiter.statistics import sequential
from veritune.arbiter.statistics.coverage import coverage_bound
from veritune.arbiter.statistics.exact import log10_text
from veritune.arbiter.statistics.influence import GroupResult, Ranked
from veritune.arbiter.verdict.judge import judge
from veritune.arbiter.verdict.look import GroupLook, Look
from veritune.common.documents.manifest import Policy

ROWS, LUCK = 600, Fraction(1, 12)


def look(
    found: int = 3,
    groups: int = 3,
    hits: int = 30,
    naturals: int = 30,
    *,
    copies: tuple[int, ...] = (1,),
    mode: Mode = "delivered",
    missing: int = 0,
    candidates: tuple[int, ...] = (12,),
) -> Look:
    group_looks = tuple(
        GroupLook(GroupResult(queries=2, bits=64, signature_length=120, found=index < found), 0, 0, 0, True)
        for index in range(groups)
    )
    ranked = tuple(
        Ranked(
            1 if index < hits else candidates[index % len(candidates)],
            candidates[index % len(candidates)],
            copies[index % len(copies)],
        )
        for index in range(naturals)
    )
    return Look(mode, group_looks, ranked, 0, 0, missing, leaves=groups + naturals, available=64)


def one(seen: Look, **policy: Any) -> ModeJudgement:
    return judge(Policy(**{"stopping": "sequential", **policy}), ROWS, [seen]).modes[0]


def codes(seen: Look, **policy: Any) -> set[str]:
    judgement = judge(Policy(**{"stopping": "sequential", **policy}), ROWS, [seen])
    return {reason.code for reason in judgement.reasons}


def around(value: Fraction) -> tuple[str, str]:
    """Decimal strings of 15 digits just below and just above a fraction between 0 and 1."""
    power = 15
    while value * 10**power < 10**14:
        power += 1
    below = value.numerator * 10**power // value.denominator
    return f"{below}e-{power}", f"{below + 1}e-{power}"


def test_an_honest_run_passes_with_fewer_canaries_than_there_are() -> None:
    judged = one(look())
    assert judged.verdict == "PASS"
    assert (judged.extent.leaves, judged.extent.available) == (33, 64)
    claim, groups = judged.influence, [item.group for item in look().groups]
    assert claim.log10_p == log10_text(1 / sequential.influence_e(groups, look().naturals))
    assert claim.log10_p_triggers == log10_text(1 / sequential.trigger_e(groups))
    assert claim.log10_p_ranks == log10_text(1 / sequential.rank_e(look().naturals))
    bound = sequential.coverage_bound(ROWS, 30, [LUCK] * 30, Fraction(99, 100))
    assert judged.coverage.rows_least == bound.rows_least > ROWS // 2


def test_the_fixed_form_claims_more_of_the_same_answers() -> None:
    """Which is the price of stopping early: the sequential bounds must hold at every moment at once."""
    sequentially, fixed = one(look()), one(look(), stopping="fixed")
    assert fixed.coverage.rows_least > sequentially.coverage.rows_least
    assert fixed.honest.log10_p_naturals == sequentially.honest.log10_p_naturals == "0.0000"


def test_influence_must_reach_alpha_shared_among_sessions() -> None:
    seen = look(found=0, groups=0)
    below, above = around(1 / sequential.rank_e(seen.naturals))
    assert one(seen, alpha=above).verdict == "PASS"
    assert one(seen, alpha=below).verdict == "INCONCLUSIVE"
    assert codes(seen, alpha=below) == {"INFLUENCE_NOT_SHOWN", "COVERAGE_SHOWN"}
    below, above = around(2 / sequential.rank_e(seen.naturals))
    assert one(seen, alpha=above, sessions=2).verdict == "PASS"
    assert one(seen, alpha=below, sessions=2).verdict == "INCONCLUSIVE"
    assert one(seen, alpha="0").verdict == "INCONCLUSIVE"


def test_coverage_must_reach_its_floor() -> None:
    share = Fraction(one(look()).coverage.rows_least, ROWS)
    below, above = around(share - Fraction(1, 10**9))[0], around(share)[1]
    assert one(look(), coverage_floor=below).verdict == "PASS"
    assert one(look(), coverage_floor=above).verdict == "INCONCLUSIVE"
    assert codes(look(), coverage_floor=above) == {"INFLUENCE_SHOWN", "COVERAGE_NOT_SHOWN"}
    assert codes(look(naturals=0, hits=0), coverage_floor="0", alpha="1e-10") == {
        "INFLUENCE_SHOWN",
        "COVERAGE_NOT_ASKED",
    }


def test_too_few_hits_fail_at_beta_shared_among_tests_modes_and_sessions() -> None:
    seen = look(hits=4, naturals=20)
    p = sequential.honest_naturals_p([(LUCK, True)] * 4 + [(LUCK, False)] * 16, Fraction(7, 10))
    assert p < 1
    below, above = around(2 * p)
    assert codes(seen, natural_floor="0.7", beta=above) == {"TOO_FEW_HITS"}
    assert one(seen, natural_floor="0.7", beta=above).verdict == "FAIL"
    assert one(seen, natural_floor="0.7", beta=below).verdict == "INCONCLUSIVE"
    below, above = around(8 * p)
    both: tuple[Mode, ...] = ("delivered", "served")
    assert one(seen, natural_floor="0.7", beta=above, modes=both, sessions=2).verdict == "FAIL"
    assert one(seen, natural_floor="0.7", beta=below, modes=both, sessions=2).verdict == "INCONCLUSIVE"


def test_too_few_activations_fail_by_themselves() -> None:
    seen = look(found=0, groups=12)
    below, above = around(2 * sequential.honest_groups_p(12, 0, Fraction(1, 2)))
    assert codes(seen, beta=above) == {"TOO_FEW_ACTIVATIONS"}
    assert one(seen, beta=below).verdict != "FAIL"


def test_a_floor_of_one_makes_one_miss_final() -> None:
    judgement = judge(Policy(stopping="sequential", natural_floor="1", beta="0"), ROWS, [look(hits=29)])
    assert judgement.verdict == "FAIL"
    assert "an honest run ever does so badly with a probability of at most 0." in judgement.reasons[0].text
    assert judgement.modes[0].honest.log10_p_naturals is None


def test_missing_comes_before_fail_and_fail_before_pass() -> None:
    assert codes(look(missing=1)) == codes(look(hits=0, missing=1)) == {"ANSWERS_MISSING"}
    both = look(hits=20, naturals=50, found=3)
    assert one(both, natural_floor="0.3", coverage_floor="0.1").verdict == "PASS"
    assert one(both, natural_floor="0.95", coverage_floor="0.1").verdict == "FAIL"


def test_nothing_asked_decides_nothing() -> None:
    assert codes(look(0, 0, 0, 0), coverage_floor="0", alpha="1") == {"NOTHING_ASKED"}


def test_an_endpoint_that_nothing_is_assumed_of_never_passes() -> None:
    assert "SERVED_WITHOUT_ASSUMPTION" in codes(look(mode="served"), modes=("served",))
    assert one(look(mode="served"), modes=("served",)).verdict == "INCONCLUSIVE"


def test_each_canary_has_the_luck_of_its_own_candidates() -> None:
    seen = look(candidates=(12, 2))
    hits = [LUCK, Fraction(1, 2)] * 15
    bound = sequential.coverage_bound(ROWS, 30, hits, Fraction(99, 100))
    assert one(seen).coverage.rows_least == bound.rows_least
    assert bound.rows_least > sequential.coverage_bound(ROWS, 30, [Fraction(1, 2)] * 30, Fraction(99, 100)).rows_least


@pytest.mark.parametrize("stopping", ["fixed", "sequential"])
def test_copies_count_for_influence_and_the_floor_but_not_for_coverage(stopping: str) -> None:
    mixed, plain = look(hits=40, naturals=40, copies=(1, 4)), look(hits=20, naturals=20)
    judged = one(mixed, stopping=stopping)
    assert (judged.coverage.asked, judged.coverage.hits) == (20, 20)
    assert judged.coverage.rows_least == one(plain, stopping=stopping).coverage.rows_least
    assert judged.influence == one(look(hits=40, naturals=40), stopping=stopping).influence
    missed = Look("delivered", (), tuple(Ranked(12, 12, 4) for _ in range(40)), 0, 0, 0)
    assert codes(missed, stopping=stopping) == {"TOO_FEW_HITS"}
    text = judge(Policy.model_validate({"stopping": stopping}), ROWS, [missed]).reasons[0].text
    assert text.startswith("Only 0 of 40 natural canaries")


def test_fixed_coverage_takes_luck_and_counts_from_single_rows_alone() -> None:
    """A repeated canary of two candidates would raise everybody's luck to a half."""
    singles = tuple(Ranked(1, 12) for _ in range(20))
    seen = Look("delivered", (), (*singles, Ranked(1, 2, 8)), 0, 0, 0)
    expected = coverage_bound(ROWS, 20, 20, LUCK, Fraction(99, 100)).rows_least
    assert one(seen, stopping="fixed").coverage.rows_least == expected


@pytest.mark.parametrize("stopping", ["fixed", "sequential"])
def test_doses_count_by_copies(stopping: str) -> None:
    judged = one(look(hits=13, naturals=20, copies=(8, 1, 2, 1)), stopping=stopping)
    assert [(dose.copies, dose.asked, dose.hits) for dose in judged.doses] == [(1, 10, 6), (2, 5, 3), (8, 5, 4)]
    assert one(look(naturals=0, hits=0), stopping=stopping).doses == ()


def test_the_judgement_is_a_document() -> None:
    judgement = judge(Policy(stopping="sequential"), ROWS, [look(copies=(1, 2)), look(mode="served")])
    assert type(judgement).from_bytes(judgement.to_bytes()) == judgement
