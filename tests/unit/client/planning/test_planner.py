"""The planner's promises, checked by running the verdict itself."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

import pytest

from tests.support.errors import fails
from veritune.arbiter.statistics import influence
from veritune.arbiter.statistics.influence import GroupResult, Ranked, RankNull
from veritune.arbiter.verdict.judge import judge
from veritune.arbiter.verdict.look import GroupLook, Look
from veritune.client.job.canary_plan import CanaryPlan
from veritune.client.planning import planner
from veritune.client.planning.outcome import PlanOutcome
from veritune.client.planning.planner import Planned, Wish, plan
from veritune.client.planning.wish import CHOSEN
from veritune.common.documents.manifest import Policy
from veritune.common.errors import PlanError


def half(**changes: Any) -> Policy:
    """The default policy, but for half of the rows: within reach of plans that a test can try out."""
    return Policy(**{"coverage_floor": "0.5", **changes})


WISH = Wish(rows=2000, natural_hit="0.9", policy=half())
Leaf = GroupLook | Ranked | None


@pytest.fixture(autouse=True)
def _nulls_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The distribution under H0 depends on the contract alone; a simulation needs it once."""
    once = lru_cache(maxsize=64)(lambda kinds: RankNull(dict(kinds)))
    monkeypatch.setattr(influence, "RankNull", lambda canaries: once(tuple(sorted(canaries.items()))))


class Provider:
    """Draws how each canary of a plan comes out; every miss has a random rank beyond the hits."""

    def __init__(self, planned: Planned, seed: int) -> None:
        self.planned, self.draw = planned, random.Random(seed)
        self.judged_by = planned.policy

    def leaves(self, found: float, drawn: float, placed: float = 0) -> list[Leaf]:
        """In the order of the challenge, padding among them."""
        canaries, draw = self.planned.plan, self.draw
        leaves: list[Leaf] = [
            GroupLook(
                GroupResult(canaries.queries_per_group, canaries.signature_bits, 150, draw.random() < found),
                0,
                0,
                0,
                True,
            )
            for _ in range(canaries.groups)
        ]
        for number in range(canaries.naturals):
            copies = canaries.repetitions[number % len(canaries.repetitions)]
            leaves.append(Ranked(self._rank(drawn, canaries.candidates), canaries.candidates, copies))
        leaves += [Ranked(self._rank(placed, canaries.wordings), canaries.wordings) for _ in range(canaries.in_place)]
        leaves += [None] * (self.planned.figures.leaves - len(leaves))
        draw.shuffle(leaves)
        return leaves

    def verdict(self, leaves: list[Leaf]) -> str:
        """Of just these."""
        groups = tuple(leaf for leaf in leaves if isinstance(leaf, GroupLook))
        naturals = tuple(leaf for leaf in leaves if isinstance(leaf, Ranked))
        look = Look("delivered", groups, naturals, 0, 0, 0)
        return judge(self.judged_by, self.planned.figures.dataset_rows, [look]).verdict

    def _rank(self, hit: float, candidates: int) -> int:
        worst = self.judged_by.hit_rank
        return self.draw.randint(1, worst) if self.draw.random() < hit else self.draw.randint(worst + 1, candidates)


def rates(planned: Planned, runs: int, honest: tuple[float, float, float], session: int | None = None) -> list[float]:
    """How often honest runs pass, and the untouched base model fails."""
    provider, canaries = Provider(planned, 5), planned.plan
    luck = (0.0, 1 / canaries.candidates, 1 / canaries.wordings)
    size = planned.figures.leaves if session is None else -(-planned.figures.leaves // planned.policy.sessions)
    start = 0 if session is None else (session - 1) * size
    seen = []
    for chances, wanted in ((honest, "PASS"), (luck, "FAIL")):
        took = [provider.verdict(provider.leaves(*chances)[start : start + size]) == wanted for _ in range(runs)]
        seen.append(sum(took) / runs)
    return seen


def test_a_plan_keeps_its_promises_when_the_verdict_is_run() -> None:
    planned = plan(WISH)
    assert Fraction(planned.figures.honest_pass) >= Fraction("0.99")
    assert Fraction(planned.figures.untrained_fail) >= Fraction("0.99")
    assert min(rates(planned, 150, (0.81, 0.9, 0))) > 0.96


@pytest.mark.heavy
@pytest.mark.parametrize(
    "wish",
    [
        replace(WISH, refusal="0.3", escape="0.3"),
        replace(WISH, refusal="0.3", escape="0.3", natural_hit="0.75", policy=half(beta="0.1")),
    ],
)
def test_the_promise_is_about_what_happens(wish: Wish) -> None:
    """With aims that are not nearly certain a simulation can tell a promise from a wish."""
    planned = plan(wish)
    promised = [float(planned.figures.honest_pass), float(planned.figures.untrained_fail)]
    assert 0.7 <= min(promised) < 0.75
    seen = rates(planned, 250, (0.81, float(wish.natural_hit), 0))
    assert seen == pytest.approx(promised, abs=0.08)


@pytest.mark.heavy
@pytest.mark.parametrize("session", [1, 3])
def test_each_of_several_sessions_keeps_them(session: int) -> None:
    wish = replace(WISH, rows=6000, policy=half(sessions=3))
    planned = plan(wish)
    assert planned.plan.naturals > 2 * plan(WISH).plan.naturals
    assert min(rates(planned, 60, (0.81, 0.9, 0), session)) > 0.94


def test_sessions_cost_more_than_their_number_of_single_ones() -> None:
    """Because how many canaries one of them gets is random, and alpha and beta are shared."""
    one, two = (plan(replace(WISH, rows=6000, policy=half(sessions=n))).plan.naturals for n in (1, 2))
    assert two > 2 * one


def test_a_challenge_in_sequence_keeps_them_wherever_it_stops() -> None:
    planned = plan(replace(WISH, policy=half(stopping="sequential")))
    assert planned.plan.naturals > plan(WISH).plan.naturals
    provider, ends = Provider(planned, 6), []
    for chances, wanted in (((0.81, 0.9), "PASS"), ((0.0, 1 / 16), "FAIL")):
        for _ in range(30):
            leaves = provider.leaves(*chances)
            looks = (provider.verdict(leaves[: n + 8]) for n in range(0, len(leaves), 8))
            ends.append(next((verdict for verdict in looks if verdict != "INCONCLUSIVE"), "") == wanted)
    assert sum(ends) >= 58


def test_in_sequence_the_promise_leaves_room_for_the_other_verdict_coming_first() -> None:
    policy = half(stopping="sequential", alpha="0.01", beta="0.02")
    contract = PlanOutcome(replace(WISH, policy=policy), CanaryPlan(groups=2, naturals=60, queries_per_group=1))
    odds = contract.odds()
    honest, untrained = odds.outcome(contract._honest).passes, odds.outcome(contract._untrained).fails
    assert contract.honest_pass(odds) == honest - Fraction("0.02")
    assert contract.untrained_fail(odds) == untrained - Fraction("0.01")


@pytest.mark.heavy
def test_canaries_in_place_save_others() -> None:
    base = CanaryPlan(in_place=60, wordings=8)
    planned = plan(replace(WISH, base=base, in_place_hit="0.8"))
    assert planned.plan.in_place == 60
    assert planned.plan.naturals < plan(WISH).plan.naturals
    assert min(rates(planned, 40, (0.81, 0.9, 0.8))) > 0.92
    # Of little use to one that is seldom learnt: they may even cost more than they bring.
    poor = plan(replace(WISH, base=base, in_place_hit="0.55", policy=half(natural_floor="0.4")))
    good = plan(replace(WISH, base=base, in_place_hit="0.95", policy=half(natural_floor="0.4")))
    assert poor.plan.naturals > good.plan.naturals


def test_only_canaries_of_one_row_cover() -> None:
    once = plan(WISH).plan.naturals
    planned = plan(replace(WISH, base=CanaryPlan(repetitions=(1, 1, 2, 4))))
    canaries, figures = planned.plan, planned.figures
    copies = [(1, 1, 2, 4)[n % 4] for n in range(canaries.naturals)]
    assert canaries.naturals > once
    assert figures.extra_rows == 16 + sum(copies) - len(copies)
    assert figures.canary_rows == 16 + sum(copies)
    assert min(rates(planned, 60, (0.81, 0.9, 0))) > 0.94


def test_figures_follow_from_the_plan() -> None:
    planned = plan(WISH)
    canaries, figures = planned.plan, planned.figures
    assert (canaries.groups, canaries.rows_per_group, canaries.signature_bits) == (2, 8, 32)
    assert canaries.queries_per_group == planned.policy.queries_per_group == 1
    assert figures.dataset_rows == 2000 - canaries.held_out + 16
    assert figures.canary_rows == 16 + canaries.naturals
    assert figures.extra_rows == 16
    assert figures.leaves > canaries.groups + canaries.naturals
    assert figures.leaves & (figures.leaves - 1) == 0
    assert figures.calls == 2 * (1 + 1) + canaries.decoys + canaries.naturals
    assert figures.scored_candidates == canaries.naturals * canaries.candidates
    assert Fraction(figures.log10_p_all) < -40
    # 16 rows of 128 tokens, with 32 / 2.5 tokens of a signature and eight words of 1.5 in each.
    assert figures.estimated_extra_tokens_percent == f"{100 * 16 * (128 + 12.8 + 12) / (128 * 1936):.2f}"


def test_asking_for_more_takes_more() -> None:
    less = plan(WISH).plan.naturals
    assert plan(replace(WISH, policy=Policy(coverage_floor="0.7"))).plan.naturals > less
    assert plan(replace(WISH, refusal="0.0001")).plan.naturals >= less


def test_more_groups_and_bits_are_taken_where_ranks_can_not_do_it() -> None:
    """No coverage is asked for and there is room for few natural canaries: triggers must show influence."""
    wish = replace(WISH, policy=Policy(coverage_floor="0", alpha="1e-60"), canary_share="0.045")
    planned = plan(wish)
    canaries = planned.plan
    assert canaries.groups > 2 or canaries.signature_bits > 32
    assert canaries.groups * 8 + canaries.naturals <= 0.045 * planned.figures.dataset_rows
    assert Fraction(planned.figures.honest_pass) >= Fraction("0.99")
    assert min(rates(planned, 60, (0.9 * (1 - 0.1**canaries.queries_per_group), 0.9, 0))) > 0.94


def test_nothing_cheaper_on_the_grid_would_do() -> None:
    planned = plan(WISH)
    for naturals in range(0, planned.plan.naturals, 2):
        contract = PlanOutcome(WISH, planned.plan.model_copy(update={"naturals": naturals}))
        odds = contract.odds()
        enough = contract.honest_pass(odds) >= Fraction("0.99") and contract.untrained_fail(odds) >= Fraction("0.99")
        assert not enough, naturals


def test_fewer_candidates_are_scored_where_they_do_as_well() -> None:
    wide = replace(WISH, base=CanaryPlan(candidates=20), natural_hit="0.8")
    planned = plan(wide)
    assert planned.plan.candidates == 16
    kept = plan(replace(wide, fixed=frozenset({"candidates"})))
    assert kept.plan.candidates == 20
    assert kept.plan.naturals == planned.plan.naturals


def test_what_is_fixed_stays() -> None:
    base = CanaryPlan(groups=5, rows_per_group=6, signature_bits=70, queries_per_group=3, candidates=20, naturals=90)
    planned = plan(replace(WISH, base=base, fixed=frozenset(CHOSEN)))
    assert planned.plan == base
    assert planned.policy.queries_per_group == 3
    with pytest.raises(PlanError, match="number kept is not enough"):
        plan(replace(WISH, base=base.model_copy(update={"naturals": 10}), fixed=frozenset(CHOSEN)))
    with fails(PlanError, setting="in_place"):
        plan(replace(WISH, fixed=frozenset({"in_place"})))


def test_triggers_alone_and_ranks_alone_can_do() -> None:
    alone = plan(replace(WISH, base=CanaryPlan(groups=0)))
    assert alone.figures.extra_rows == 0
    assert alone.figures.estimated_extra_tokens_percent == "0.00"
    no_rank = replace(
        WISH,
        policy=Policy(coverage_floor="0", beta="1e-3"),
        base=CanaryPlan(groups=16, rows_per_group=5),
        fixed=frozenset({"groups", "rows_per_group"}),
    )
    assert plan(no_rank).plan.naturals == 0


COMPARED = half(modes=("delivered", "served"), served_assumption="decoys-unrecognised")


def test_an_endpoint_is_compared_with_the_adapter_where_there_are_decoys_enough() -> None:
    found = plan(replace(WISH, policy=COMPARED, base=CanaryPlan(decoys=13)))
    assert found.policy.served_assumption == "decoys-unrecognised"
    assert found.plan.decoys == 13


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rows": 300}, "use at least"),
        ({"rows": 10}, "held out"),
        ({"natural_hit": "0.55", "policy": Policy(coverage_floor="0.6")}, "no more than 0.5200"),
        ({"natural_hit": "0.5", "policy": Policy(coverage_floor="0"), "refusal": "1e-9"}, "at best"),
        ({"policy": half(modes=("served",))}, "never passes"),
        ({"policy": COMPARED, "base": CanaryPlan(decoys=12)}, "raise canaries.decoys to 13"),
        ({"policy": COMPARED.model_copy(update={"stopping": "sequential"})}, "raise canaries.decoys to [0-9]+"),
        ({"policy": half(queries_per_group=3)}, "raise canaries.queries_per_group"),
        ({"policy": half(group_rows=9)}, "policy.group_rows asks for; lower it to 8"),
        ({"policy": half(hit_rank=16)}, "raise canaries.candidates"),
        ({"policy": half(hit_rank=9), "base": CanaryPlan(in_place=4, wordings=9)}, "raise canaries.wordings"),
        ({"policy": half(natural_floor="0.05")}, "or policy.beta"),
        ({"policy": half(alpha="1e-900")}, "at 10\\^-[0-9.]+ at best"),
        ({"base": CanaryPlan(held_out=9)}, "raise canaries.held_out to 10"),
        ({"canary_share": "0"}, "canary_share of 0"),
        ({"row_tokens": 0}, "one token"),
        ({"policy": half(modes=("delivered", "delivered"))}, "a mode twice"),
        (
            {"policy": half(stopping="sequential", natural_floor="0.95")},
            "--natural-hit is .* below policy.natural_floor = 0",
        ),
        (
            {"policy": half(stopping="sequential", trigger_floor="0.95")},
            "--activation is .* below policy.trigger_floor = 0",
        ),
    ],
)
def test_what_can_not_be_reached_is_refused_with_what_would_be_needed(
    changes: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner, "MOST_NATURALS", {"fixed": 200, "sequential": 200})
    monkeypatch.setattr(planner, "GROUPS", (2, 4))
    with fails(PlanError, match=words):
        plan(replace(WISH, **changes))


@pytest.mark.parametrize("policy", [half(), half(sessions=2), half(stopping="sequential")])
def test_the_number_of_rows_it_asks_for_is_enough(policy: Policy) -> None:
    wish = replace(WISH, policy=policy)
    with pytest.raises(PlanError) as refused:
        plan(replace(wish, rows=100))
    rows = int(refused.value.message.split("use at least ")[1].split()[0])
    assert plan(replace(wish, rows=rows)).plan.naturals == int(refused.value.metadata["naturals"])
    with pytest.raises(PlanError):
        plan(replace(wish, rows=rows - 1))
