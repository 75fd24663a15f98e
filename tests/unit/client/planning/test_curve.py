"""The power curve against a seeded simulation of the verdict, and what is drawn of it."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from veritune.arbiter.statistics import influence
from veritune.arbiter.statistics.influence import GroupResult, Ranked, RankNull
from veritune.arbiter.verdict.judge import judge
from veritune.arbiter.verdict.look import GroupLook, Look
from veritune.client.job.canary_plan import CanaryPlan
from veritune.client.planning.curve import Point, PowerCurve, power_curve
from veritune.client.planning.curve_chart import draw
from veritune.client.planning.outcome import PlanOutcome
from veritune.client.planning.wish import Planned, Wish
from veritune.common.documents.manifest import Policy

WISH = Wish(rows=600, policy=Policy(beta="0.01", alpha="1e-10", coverage_floor="0.3"), natural_hit="0.9")
PLAN = CanaryPlan(groups=3, naturals=20, candidates=12, in_place=8, wordings=6, repetitions=(1, 1, 1, 2))


@pytest.fixture(autouse=True)
def _nulls_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The distribution under H0 depends on the contract alone; a simulation needs it once."""
    once = lru_cache(maxsize=64)(lambda kinds: RankNull(dict(kinds)))
    monkeypatch.setattr(influence, "RankNull", lambda canaries: once(tuple(sorted(canaries.items()))))


def contract_of(wish: Wish = WISH) -> Planned:
    contract = PlanOutcome(wish, PLAN)
    return Planned(contract.plan, contract.policy, contract.figures())


def simulated(planned: Planned, share: float, runs: int, seed: int) -> tuple[float, float]:
    """Providers that trained on each row with probability ``share``."""
    random_, rows, verdicts = random.Random(seed), planned.figures.dataset_rows, []
    for _ in range(runs):
        groups = [
            GroupLook(GroupResult(2, 64, 150, random_.random() < share * 0.9 * 0.99), 0, 0, 0, True)
            for _ in range(PLAN.groups)
        ]
        naturals = []
        for number in range(PLAN.naturals + PLAN.in_place):
            placed = number >= PLAN.naturals
            candidates, copies = (6, 1) if placed else (12, PLAN.repetitions[number % 4])
            # One that was trained on hits with 0.9; the rank of any other is uniform.
            kept, hit = random_.random() < share, random_.random() < 0.9
            rank = (1 if hit else random_.randint(2, candidates)) if kept else random_.randint(1, candidates)
            naturals.append(Ranked(rank, candidates, copies))
        verdicts.append(
            judge(planned.policy, rows, [Look("delivered", tuple(groups), tuple(naturals), 0, 0, 0)]).verdict
        )
    return verdicts.count("PASS") / runs, verdicts.count("FAIL") / runs


@pytest.mark.heavy
@pytest.mark.parametrize("stopping", ["fixed", "sequential"])
def test_the_curve_is_what_happens(stopping: str) -> None:
    wish = replace(WISH, policy=WISH.policy.model_copy(update={"stopping": stopping}))
    planned = contract_of(wish)
    points = {point.at: point for point in power_curve(wish, planned, 20).by_share}
    undecided = []
    for share in ("0.00", "0.30", "0.60", "0.75", "1.00"):
        passes, fails = simulated(planned, float(share), 250, seed=8)
        point = points[share]
        assert passes >= float(point.passes) - 0.09, share
        assert fails == pytest.approx(float(point.fails), abs=0.09), share
        if stopping == "fixed":
            assert passes == pytest.approx(float(point.passes), abs=0.09), share
        undecided.append(float(point.undecided))
    assert max(undecided) > 0.3


def test_its_ends_are_the_figures() -> None:
    planned = contract_of()
    curve = power_curve(WISH, planned)
    assert curve.by_share[-1].passes == planned.figures.honest_pass
    assert curve.by_share[0].fails == planned.figures.untrained_fail
    honest = next(point for point in curve.by_hit if point.at == "0.90")
    assert honest.passes == planned.figures.honest_pass


def test_probabilities_add_up_and_grow_with_the_share_and_the_hit_rate() -> None:
    curve = power_curve(WISH, contract_of(), 10)
    for points in (curve.by_share, curve.by_hit):
        assert [point.at for point in points] == [f"{n / 10:.2f}" for n in range(11)]
        for point in points:
            assert Fraction(point.passes) + Fraction(point.fails) + Fraction(point.undecided) == 1
        for worse, better in pairwise(points):
            assert Fraction(worse.passes) <= Fraction(better.passes)
            assert Fraction(worse.fails) >= Fraction(better.fails)


def test_the_picture_shows_every_point() -> None:
    points = (Point("0.00", "0", "1", "0"), Point("0.50", "0.25", "0.25", "0.5"), Point("1.00", "1", "0", "0"))
    root = ElementTree.fromstring(draw(PowerCurve(points, points)))  # noqa: S314 -- our own text
    lines = [item.get("points") for item in root.iter("{http://www.w3.org/2000/svg}polyline")]
    passes, fails = "0.0,200.0 150.0,150.0 300.0,0.0", "0.0,0.0 150.0,150.0 300.0,200.0"
    undecided = "0.0,200.0 150.0,100.0 300.0,200.0"
    assert lines == [passes, fails, undecided] * 2
    words = " ".join(item.text or "" for item in root.iter())
    for word in ("PASS", "FAIL", "INCONCLUSIVE", "share of the rows", "hit rate"):
        assert word in words
