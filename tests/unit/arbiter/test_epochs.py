"""Epochs from graded repetition: the interval against enumeration of all outcomes, the curve, and the counts."""

from __future__ import annotations

import itertools
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.errors import fails
from tests.support.exchange import Behaviour, Exchange
from veritune.arbiter.epochs import STEP, CurvePoint, Dose, DoseCurve, Epochs, doses_in, estimate_epochs, likelihood
from veritune.common.errors import BadFileError, MalformedDocumentError, MissingFileError
from veritune.common.limits import LIMITS

HALF = Fraction(1, 2)


def curve(*points: tuple[int, str], **changes: Any) -> DoseCurve:
    listed = tuple(CurvePoint(exposures=x, probability=p) for x, p in points)
    knobs: dict[str, Any] = {"canaries": "answers", "candidates": 16, "hit_rank": 1, "base_weight": "0.25"}
    return DoseCurve(points=listed, measured_on="tests", **knobs | changes)


USUAL = curve((0, "0.0625"), (2, "0.3"), (4, "0.7"), (8, "0.95"), (16, "0.99"))


@st.composite
def curves(draw: st.DrawFn) -> DoseCurve:
    chances = sorted(draw(st.lists(st.integers(0, 20), min_size=1, max_size=5)))
    steps = draw(st.lists(st.integers(1, 5), min_size=len(chances) - 1, max_size=len(chances) - 1))
    places = [0, *itertools.accumulate(steps)]
    return curve(*((x, f"{p / 20:.2f}") for x, p in zip(places, chances, strict=True)))


@st.composite
def doses(draw: st.DrawFn, most: int = 4) -> list[Dose]:
    result = []
    for copies in draw(st.lists(st.integers(1, 8), min_size=1, max_size=3, unique=True)):
        asked = draw(st.integers(0, most))
        result.append(Dose(copies, asked, draw(st.integers(0, asked))))
    return result


def outcomes(asked: list[tuple[int, int]]) -> list[tuple[list[Dose], int]]:
    """Every outcome as counts of hits, with the number of ways to get it."""
    ways: dict[tuple[int, ...], int] = {}
    spans = [count for _, count in asked]
    for flips in itertools.product((0, 1), repeat=sum(spans)):
        rest = iter(flips)
        hits = tuple(sum(itertools.islice(rest, span)) for span in spans)
        ways[hits] = ways.get(hits, 0) + 1
    return [
        ([Dose(copies, count, hit) for (copies, count), hit in zip(asked, hits, strict=True)], number)
        for hits, number in ways.items()
    ]


# --- the curve -------------------------------------------------------------------------------------------------------


def test_the_curve_is_straight_between_points_and_flat_beyond() -> None:
    assert USUAL.at(Fraction(0)) == Fraction(1, 16)
    assert USUAL.at(Fraction(1)) == (Fraction(1, 16) + Fraction(3, 10)) / 2
    assert USUAL.at(Fraction(4)) == Fraction(7, 10)
    assert USUAL.at(Fraction(5)) == Fraction(7, 10) + Fraction(1, 4) * Fraction(1, 4)
    assert USUAL.at(Fraction(16)) == USUAL.at(Fraction(10_000)) == Fraction(99, 100)
    assert curve((0, "0.5")).at(Fraction(3)) == HALF


@given(curves(), st.fractions(0, 30), st.fractions(0, 30))
def test_the_curve_never_falls(shape: DoseCurve, one: Fraction, other: Fraction) -> None:
    assert shape.at(min(one, other)) <= shape.at(max(one, other))


@pytest.mark.parametrize(
    "points",
    [
        [(1, "0.1")],
        [(0, "0.1"), (0, "0.2")],
        [(0, "0.1"), (2, "0.2"), (1, "0.3")],
        [(0, "0.2"), (1, "0.1")],
        [(0, "0.2"), (1, "1.1")],
        [(0, "-0.2"), (1, "0.1")],
    ],
)
def test_curves_that_are_none_are_refused(points: list[tuple[int, str]]) -> None:
    with pytest.raises(ValueError, match=r"curve must begin|probability lies"):
        curve(*points)


def test_a_curve_is_read_from_any_json(tmp_path: Path) -> None:
    path = tmp_path / "curve.json"
    path.write_text(json.dumps(USUAL.model_dump(mode="json"), indent=1))
    assert DoseCurve.load(path) == USUAL
    path.write_text(json.dumps({**USUAL.model_dump(mode="json"), "points": []}))
    with fails(BadFileError, file="curve.json", field="points"):
        DoseCurve.load(path)
    path.write_text(json.dumps({**USUAL.model_dump(mode="json"), "points": [{"exposures": 1, "probability": "1"}]}))
    with fails(BadFileError, match="begin at 0", file="curve.json", field="document"):
        DoseCurve.load(path)
    path.write_text("{}{")
    with fails(BadFileError, file="curve.json", cause="json"):
        DoseCurve.load(path)
    path.write_bytes(b" " * (LIMITS.document + 1))
    with pytest.raises(BadFileError):
        DoseCurve.load(path)
    with fails(MissingFileError, file="none.json"):
        DoseCurve.load(tmp_path / "none.json")


# --- the interval ----------------------------------------------------------------------------------------------------

NARROW = [(1, 3), (2, 2), (4, 3)]


@pytest.mark.parametrize("confidence", [Fraction(1, 2), Fraction(4, 5), Fraction(19, 20)])
def test_the_interval_holds_the_truth_as_often_as_it_says(confidence: Fraction) -> None:
    """All outcomes of eight canaries, at true numbers of epochs on quarters, between them and beyond the bound."""
    found = [(seen, ways, estimate_epochs(seen, USUAL, confidence, most_epochs=8)) for seen, ways in outcomes(NARROW)]
    truths = [STEP * quarter for quarter in range(0, 33, 3)] + [Fraction(1, 7), Fraction(17, 8), Fraction(20)]
    for truth in truths:
        covered = total = Fraction(0)
        for seen, ways, interval in found:
            chance = ways * likelihood(seen, USUAL, truth)
            total += chance
            if interval.least <= truth and (interval.most is None or truth <= interval.most):
                covered += chance
        assert total == 1
        assert covered >= confidence


def hits_at_least(seen: list[Dose], shape: DoseCurve, epochs: Fraction, hits: int) -> Fraction:
    asked = [(dose.copies, dose.asked) for dose in seen]
    return sum(
        (
            ways * likelihood(other, shape, epochs)
            for other, ways in outcomes(asked)
            if sum(dose.hits for dose in other) >= hits
        ),
        Fraction(0),
    )


@settings(deadline=None, max_examples=40)
@given(doses(most=3), curves(), st.sampled_from([Fraction(1, 2), Fraction(9, 10)]))
def test_the_ends_are_the_first_quarters_ruled_out(seen: list[Dose], shape: DoseCurve, confidence: Fraction) -> None:
    """Against a walk over the whole grid with tails summed over every outcome."""
    grid = [STEP * quarter for quarter in range(4 * 3 + 1)]
    doubt, hits = (1 - confidence) / 2, sum(dose.hits for dose in seen)
    few = [epochs for epochs in grid if hits_at_least(seen, shape, epochs, hits) <= doubt]
    many = [epochs for epochs in grid if 1 - hits_at_least(seen, shape, epochs, hits + 1) <= doubt]
    assert few == grid[: len(few)]
    assert many == grid[len(grid) - len(many) :]
    chances = [likelihood(seen, shape, epochs) for epochs in grid]
    found = estimate_epochs(seen, shape, confidence, most_epochs=3)
    assert found == Epochs(
        fits=found.fits,
        least=few[-1] if few else Fraction(0),
        most=many[0] if many else None,
        likeliest=grid[chances.index(max(chances))] if max(chances) else None,
    )


@settings(deadline=None, max_examples=60)
@given(doses(), curves(), st.data())
def test_more_hits_never_show_fewer_epochs(seen: list[Dose], shape: DoseCurve, data: st.DataObject) -> None:
    room = [i for i, dose in enumerate(seen) if dose.hits < dose.asked]
    if not room:
        return
    place = data.draw(st.sampled_from(room))
    more = [Dose(d.copies, d.asked, d.hits + (i == place)) for i, d in enumerate(seen)]
    one, other = (estimate_epochs(s, shape, Fraction(9, 10), most_epochs=4) for s in (seen, more))
    assert one.least <= other.least
    assert other.most is None or (one.most is not None and one.most <= other.most)


@settings(deadline=None, max_examples=40)
@given(doses(), curves())
def test_more_confidence_never_makes_it_narrower(seen: list[Dose], shape: DoseCurve) -> None:
    one, other = (estimate_epochs(seen, shape, c, most_epochs=4) for c in (Fraction(1, 2), Fraction(99, 100)))
    assert other.least <= one.least
    assert other.most is None or (one.most is not None and one.most <= other.most)


def test_what_a_run_of_four_epochs_looks_like() -> None:
    """Copies of 1, 2, 4 and 8 see 4, 8, 16 and 32 exposures; one epoch would leave the single ones at 0.18."""
    seen = [Dose(1, 40, 28), Dose(2, 20, 19), Dose(4, 10, 10), Dose(8, 10, 10)]
    found = estimate_epochs(seen, USUAL)
    assert found.likeliest == 4
    assert found.least > 2
    assert found.most is not None
    assert found.most < 7


def test_the_ends_of_the_grid() -> None:
    nothing = estimate_epochs([], USUAL)
    assert nothing == Epochs(Fraction(0), None, Fraction(0))
    all_hit = [Dose(1, 60, 60)]
    assert estimate_epochs(all_hit, USUAL, most_epochs=4) == Epochs(Fraction(4), None, Fraction(4))
    none_hit = [Dose(1, 60, 0)]
    below_luck = estimate_epochs(none_hit, curve((0, "0.2"), (4, "0.9")))
    assert below_luck == Epochs(Fraction(0), Fraction(0), Fraction(0), fits=False)
    impossible = estimate_epochs([Dose(1, 2, 1)], curve((0, "0")))
    assert impossible == Epochs(Fraction(64), None, None, fits=False)


def test_more_hits_than_the_curve_ever_allows_for_are_no_long_training() -> None:
    flat = curve((0, "0.1"), (4, "0.9"))
    assert not estimate_epochs([Dose(1, 64, 64)], flat).fits
    assert estimate_epochs([Dose(1, 64, 58)], flat).fits
    # A curve that still rises where the grid ends may be followed further.
    assert estimate_epochs([Dose(1, 64, 64)], curve((0, "0.1"), (400, "1")), most_epochs=4).fits


@pytest.mark.parametrize("numbers", [(0, 1, 1), (1, 1, 2), (1, 1, -1)])
def test_counts_that_do_not_fit_are_refused(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        Dose(*numbers)


@pytest.mark.parametrize(("confidence", "most"), [(Fraction(0), 4), (Fraction(1), 4), (HALF, 0)])
def test_odd_questions_are_refused(confidence: Fraction, most: int) -> None:
    with pytest.raises(ValueError, match="confidence lies between"):
        estimate_epochs([], USUAL, confidence, most)


# --- counts of an evidence bundle ------------------------------------------------------------------------------------


def test_counts_by_copies_and_by_kind() -> None:
    """Naturals have 1, 1 and 4 copies in turn; every third one, in the order of opening, does not hit."""
    exchange = Exchange(
        naturals=9, repetitions=(1, 1, 4), in_place=5, behaviour=Behaviour(rank=lambda natural: 1 + (natural % 3 == 0))
    )
    evidence = exchange.evidence
    drawn = doses_in(evidence, "delivered", curve((0, "0.1")))
    assert [(dose.copies, dose.asked) for dose in drawn] == [(1, 6), (4, 3)]
    placed = doses_in(evidence, "delivered", curve((0, "0.1"), canaries="wordings"))
    assert [(dose.copies, dose.asked) for dose in placed] == [(1, 5)]
    assert sum(dose.hits for dose in (*drawn, *placed)) == 9
    second = doses_in(evidence, "delivered", curve((0, "0.1"), hit_rank=2))
    assert [dose.hits for dose in second] == [6, 3]
    assert doses_in(evidence, "served", curve((0, "0.1"))) == ()
    assert doses_in(evidence, "delivered", curve((0, "0.1"), candidates=8)) == ()


def test_scores_that_do_not_fit_are_refused() -> None:
    evidence = Exchange(naturals=2).evidence
    seen = evidence.observations[0]
    short = seen.naturals[0].model_copy(update={"base": ("-1.000000", "-2.000000")})
    odd = evidence.model_copy(update={"observations": (seen.model_copy(update={"naturals": (short,)}),)})
    with fails(MalformedDocumentError, cause="scores"):
        doses_in(odd, "delivered", curve((0, "0.1")))
