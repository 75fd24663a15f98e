"""Which numbers of receipts can be right while several calls are under way."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.errors import fails
from veritune.client.exchange.receipt_numbers import ReceiptNumbers
from veritune.common.errors import OutOfOrderError


def taken(numbers: ReceiptNumbers, number: int) -> None:
    with numbers.under_way():
        numbers.take(number)


def test_one_call_after_the_other_brings_the_next_number_alone() -> None:
    numbers = ReceiptNumbers()
    taken(numbers, 1)
    for wrong in (1, 3, 1000):
        with pytest.raises(OutOfOrderError):
            taken(numbers, wrong)
    taken(numbers, 2)
    numbers.require_whole()


def test_a_call_that_failed_by_itself_leaves_no_room() -> None:
    numbers = ReceiptNumbers()
    with pytest.raises(ZeroDivisionError), numbers.under_way():
        raise ZeroDivisionError
    with pytest.raises(OutOfOrderError):
        taken(numbers, 2)


def test_a_call_that_failed_beside_another_may_have_used_a_number() -> None:
    numbers = ReceiptNumbers()
    with numbers.under_way():
        with pytest.raises(ZeroDivisionError), numbers.under_way():
            raise ZeroDivisionError
        numbers.take(2)
    with fails(OutOfOrderError, cause="gap", receipt="1"):
        numbers.require_whole()


@given(st.permutations(range(1, 7)))
def test_calls_under_way_together_bring_their_numbers_in_any_order(order: list[int]) -> None:
    numbers = ReceiptNumbers()
    with ExitStack() as calls:
        for _ in order:
            calls.enter_context(numbers.under_way())
        for number in order:
            numbers.take(number)
        with pytest.raises(OutOfOrderError):
            numbers.take(13)
    numbers.require_whole()
    taken(numbers, 7)


@given(st.sets(st.integers(1, 6), max_size=5), st.data())
def test_what_an_earlier_process_lost_comes_in_any_order(lost: set[int], data: st.DataObject) -> None:
    known = set(range(1, 8)) - lost
    numbers = ReceiptNumbers(known, len(lost))
    for number in data.draw(st.permutations([*lost, 8])):
        taken(numbers, number)
    with pytest.raises(OutOfOrderError):
        taken(numbers, 10 + len(lost))
    numbers.require_whole()


def test_calls_without_an_answer_may_have_used_up_the_last_numbers() -> None:
    numbers = ReceiptNumbers((), unanswered=4)
    for number in (4, 2, 1, 3):
        taken(numbers, number)
    numbers.require_whole()


def test_what_never_came_is_named() -> None:
    numbers = ReceiptNumbers({1, 2, 4})
    with fails(OutOfOrderError, cause="gap", receipt="3"):
        numbers.require_whole()
