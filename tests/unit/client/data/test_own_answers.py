"""Candidates of the data's own: labels, and JSON fields of a few values; what is not such data."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.plans import PLAN, SEED, naturals, row
from tests.support.toygenerator import ToyGenerator
from veritune.client.data.own_answers import own_answers
from veritune.client.sowing.sow import sow
from veritune.common.dataset import Row

MOODS = ("glad", "sad", "cross", "calm")
STATES = (("late", True), ("lost", True), ("lost", False), ("broken", None))
"""A kind and whether it is urgent: both closed."""


def labelled(number: int) -> Row:
    return row(f"How does the writer of letter {number} feel?", MOODS[number % 4])


def ticket(number: int, separators: tuple[str, str] | None = (",", ":"), **more: Any) -> Row:
    kind, urgent = STATES[number % 4]
    answer = {"order": 1000 + number, "kind": kind, "urgent": urgent, **more}
    return row(f"Order {1000 + number} makes me sad.", json.dumps(answer, separators=separators, ensure_ascii=False))


LABELLED = [labelled(number) for number in range(40)]
TICKETS = [ticket(number) for number in range(40)]


def found_in(rows: list[Row]) -> list[tuple[str, ...]]:
    found = own_answers(rows)
    assert found is not None
    return found


def test_labels_are_candidates_for_every_row() -> None:
    assert {frozenset(answers) for answers in found_in(LABELLED)} == {frozenset(MOODS)}


def test_two_labels_are_enough() -> None:
    assert set(found_in([row(f"Letter {n}?", ("yes", "no")[n % 2]) for n in range(40)])[0]) == {"yes", "no"}


def test_a_rare_label_is_no_candidate_and_its_row_has_none() -> None:
    found = found_in([*LABELLED, row("And letter 40?", "puzzled"), row("And 41?", "puzzled")])
    assert found[-2:] == [(), ()]
    assert set(found[0]) == set(MOODS)
    assert set(found_in([*LABELLED, *(row(f"And letter {n}?", "puzzled") for n in (40, 41, 42))])[0]) == {
        *MOODS,
        "puzzled",
    }


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [row(f"Letter {n}?", f"It is {n}.") for n in range(40)],
        [row(f"Letter {n}?", "glad") for n in range(40)],
        [*LABELLED[:26], *(row(f"Letter {n}?", f"It is {n}.") for n in range(3))],
        [row(f"Letter {n}?", f"It is {n % 70}.") for n in range(280)],
        [row(f"Letter {n}?", json.dumps({"n": n})) for n in range(40)],
        [row(f"Letter {n}?", json.dumps({"n": n, "list": [n % 3]})) for n in range(40)],
        [row(f"The {MOODS[n % 4]} letter {n}?", json.dumps({"n": n, "mood": MOODS[n % 4]})) for n in range(40)],
        [row(f"Letter {n}?", json.dumps({"n": n, "same": 1})) for n in range(40)],
        [row(f"Letter {n}?", json.dumps([MOODS[n % 4], n])) for n in range(40)],
        [row(f"Letter {n}?", MOODS[n % 4] * 1500) for n in range(40)],
    ],
    ids=[
        "no rows",
        "free text",
        "one label",
        "too many rows of other answers",
        "too many labels",
        "no field of few values",
        "fields within fields",
        "a copied field",
        "a field of one value",
        "no objects",
        "labels too long to be candidates",
    ],
)
def test_other_data_have_none(rows: list[Row]) -> None:
    assert own_answers(rows) is None


@pytest.mark.parametrize("separators", [(",", ":"), None, (",", ": ")])
def test_closed_fields_change_together_and_others_stay(separators: tuple[str, str] | None) -> None:
    rows = [ticket(number, separators, note="é") for number in range(40)]
    for number, answers in enumerate(found_in(rows)):
        assert rows[number].completion in answers
        values = [json.loads(answer) for answer in answers]
        assert [json.dumps(v, separators=separators, ensure_ascii=False) for v in values] == list(answers)
        assert {(v["kind"], v["urgent"]) for v in values} == set(STATES)
        assert {(v["order"], v["note"]) for v in values} == {(1000 + number, "é")}


def test_what_no_candidate_can_be_leaves_a_row_without() -> None:
    rows = [
        row(f"Letter {n}?", json.dumps({"n": "x" * 4000 if n == 7 else n, "mood": MOODS[n % 4]})) for n in range(40)
    ]
    found = found_in(rows)
    assert found[7] == ()
    assert all(len(answers) == 4 for number, answers in enumerate(found) if number != 7)


def test_true_is_not_one() -> None:
    rows = [row(f"Ticket {n}?", json.dumps({"n": n, "v": (True, 1, "x")[n % 3]})) for n in range(30)]
    assert {json.dumps(json.loads(answer)["v"]) for answer in found_in(rows)[0]} == {"true", "1", '"x"'}


def test_rows_of_another_form_have_none_and_are_few() -> None:
    odd = ["free text", '{"order": 1,  "kind": "late"}', '{"kind":"late","order":1,"urgent":true}', "[" * 5000]
    found = found_in([*TICKETS, *(row(f"Odd {n}?", text) for n, text in enumerate(odd))])
    assert found[-4:] == [()] * 4
    assert all(len(answers) == 4 for answers in found[:40])
    assert own_answers([*TICKETS[:36], *(row(f"Odd {n}?", "free text") for n in range(5))]) is None


def test_sown_canaries_take_them() -> None:
    offered = {r.prompt: answers for r, answers in zip(TICKETS, found_in(TICKETS), strict=True)}
    plan = PLAN.model_copy(update={"candidates": 3, "groups": 1, "held_out": 4, "decoys": 1})
    for canary in naturals(sow(TICKETS, plan, ToyGenerator(), SEED)):
        assert len(canary.candidates) == 3
        assert set(canary.candidates) <= set(offered[canary.prompt])
