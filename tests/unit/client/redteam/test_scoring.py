"""Areas and recalls against hand-computed cases and scikit-learn."""

from __future__ import annotations

import math
import random

import pytest

from veritune.client.redteam.figures import CURVE_RATES, RATES, RedTeamFigures, measure
from veritune.client.redteam.kinds import Kind
from veritune.client.redteam.scoring import Roc


def test_by_hand() -> None:
    roc = Roc.of(plain=[1, 2, 3, 4], canaries=[5, 3.5])
    assert roc.false == (0, 0, 0.25, 0.25, 0.5, 0.75, 1)
    assert roc.found == (0, 0.5, 0.5, 1, 1, 1, 1)
    assert roc.area == pytest.approx(7 / 8)  # of 8 pairs one is the wrong way round
    assert [roc.recall(rate) for rate in (0, 0.2, 0.25, 1)] == [0.5, 0.5, 1, 1]


def test_ties_are_drawn_by_lot() -> None:
    # One canary alone on top; one tied with two of four plain rows; one below them all.
    roc = Roc.of(plain=[2, 2, 1, 1], canaries=[9, 2, 0])
    assert roc.area == pytest.approx((4 + (2 * 0.5 + 2) + 0) / 12)
    assert [roc.recall(rate) for rate in (0, 0.25, 0.5, 0.75)] == pytest.approx([1 / 3, 1 / 2, 2 / 3, 2 / 3])


def test_a_score_that_says_nothing_finds_as_much_as_chance() -> None:
    roc = Roc.of([7.0] * 50, [7.0] * 3)
    assert roc.area == 0.5
    assert [roc.recall(rate) for rate in (0.001, 0.01, 0.1, 1)] == pytest.approx([0.001, 0.01, 0.1, 1])


def test_perfect_and_backwards() -> None:
    assert Roc.of([1, 2], [3, 4]).recall(0.001) == Roc.of([1, 2], [3, 4]).area == 1
    assert Roc.of([3, 4], [1, 2]).recall(0.5) == Roc.of([3, 4], [1, 2]).area == 0


def test_one_false_alarm_in_a_hundred_rows_of_three_hundred_is_three() -> None:
    plain = [float(number) for number in range(300)]
    assert Roc.of(plain, [296.5, 295.5]).recall(0.01) == 0.5
    assert Roc.of(plain, [299.5, 298.5]).recall(0.001) == 0.5


def test_what_is_no_number_is_least_suspect_either_way() -> None:
    assert Roc.of([1.0], [math.nan]).area == Roc.of([-1.0], [-math.nan]).area == Roc.of([1.0], [math.inf]).area == 0


def test_nothing_to_compare() -> None:
    for plain, canaries in (([], [1.0]), ([1.0], [])):
        with pytest.raises(ValueError, match="plain rows and canaries"):
            Roc.of(plain, canaries)


def test_against_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    draw = random.Random(5)
    for _ in range(20):
        plain = [draw.randrange(12) / 3 for _ in range(draw.randrange(1, 60))]
        canaries = [draw.randrange(15) / 3 for _ in range(draw.randrange(1, 20))]
        labels = [0] * len(plain) + [1] * len(canaries)
        roc = Roc.of(plain, canaries)
        assert roc.area == pytest.approx(metrics.roc_auc_score(labels, plain + canaries))
        false, found, _ = metrics.roc_curve(labels, plain + canaries, drop_intermediate=False)
        assert list(roc.false) == pytest.approx(list(false))
        assert list(roc.found) == pytest.approx(list(found))


def test_kinds_are_measured_over_the_same_plain_rows() -> None:
    kinds: list[Kind | None] = [*[None] * 10, "trigger", "in-place"]
    found = measure([*map(float, range(10)), 99.0, -1.0], kinds)
    assert list(found) == ["trigger", "in-place"]
    assert (found["trigger"].odd.auc, found["trigger"].usual.auc) == ("1.0000", "0.0000")
    assert found["in-place"].auc == 1
    assert found["in-place"].odd.recall["0.01"] == "0.0000"
    assert found["in-place"].recall("0.01") == 1
    assert found["in-place"].curve == (1.0,) * len(CURVE_RATES)
    assert set(found["trigger"].odd.recall) == set(RATES)
    assert CURVE_RATES[0] == pytest.approx(0.001)
    assert CURVE_RATES[-1] == 1


def test_figures_come_back_from_their_bytes() -> None:
    figures = RedTeamFigures(
        train_sha256="0" * 64, sampled=None, plain_rows=3, canary_rows={"natural": 2, "trigger": 1}, detectors={}
    )
    assert RedTeamFigures.from_bytes(figures.to_bytes()) == figures
