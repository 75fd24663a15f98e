"""The planner's probabilities against sums over every outcome and every way to divide the leaves."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction
from itertools import combinations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.planned_looks import ROWS, look, terms
from veritune.arbiter.verdict.judge import judge
from veritune.client.planning.odds import Binomial, Chances, Odds, Outcome, share_of
from veritune.client.planning.thresholds import AskedCounts
from veritune.common.documents.manifest import Policy

POLICY = Policy(alpha="1e-5", beta="0.1", coverage_floor="0.2", coverage_confidence="0.9")
PROBABILITIES = st.sampled_from([Fraction(n, 20) for n in range(21)])


def pmf(trials: int, probability: Fraction, x: int) -> Fraction:
    return math.comb(trials, x) * probability**x * (1 - probability) ** (trials - x)


def enumerated(policy: Policy, asked: AskedCounts, chances: Chances) -> Outcome:
    """By the verdict on every outcome."""
    of = terms(policy)
    kinds = (
        (asked.groups, chances.found),
        (asked.single, chances.drawn),
        (asked.repeated, chances.drawn),
        (asked.in_place, chances.placed),
    )
    weights = dict.fromkeys(("PASS", "FAIL", "INCONCLUSIVE"), Fraction(0))
    for counts in product(*(range(number + 1) for number, _ in kinds)):
        chance = math.prod(pmf(number, p, x) for (number, p), x in zip(kinds, counts, strict=True))
        if chance:
            verdict = judge(policy, ROWS, [look(of, asked, *counts)]).verdict
            weights[verdict] += chance
    return Outcome(weights["PASS"], weights["FAIL"])


@settings(max_examples=12, deadline=None)
@given(
    st.builds(AskedCounts, st.integers(0, 2), st.integers(0, 5), st.integers(0, 2), st.integers(0, 3)),
    st.builds(Chances, PROBABILITIES, PROBABILITIES, PROBABILITIES),
)
def test_the_probability_of_each_verdict_is_exact(asked: AskedCounts, chances: Chances) -> None:
    odds = Odds.divided(terms(POLICY), asked, 16, Fraction(0))
    assert odds.outcome(chances) == enumerated(POLICY, asked, chances)


def test_it_is_exact_where_every_verdict_is_likely() -> None:
    asked, chances = AskedCounts(2, 6, 1, 3), Chances(Fraction(4, 5), Fraction(9, 20), Fraction(2, 5))
    expected = enumerated(POLICY, asked, chances)
    assert min(expected.passes, expected.fails, 1 - expected.passes - expected.fails) > Fraction(1, 100)
    assert Odds.divided(terms(POLICY), asked, 16, Fraction(0)).outcome(chances) == expected


@given(st.integers(0, 12), PROBABILITIES, st.integers(-2, 14))
def test_binomial_tails(trials: int, probability: Fraction, least: int) -> None:
    tail = Fraction(Binomial(trials, probability).at_least(least), Binomial(trials, probability).whole)
    assert tail == sum(pmf(trials, probability, x) for x in range(max(0, least), trials + 1))


@pytest.mark.heavy
def test_sessions_get_a_random_share_of_the_leaves() -> None:
    """All 12870 halves of sixteen leaves, one by one."""
    policy = POLICY.model_copy(update={"sessions": 2, "alpha": "1e-3"})
    of = terms(policy)
    canaries, chances = AskedCounts(2, 7, 0, 2), Chances(Fraction(4, 5), Fraction(7, 10), Fraction(3, 5))
    leaves = ["group"] * 2 + ["single"] * 7 + ["in_place"] * 2 + ["padding"] * 5
    shares = Counter(
        (half.count("group"), half.count("single"), half.count("in_place")) for half in combinations(leaves, 8)
    )
    passes = fails = in_truth = Fraction(0)
    for (groups, single, in_place), ways in shares.items():
        asked, weight = AskedCounts(groups, single, 0, in_place), Fraction(ways, 12870)
        one = Odds(of, [[(Fraction(1), asked)]]).outcome(chances)
        passes, fails = passes + weight * one.passes, fails + weight * one.fails
        verdicts = enumerated(policy, asked, chances)
        in_truth += weight * verdicts.passes
        assert one.fails == verdicts.fails
    exact = Odds.divided(of, canaries, 16, Fraction(0)).outcome(chances)
    # The rank test is bounded quickly here, so that a little less is promised than is so.
    assert passes <= in_truth < passes + Fraction(1, 10)
    assert 0 <= passes - exact.passes < Fraction(1, 10**40)
    assert 0 <= fails - exact.fails < Fraction(1, 10**40)
    dropped = Odds.divided(of, canaries, 16, Fraction(1, 50)).outcome(chances)
    # Three kinds, two sides.
    assert exact.passes - Fraction(6, 50) <= dropped.passes < exact.passes
    assert exact.fails - Fraction(6, 50) <= dropped.fails <= exact.fails


def test_the_smaller_session_counts() -> None:
    """Three sessions of sixteen leaves have six, six and four."""
    policy = POLICY.model_copy(update={"sessions": 3, "coverage_floor": "0", "alpha": "1e-3"})
    canaries, chances = AskedCounts(0, 15, 0, 0), Chances(Fraction(0), Fraction(1), Fraction(1))
    of = terms(policy)
    whole = Odds.divided(of, canaries, 16, Fraction(0)).outcome(chances)
    four = Odds(
        of, [[(Fraction(4, 16), AskedCounts(0, 3, 0, 0)), (Fraction(12, 16), AskedCounts(0, 4, 0, 0))]]
    ).outcome(chances)
    six = Odds(of, [[(Fraction(6, 16), AskedCounts(0, 5, 0, 0)), (Fraction(10, 16), AskedCounts(0, 6, 0, 0))]]).outcome(
        chances
    )
    assert whole.passes == four.passes < six.passes
    # Seven would have three each, and the last two none.
    seven = POLICY.model_copy(update={"sessions": 7})
    assert Odds.divided(terms(seven), canaries, 16, Fraction(0)).outcome(chances).passes == 0


def test_an_even_share_is_rounded_down() -> None:
    assert share_of(AskedCounts(5, 10, 3, 8), 3) == AskedCounts(1, 3, 1, 2)
    chances = Chances(Fraction(1), Fraction(1), Fraction(1))
    assert Odds.even(terms(POLICY), AskedCounts(2, 9, 0, 0)).outcome(chances).passes == 1
