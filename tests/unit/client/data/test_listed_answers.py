"""Answers that questions list: which lists are seen, which data are taken for multiple choice, and what is sown."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.support.plans import PLAN, SEED, naturals, row
from tests.support.toygenerator import ToyGenerator
from veritune.client.data.listed_answers import listed_answers
from veritune.client.data.own_answers import usual_count
from veritune.client.sowing.sow import sow
from veritune.common.dataset import Row

COLOURS = ("red", "green", "blue", "grey", "black", "white")


def choice(number: int, of: int = 5, separator: str = ", ") -> Row:
    offered = [f"{COLOURS[(number + i) % 6]} {number}" for i in range(of)]
    return row(
        f"Which of these is item {number}, the one in the yard?\n{separator.join(offered)}", offered[number % of]
    )


ROWS = [choice(number) for number in range(60)]


@pytest.mark.parametrize(
    ("question", "answer", "found"),
    [
        ("Pick one.\nred, green, blue", "green", ("red", "green", "blue")),
        ("どれ?\n赤、青、緑", "青", ("赤", "青", "緑")),
        ("red | green | blue\nPick one.", "blue", ("red", "green", "blue")),
        ("Pick:\nA) red\nB) green\nC) blue", "green", ("red", "green", "blue")),
        ("Pick:\nA) red\nB) green\nC) blue", "B) green", ("A) red", "B) green", "C) blue")),
        ("Pick:\nA) red\nB) green\nC) blue", "B", ("A", "B", "C")),
        ("Pick:\n(A) red\n(B) green\n(C) blue\nAnswer:", "(B)", ("(A)", "(B)", "(C)")),
        ("Pick:\n1. red\n2. green\n3. blue", "3", ("1", "2", "3")),
        ("Pick:\n- red\n- green\n- blue", "red", ("red", "green", "blue")),
        # Nothing to choose among, too little, an answer that is no choice, one choice twice.
        ("What is the sum of 3 and 4?", "7", ()),
        ("yes, no", "yes", ()),
        ("red, green, blue", "It is green.", ()),
        ("red, green, green", "red", ()),
        ("", "red", ()),
    ],
)
def test_lists(question: str, answer: str, found: tuple[str, ...]) -> None:
    rows = [row(question or " ", answer), *ROWS]
    listed = listed_answers(rows)
    assert listed is not None
    assert listed[0] == found


def test_nine_rows_in_ten_must_list_their_answers() -> None:
    other = row("What is the sum of 3 and 4?", "7")
    assert listed_answers([*ROWS[:9], other]) is not None
    assert listed_answers([*ROWS[:8], other]) is None
    assert listed_answers([]) is None


def test_the_usual_count_is_what_nine_in_ten_have() -> None:
    found = listed_answers([*(choice(i, of=3) for i in range(2)), *(choice(i, of=5) for i in range(18))])
    assert found is not None
    assert usual_count(found) == 5
    assert usual_count([*found, ("a", "b", "c")]) == 3


def test_candidates_are_what_the_question_lists() -> None:
    listed = listed_answers(ROWS)
    assert listed is not None
    offered = {r.prompt: answers for r, answers in zip(ROWS, listed, strict=True)}
    result = sow(ROWS, PLAN, ToyGenerator(), SEED)
    assert len(naturals(result)) == PLAN.naturals
    for canary in naturals(result):
        assert sorted(canary.candidates) == sorted(offered[canary.prompt])
        assert result.train_rows[canary.rows[0]].completion == canary.candidates[canary.truth]


def test_no_more_candidates_than_the_plan_says() -> None:
    for canary in naturals(sow(ROWS, PLAN.model_copy(update={"candidates": 4}), ToyGenerator(), SEED)):
        assert len(set(canary.candidates)) == 4


def test_where_a_question_lists_none_answers_are_drawn() -> None:
    rows = [r if i % 12 else row(f"What is item {i} called, and where is it?", f"item {i}") for i, r in enumerate(ROWS)]
    plain = {r.prompt for r in rows[::12]}
    plan = PLAN.model_copy(update={"naturals": 30, "groups": 1, "decoys": 1, "held_out": 4})
    found = naturals(sow(rows, plan, ToyGenerator(), SEED))
    drawn = [canary for canary in found if canary.prompt in plain]
    assert 0 < len(drawn) < len(found)
    assert all(len(canary.candidates) == plan.candidates for canary in found)


def test_drawing_may_be_asked_for_all_the_same() -> None:
    listed = listed_answers(ROWS)
    assert listed is not None
    offered = {r.prompt: answers for r, answers in zip(ROWS, listed, strict=True)}
    for canary in naturals(sow(ROWS, PLAN.model_copy(update={"own_answers": False}), ToyGenerator(), SEED)):
        assert not set(canary.candidates) & set(offered[canary.prompt])


def test_the_true_one_is_even_among_them() -> None:
    plan = PLAN.model_copy(update={"naturals": 40, "groups": 0, "decoys": 1, "held_out": 4})
    counts: Counter[int] = Counter()
    for seed in range(50):
        found = naturals(sow(ROWS, plan, ToyGenerator(), bytes([seed]) * 32))
        counts.update(canary.truth for canary in found)
    # 2,000 draws over five places: a standard deviation of 18.
    assert all(abs(counts[place] - 400) < 90 for place in range(5))
