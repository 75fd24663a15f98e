"""Calls under way together: how many, in which order they begin, and what becomes of a failure."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from veritune.client.challenge.at_once import answers_at_once


@pytest.mark.parametrize("at_once", [1, 3, 20])
def test_every_item_is_answered_and_no_more_are_under_way_than_allowed(at_once: int) -> None:
    lock, begun = threading.Lock(), list[int]()
    under_way = most = 0

    def begin(item: int) -> Callable[[], int]:
        begun.append(item)

        def call() -> int:
            nonlocal under_way, most
            with lock:
                under_way += 1
                most = max(most, under_way)
            with lock:
                under_way -= 1
            return item * item

        return call

    assert sorted(answers_at_once(range(10), begin, at_once)) == [(item, item * item) for item in range(10)]
    assert begun == list(range(10))
    assert most <= at_once


def test_those_under_way_beside_a_failure_are_handed_out_before_it_is_raised() -> None:
    failed, begun, found = threading.Event(), list[int](), list[int]()

    def begin(item: int) -> Callable[[], int]:
        begun.append(item)

        def call() -> int:
            if item == 1:
                failed.set()
                raise ZeroDivisionError
            failed.wait(30)
            return item

        return call

    with pytest.raises(ZeroDivisionError):
        found.extend(item for item, _ in answers_at_once(range(10), begin, 3))
    assert sorted(begun) == sorted([*found, 1])
    assert {0, 2} <= set(found)


def test_an_interrupted_caller_waits_for_nobody() -> None:
    never = threading.Event()
    calls = answers_at_once([0, 1], lambda item: (lambda: item) if item == 0 else never.wait, 2)
    assert next(calls)[0] == 0
    calls.close()
    never.set()
