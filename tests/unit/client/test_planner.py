"""The planner's promises, checked by running the verdict itself."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from veritune.client import planner
from veritune.client.canary_plan import CanaryPlan
from veritune.client.influence import Group, Ranked
from veritune.client.planner import Planned, Wish, plan
from veritune.client.verdict import GroupLook, Look, judge
from veritune.common.documents import Policy
from veritune.common.errors import PlanError

WISH = Wish(rows=2000, natural_hit="0.9")


def test_a_plan_keeps_its_promises_when_the_verdict_is_run() -> None:
    planned = plan(WISH)
    draw, runs, passed, failed = random.Random(2), 200, 0, 0
    for _ in range(runs):
        passed += verdict(planned, draw, activation=0.9, hit=0.9) == "PASS"
        failed += verdict(planned, draw, activation=0, hit=1 / 16) == "FAIL"
    assert Fraction(planned.figures.honest_pass) >= Fraction("0.99")
    assert passed / runs > 0.96
    assert failed / runs > 0.96


def verdict(planned: Planned, draw: random.Random, activation: float, hit: float) -> str:
    canaries = planned.plan
    groups = [Group(2, canaries.signature_bits, 200, draw.random() < activation) for _ in range(canaries.groups)]
    ranks = [1 if draw.random() < hit else 9 for _ in range(canaries.naturals)]
    look = Look(
        "delivered",
        tuple(GroupLook(group, 0, 0, 0, True) for group in groups),
        tuple(Ranked(rank, canaries.candidates) for rank in ranks),
        decoys_asked=0,
        decoys_shown=0,
        missing=0,
    )
    return judge(WISH.policy, planned.figures.dataset_rows, [look]).verdict


def test_figures_follow_from_the_plan() -> None:
    planned = plan(WISH)
    canaries, figures = planned.plan, planned.figures
    assert figures.dataset_rows == 2000 - canaries.held_out + canaries.groups * canaries.rows_per_group
    assert figures.canary_rows == canaries.groups * canaries.rows_per_group + canaries.naturals
    assert figures.extra_rows == 32
    assert figures.leaves > canaries.groups + canaries.naturals
    assert figures.leaves & (figures.leaves - 1) == 0
    assert figures.calls == 4 * (2 + 8) + canaries.decoys + canaries.naturals
    assert Fraction(figures.log10_p_all) < -40


def test_asking_for_more_takes_more() -> None:
    less = plan(WISH).plan.naturals
    assert plan(replace(WISH, policy=Policy(coverage_floor="0.7"))).plan.naturals > less
    assert plan(replace(WISH, refusal="0.0001")).plan.naturals >= less


def test_triggers_alone_and_ranks_alone_can_do() -> None:
    alone = plan(replace(WISH, base=CanaryPlan(groups=0)))
    assert alone.figures.extra_rows == 0
    no_rank = replace(
        WISH,
        policy=Policy(coverage_floor="0", beta="1e-3"),
        base=CanaryPlan(groups=16, rows_per_group=5),
    )
    assert plan(no_rank).plan.naturals == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rows": 300}, "use at least"),
        ({"rows": 10}, "held out"),
        ({"natural_hit": "0.55", "policy": Policy(coverage_floor="0.6")}, "no more than 0.5200"),
        ({"natural_hit": "0.5", "policy": Policy(coverage_floor="0"), "refusal": "1e-9"}, "at best"),
        ({"policy": Policy(sessions=2)}, "one session"),
        ({"policy": Policy(modes=("served",))}, "never passes"),
        ({"policy": Policy(queries_per_group=3)}, "queries_per_group"),
        ({"policy": Policy(hit_rank=16)}, "more candidates"),
    ],
)
def test_what_can_not_be_reached_is_refused_with_what_would_be_needed(
    changes: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner, "MOST_NATURALS", 200)
    with pytest.raises(PlanError, match=words) as refused:
        plan(replace(WISH, **changes))
    assert refused.value.reason == "UNREACHABLE_PLAN"


def test_the_number_of_rows_it_asks_for_is_enough() -> None:
    with pytest.raises(PlanError) as refused:
        plan(replace(WISH, rows=300))
    rows = int(refused.value.message.split("use at least ")[1].split()[0])
    assert plan(replace(WISH, rows=rows + 50)).plan.naturals >= int(refused.value.metadata["naturals"])
