"""Equations (1) to (3): exact null distributions, against enumeration and simulation."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veritune.arbiter.statistics import influence
from veritune.arbiter.statistics.exact import log10
from veritune.arbiter.statistics.influence import (
    GroupResult,
    Ranked,
    RankNull,
    combine,
    influence_p,
    rank_of,
    rank_p,
    rank_sum,
    rank_weight,
    trigger_p,
)

QUARTER, ONE = Fraction(1, 4), Fraction(1)


def group(found: bool, bits: int = 64, length: int = 100, queries: int = 2) -> GroupResult:
    return GroupResult(queries=queries, bits=bits, signature_length=length, found=found)


def test_one_group_found_costs_its_guesses() -> None:
    assert trigger_p([group(True)]) == Fraction(2 * 100, 2**64)


def test_nothing_found_is_no_evidence() -> None:
    assert trigger_p([group(False)] * 5) == 1
    assert trigger_p([]) == 1
    assert influence_p([], []) == 1


def test_the_longest_signature_and_the_number_of_groups_are_paid_for() -> None:
    groups = [group(True, length=10), group(True, length=300)]
    bound = Fraction(2 * 300, 2**64)
    assert trigger_p(groups) == 2 * bound**2
    assert trigger_p([group(True, bits=3), group(False, bits=3)]) == 1


def test_more_groups_found_is_more_evidence() -> None:
    values = [trigger_p([group(i < found) for i in range(6)]) for found in range(7)]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 7


def test_trigger_p_is_super_uniform_for_the_best_guesser() -> None:
    """Signatures of random length over a tiny alphabet; a cheater answers with the likeliest string, once a group.

    The generator draws uniformly among the 2**bits words of one of two lengths, so that the bound is tight.
    """
    draw = random.Random(7)
    bits, trials, seen = 4, 40_000, Counter[Fraction]()
    for _ in range(trials):
        groups = []
        for _ in range(3):
            word = draw.randrange(2**bits)
            length = 2 if word % 2 else 3  # the length is a function of the word: it may carry information
            groups.append(GroupResult(queries=1, bits=bits, signature_length=length, found=word in (0, 1)))
        seen[trigger_p(groups)] += 1
    below = 0
    for value in sorted(seen):
        below += seen[value]
        assert below / trials <= float(value) + 4 * math.sqrt(float(value) / trials)


@pytest.mark.parametrize("candidates", [2, 3, 16, 32, 255, 256])
def test_weights_are_eighths_of_a_bit_rounded_down(candidates: int) -> None:
    for rank in range(1, candidates + 1):
        weight = rank_weight(rank, candidates)
        assert 2**weight * rank**8 <= candidates**8 < 2 ** (weight + 1) * rank**8
    assert rank_weight(1, 16) == 32
    assert rank_weight(candidates, candidates) == 0


@pytest.mark.parametrize("rank", [0, 5])
def test_no_weight_for_a_rank_that_can_not_be(rank: int) -> None:
    with pytest.raises(ValueError, match="rank lies between"):
        rank_weight(rank, 4)


@pytest.mark.parametrize("sizes", [(4,), (3, 3), (2, 4, 4), (5, 3, 2)])
def test_rank_p_is_the_share_of_all_outcomes(sizes: tuple[int, ...]) -> None:
    sums = [
        sum(rank_weight(rank, size) for rank, size in zip(ranks, sizes, strict=True))
        for ranks in itertools.product(*(range(1, size + 1) for size in sizes))
    ]
    for ranks in itertools.product(*(range(1, size + 1) for size in sizes)):
        ranked = [Ranked(rank, size) for rank, size in zip(ranks, sizes, strict=True)]
        seen = rank_sum(ranked)
        assert rank_p(ranked) == Fraction(sum(total >= seen for total in sums), len(sums))


def test_all_first_is_the_inverse_of_the_number_of_outcomes() -> None:
    assert rank_p([Ranked(1, 16)] * 32) == Fraction(1, 16**32)
    assert rank_p([Ranked(16, 16)] * 32) == 1


def test_chernoff_is_an_upper_bound_and_not_a_loose_one(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {16: 40, 8: 10}
    exact = RankNull(counts)
    monkeypatch.setattr(influence, "EXACT_BITS", 0)
    bounded = RankNull(counts)
    most = 40 * 32 + 10 * 24
    for seen in range(0, most + 1, 40):
        true, bound = exact.at_least(seen), bounded.at_least(seen)
        assert true <= bound <= 1
        assert log10(bound) - log10(true) < 4.5


def test_a_thousand_canaries_stay_quick_and_sound() -> None:
    value = rank_p([Ranked(1, 16)] * 1000)
    assert -1204.2 < log10(value) < -1000


def test_ties_count_against_the_provider() -> None:
    assert rank_of(1, ["-1.000000", "-1.000000", "-2.000000"], ["0.000000"] * 3, QUARTER) == 2
    assert rank_of(2, ["-5.000000", "-5.000000", "-6.000000"], ["-5.000000", "-5.500000", "-9.000000"], ONE) == 1
    assert rank_of(0, ["-0.000000", "0.000000"], ["0.000000", "-0.000000"], QUARTER) == 2
    assert rank_of(0, ["-0.000001", "-0.000002"], ["0.000000", "0.000000"], ONE) == 1
    with pytest.raises(ValueError, match="zip"):
        rank_of(0, ["0.000000"], [], ONE)


def test_the_weight_says_how_much_of_the_base_score_is_taken_off() -> None:
    tuned, base = ["-1.000000", "-2.000000"], ["-1.000000", "-5.000000"]
    assert [rank_of(1, tuned, base, weight) for weight in (Fraction(0), QUARTER, ONE)] == [2, 2, 1]
    # At a quarter they tie, exactly; a ten-thousandth more or less and they do not.
    assert [rank_of(0, tuned, base, Fraction(text)) for text in ("0.2499", "0.25", "0.2501")] == [1, 2, 2]
    assert [rank_of(1, tuned, base, Fraction(text)) for text in ("0.2499", "0.25", "0.2501")] == [2, 2, 1]


def test_rank_p_is_super_uniform() -> None:
    draw, trials, seen = random.Random(3), 4000, []
    for _ in range(trials):
        seen.append(float(rank_p([Ranked(draw.randint(1, 8), 8) for _ in range(6)])))
    for level in (0.001, 0.01, 0.05, 0.2, 0.5, 0.9):
        share = sum(value <= level for value in seen) / trials
        assert share <= level + 4 * math.sqrt(level * (1 - level) / trials)
        assert share >= level / 2 - 0.002  # and not uselessly cautious


@given(st.fractions(0, 1), st.fractions(0, 1))
def test_combining_never_says_less_than_the_product(first: Fraction, second: Fraction) -> None:
    value = combine(first, second)
    assert first * second <= value <= 1
    assert value == combine(second, first)


def test_the_combination_of_two_uniforms_is_super_uniform_and_sharp() -> None:
    n = 90  # on a grid, P(combine <= x) can be counted
    values = [float(combine(Fraction(i, n), Fraction(j, n))) for i in range(1, n + 1) for j in range(1, n + 1)]
    for level in (0.1, 0.5):
        share = sum(value <= level for value in values) / n**2
        assert share <= level
        assert share > 0.6 * level


def test_influence_uses_what_there_is() -> None:
    groups, ranked = [group(True)], [Ranked(1, 16)] * 4
    assert influence_p(groups, []) == trigger_p(groups)
    assert influence_p([], ranked) == rank_p(ranked)
    assert influence_p(groups, ranked) == combine(trigger_p(groups), rank_p(ranked))
    assert combine(Fraction(0), Fraction(1, 2)) == 0
    assert combine(Fraction(1), Fraction(1)) == 1
