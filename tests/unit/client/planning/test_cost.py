"""The planner counts rows and leaves as sowing and committing do."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import pytest

from tests.support.plans import PLAN, RICH, sown_in_place, word_by_toy
from veritune.arbiter.documents.canary import NaturalCanary, TriggerCanary
from veritune.arbiter.measure.questions import make_questions
from veritune.client.job.canary_plan import CanaryPlan
from veritune.client.planning.cost import asked_of, calls, dataset_rows, extra_rows, extra_tokens_percent, leaves_of
from veritune.client.planning.outcome import PlanOutcome
from veritune.client.planning.wish import Wish
from veritune.client.sowing.commitment import commit
from veritune.common.documents.manifest import Policy

PLANS = [
    PLAN,
    PLAN.model_copy(update={"repetitions": (1, 1, 2)}),
    PLAN.model_copy(update={"in_place": 10, "wordings": 6}),
    PLAN.model_copy(update={"in_place": 5, "wordings": 6, "repetitions": (3, 1), "groups": 0}),
]


@pytest.fixture(autouse=True)
def _worded_by_a_toy(monkeypatch: pytest.MonkeyPatch) -> None:
    word_by_toy(monkeypatch)


@pytest.mark.parametrize("plan", PLANS)
def test_what_is_planned_is_what_is_sown(plan: CanaryPlan) -> None:
    result = sown_in_place(plan=plan)
    figures = PlanOutcome(Wish(rows=len(RICH), policy=Policy(coverage_floor="0"), base=plan), plan).figures()
    assert dataset_rows(len(RICH), plan) == figures.dataset_rows == len(result.train_rows)
    assert extra_rows(plan) == figures.extra_rows == result.extra_rows
    assert figures.canary_rows == result.canary_rows
    commitment = commit(result.canaries, b"s" * 32)
    assert leaves_of(plan) == figures.leaves == len(commitment.leaf_hashes)
    naturals = [c for c in result.canaries if isinstance(c, NaturalCanary)]
    asked = asked_of(plan)
    assert asked.groups == sum(isinstance(c, TriggerCanary) for c in result.canaries)
    assert asked.single + asked.in_place == sum(len(c.rows) == 1 for c in naturals)
    assert asked.naturals == len(naturals)
    assert figures.scored_candidates == sum(len(c.candidates) for c in naturals)


@pytest.mark.parametrize(("plan", "queries"), [(plan, queries) for plan in PLANS for queries in (1, 2)])
def test_calls_are_the_questions_of_a_challenge(plan: CanaryPlan, queries: int) -> None:
    result = sown_in_place(plan=plan)
    questions = make_questions(
        b"s" * 32,
        dict(enumerate(result.canaries)),
        dict(enumerate(result.train_rows)),
        result.decoys,
        queries,
        {document.digest: document for document in result.generators},
    )
    assert calls(plan, Policy(queries_per_group=queries)) == len(questions)


def test_every_session_asks_all_decoys() -> None:
    one, three = (calls(PLAN, Policy(sessions=sessions)) for sessions in (1, 3))
    assert three - one == 2 * PLAN.decoys


def percent(rows: int, plan: CanaryPlan, tokens: int) -> Fraction:
    return extra_tokens_percent(Wish(rows=rows, row_tokens=tokens), plan)


def test_extra_tokens_are_extra_rows_and_phrases() -> None:
    plan = CanaryPlan(groups=1, rows_per_group=10, signature_bits=50, trigger_words=8, held_out=100, naturals=7)
    assert percent(1100, plan, 100) == Fraction(100 * 10 * (100 + 20 + 12), 100 * 1000)
    chosen = plan.model_copy(update={"method": "choice"})
    assert percent(1100, chosen, 100) > percent(1100, plan, 100)
    copies = plan.model_copy(update={"repetitions": (1, 3)})
    assert percent(1100, copies, 100) - percent(1100, plan, 100) == Fraction(3 * 2 * 100 * 100, 100 * 1000)
    costs: Sequence[Fraction] = [percent(1100, plan, tokens) for tokens in (10, 100, 1000)]
    assert list(costs) == sorted(costs, reverse=True)
