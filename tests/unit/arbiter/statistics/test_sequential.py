"""Equations (7), (8) and (10): expectations and hitting probabilities by exact enumeration, bets by hand."""

from __future__ import annotations

import itertools
import random
from fractions import Fraction
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veritune.arbiter.statistics import sequential
from veritune.arbiter.statistics.influence import GroupResult, Ranked, rank_of
from veritune.arbiter.statistics.sequential import (
    FIRSTS,
    LENGTHS,
    LONGEST,
    honest_groups_p,
    honest_naturals_p,
    influence_e,
    p_value,
    rank_e,
    trigger_e,
)

ONE = Fraction(1)


def group(found: bool, bits: int = 64, length: int = 100, queries: int = 2) -> GroupResult:
    return GroupResult(queries=queries, bits=bits, signature_length=length, found=found)


# --- (7): signatures -----------------------------------------------------------------------------------------------


def test_the_price_of_unknown_lengths_covers_every_length() -> None:
    harmonic = sum(Fraction(1, length) for length in range(1, LONGEST + 1))
    assert harmonic <= LENGTHS < harmonic + Fraction(1, 1000)


def test_a_group_is_worth_its_bits_less_its_guesses() -> None:
    assert trigger_e([group(True)]) == Fraction(1, 2) + Fraction(2**64, 2 * 2 * 100) / LENGTHS
    assert trigger_e([group(False)] * 3) == Fraction(1, 8)
    assert trigger_e([group(False), group(True)]) == trigger_e([group(True)]) / 2
    assert trigger_e([]) == 1


@pytest.mark.parametrize("length", [0, LONGEST + 1])
def test_a_signature_of_no_possible_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="characters"):
        trigger_e([group(True, length=length)])


@pytest.mark.parametrize("queries", [1, 2])
def test_no_answers_make_a_group_worth_more_than_one_on_average(queries: int) -> None:
    """All drawn signatures have probability 2**-2 at most; whoever answers knows which they may be."""
    laws: list[dict[str, Fraction]] = [
        {"a": Fraction(1, 4), "b": Fraction(1, 4), "aa": Fraction(1, 4), "ab": Fraction(1, 4)},
        {"a": Fraction(1, 4), "ba": Fraction(1, 4), "bba": Fraction(1, 4), "bbba": Fraction(1, 4)},
        {"a": Fraction(1, 4), "aa": Fraction(1, 4), "aaa": Fraction(1, 4), "aaaa": Fraction(1, 4)},
        {"".join(s): Fraction(1, 8) for s in itertools.product("ab", repeat=3)},
    ]
    answers = ["".join(s) for size in range(1, 5) for s in itertools.product("ab", repeat=size)]
    best = Fraction(0)
    for law in laws:
        assert sum(law.values()) == 1
        for given_answers in itertools.combinations(answers, queries):
            mean = Fraction(0)
            for s, chance in law.items():
                found = any(answer.startswith(s) for answer in given_answers)
                mean += chance * trigger_e([group(found, 2, len(s), queries)])
            assert mean <= 1
            best = max(best, mean)
    assert best > Fraction(1, 2)  # a guess is worth something, so that the bound is not met for want of any


# --- (8): ranks ----------------------------------------------------------------------------------------------------


def test_a_rank_bet_by_hand() -> None:
    # Two candidates, H_2 = 3/2: a first place is worth 2 (f + (1 - f) 2/3), a second 2 (1 - f) / 3.
    assert rank_e([Ranked(1, 2)]) == sum(2 * (f + (1 - f) * Fraction(2, 3)) for f in FIRSTS) / len(FIRSTS)
    assert rank_e([Ranked(2, 2)] * 2) == sum((2 * (1 - f) / 3) ** 2 for f in FIRSTS) / len(FIRSTS)
    assert rank_e([]) == 1


@given(st.lists(st.tuples(st.integers(2, 6), st.integers(0, 5)), max_size=4), st.integers(2, 12))
def test_the_next_uniform_rank_leaves_the_mean_where_it_is(past: list[tuple[int, int]], candidates: int) -> None:
    before = [Ranked(1 + rank % size, size) for size, rank in past]
    after = [rank_e([*before, Ranked(rank, candidates)]) for rank in range(1, candidates + 1)]
    assert sum(after) / candidates == rank_e(before)
    assert after == sorted(after, reverse=True)


def test_ties_only_lower_the_mean() -> None:
    means = set()
    for scores in itertools.product(("-1.000000", "-2.000000", "-3.000000"), repeat=3):
        ranks = [rank_of(truth, scores, ("-1.000000",) * 3, Fraction(1)) for truth in range(3)]
        means.add(sum(rank_e([Ranked(rank, 3)]) for rank in ranks) / 3)
    assert max(means) == 1
    assert min(means) < 1


@pytest.mark.parametrize("rank", [0, 5])
def test_a_rank_beyond_the_candidates_is_refused(rank: int) -> None:
    with pytest.raises(ValueError, match="rank"):
        rank_e([Ranked(rank, 4)])


@given(st.permutations([Ranked(1, 4), Ranked(3, 4), Ranked(2, 3), Ranked(1, 2, copies=3)]))
def test_the_order_of_the_canaries_does_not_matter(ranked: list[Ranked]) -> None:
    groups = [group(True), group(False)]
    assert influence_e(groups, ranked) == trigger_e(groups[::-1]) * rank_e(ranked[::-1])


@pytest.mark.parametrize("reach", [2, 5, 20])
def test_a_model_without_the_secrets_rarely_ever_reaches_much(reach: int) -> None:
    """Exact: the best stopping rule's chance to stop with E >= reach, over 6 canaries of 3 candidates and 2 groups.

    Each group is found with the largest probability that its bits allow.
    """
    bits, length, luck = 6, 1, Fraction(1, 2**6)

    @cache
    def chance(ranks: tuple[int, int, int], groups: tuple[int, int]) -> Fraction:
        seen = [Ranked(place + 1, 3) for place, times in enumerate(ranks) for _ in range(times)]
        looked = [group(True, bits, length, 1)] * groups[0] + [group(False, bits, length, 1)] * groups[1]
        if influence_e(looked, seen) >= reach:
            return ONE
        if sum(groups) < 2:
            found, lost = (groups[0] + 1, groups[1]), (groups[0], groups[1] + 1)
            return luck * chance(ranks, found) + (1 - luck) * chance(ranks, lost)
        if len(seen) == 6:
            return Fraction(0)
        following = [tuple(n + (i == place) for i, n in enumerate(ranks)) for place in range(3)]
        return sum((chance((a, b, c), groups) for a, b, c in following), start=Fraction(0)) / 3

    assert 0 < chance((0, 0, 0), (0, 0)) <= Fraction(1, reach)


def test_looking_after_every_canary_costs_nothing() -> None:
    """By simulation, 1000 models of luck alone that are looked at after each of 60 canaries of 8 candidates."""
    draw, reached = random.Random(3), 0
    bets = [[sequential._rank_bet(f, rank, 8) for rank in range(1, 9)] for f in FIRSTS]
    for _ in range(1000):
        values = [1.0] * len(FIRSTS)
        for _ in range(60):
            rank = draw.randrange(8)
            values = [value * float(bet[rank]) for value, bet in zip(values, bets, strict=True)]
            if sum(values) >= 10 * len(FIRSTS):
                reached += 1
                break
    assert 10 < reached <= 100


@pytest.mark.parametrize(("evidence", "p"), [("10", "0.1"), ("1", "1"), ("0.5", "1"), ("1.25", "0.8")])
def test_evidence_becomes_a_p_value(evidence: str, p: str) -> None:
    assert p_value(Fraction(evidence)) == Fraction(p)


# --- (10): an honest run -------------------------------------------------------------------------------------------


def test_groups_by_hand() -> None:
    half = Fraction(1, 2)
    assert honest_groups_p(4, 0, half) == Fraction(50, 95) ** 4
    assert honest_groups_p(2, 1, half) == 1  # 1/10 * 19/10
    assert honest_groups_p(3, 3, half) == honest_groups_p(0, 0, half) == 1


def test_naturals_by_hand() -> None:
    luck, floor = Fraction(1, 10), Fraction(1, 2)
    chances = [luck + Fraction(step, 10) for step in range(4)]
    miss = sum(((1 - chance) / floor) ** 5 for chance in chances) / 4
    assert honest_naturals_p([(luck, False)] * 5, floor) == 1 / miss
    assert honest_naturals_p([(luck, True)] * 5, floor) == honest_naturals_p([], floor) == 1


def test_a_floor_of_one_makes_one_miss_final_and_a_floor_of_nought_none() -> None:
    luck = Fraction(1, 4)
    assert honest_groups_p(9, 8, ONE) == 0
    assert honest_groups_p(9, 9, ONE) == 1
    assert honest_groups_p(9, 0, Fraction(0)) == 1
    assert honest_naturals_p([(luck, True)] * 9, ONE) == 1
    assert honest_naturals_p([(luck, True)] * 9 + [(luck, False)], ONE) == 0
    assert honest_naturals_p([(luck, False)] * 9, Fraction(0)) == 1
    assert honest_naturals_p([(luck, False)] * 9, luck) == 1  # an honest run that hits by luck can't be told from luck
    assert honest_naturals_p([(ONE, True)] * 9, ONE) == 1


@pytest.mark.parametrize("floor", ["0.3", "0.5", "0.8", "1"])
@pytest.mark.parametrize("beta", ["0.5", "0.1", "0.02"])
def test_no_stopping_rule_fails_an_honest_run_too_often(floor: str, beta: str) -> None:
    """Exact: canaries of two kinds in turn, each with any of three chances at or above the floor, chosen for the worst
    in the knowledge of what came before."""
    least, level = Fraction(floor), Fraction(beta)
    kinds, chances = (Fraction(1, 10), Fraction(2, 5)), {least, (1 + least) / 2, ONE}

    @cache
    def natural(seen: tuple[int, int, int, int]) -> Fraction:
        outcomes = [(kinds[i // 2], i % 2 == 0) for i, times in enumerate(seen) for _ in range(times)]
        if honest_naturals_p(outcomes, least) <= level:
            return ONE
        if len(outcomes) == 14:
            return Fraction(0)
        kind = len(outcomes) % 2
        hit = natural(tuple(n + (i == 2 * kind) for i, n in enumerate(seen)))
        miss = natural(tuple(n + (i == 2 * kind + 1) for i, n in enumerate(seen)))
        return max(chance * hit + (1 - chance) * miss for chance in chances)

    @cache
    def groups(asked: int, found: int) -> Fraction:
        if honest_groups_p(asked, found, least) <= level:
            return ONE
        if asked == 20:
            return Fraction(0)
        shown, not_shown = groups(asked + 1, found + 1), groups(asked + 1, found)
        return max(chance * shown + (1 - chance) * not_shown for chance in chances)

    worst = natural((0, 0, 0, 0)), groups(0, 0)
    assert max(worst) <= level
    if floor in {"0.5", "0.8"} and beta != "0.02":
        assert min(worst) > 0  # within reach, so that the bound is not met for want of canaries


def test_a_half_trained_model_is_told_from_an_honest_one() -> None:
    """Half the canaries hit: the alternatives between luck and the floor see it, luck alone would not."""
    luck, floor = Fraction(1, 12), Fraction(7, 10)
    outcomes = [(luck, number % 2 == 0) for number in range(128)]
    assert honest_naturals_p(outcomes, floor) < Fraction(1, 1000)
    luck_alone = (luck / floor) ** 64 * ((1 - luck) / (1 - floor)) ** 64
    assert luck_alone < 1
