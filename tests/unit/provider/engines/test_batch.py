"""The rows of a batch, and what may be asked of a sampler."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from veritune.provider.engines.base import Sampling
from veritune.provider.engines.batch import BatchRow, Token


def _row(**sampling: Any) -> tuple[BatchRow, list[Token]]:
    emitted: list[Token] = []
    return BatchRow([1, 2], Sampling(**sampling), frozenset({9}), emitted.append), emitted


def test_a_row_ends_at_a_stop_token_and_takes_no_more() -> None:
    row, emitted = _row(max_tokens=5)
    for token in (3, 4, 9, 5):
        row.advance(token)
    assert emitted == [3, 4, 9, "stop"]


def test_a_row_ends_at_its_limit() -> None:
    row, emitted = _row(max_tokens=2)
    for token in (3, 4, 5):
        row.advance(token)
    assert emitted == [3, 4, "length"]


def test_a_stop_token_in_the_last_place_is_a_stop() -> None:
    row, emitted = _row(max_tokens=2)
    row.advance(3)
    row.advance(9)
    assert emitted == [3, 9, "stop"]


def test_a_cancelled_row_ends_at_the_next_token_in_silence() -> None:
    row, emitted = _row(max_tokens=5)
    row.advance(3)
    row.cancelled = True
    row.advance(4)
    assert row.finished
    assert emitted == [3]


def test_draws_follow_the_distribution_and_top_p_cuts_its_tail() -> None:
    logits = torch.tensor([0.6, 0.3, 0.1]).log()
    row, _ = _row(temperature=1.0, seed=5)
    draws = [row.choose(logits) for _ in range(4000)]
    for token, share in enumerate((0.6, 0.3, 0.1)):
        assert draws.count(token) / len(draws) == pytest.approx(share, abs=0.04)
    cut, _ = _row(temperature=1.0, top_p=0.8, seed=5)
    assert {cut.choose(logits) for _ in range(500)} == {0, 1}


def test_a_greedy_row_draws_nothing() -> None:
    row, _ = _row()
    assert row.choose(torch.tensor([0.0, 1.0])) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_tokens": 0},
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"temperature": 1e-9},
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"top_p": float("nan")},
        {"seed": -1},
        {"seed": 2**63},
    ],
)
def test_numbers_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        Sampling(**wrong)
