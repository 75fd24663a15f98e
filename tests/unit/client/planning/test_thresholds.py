"""What the planner takes for a PASS or a FAIL, against the verdict itself, for every way that canaries can come out."""

from __future__ import annotations

from itertools import product
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.planned_looks import ROWS, look, terms
from veritune.arbiter.statistics import influence
from veritune.arbiter.statistics.influence import RankNull
from veritune.arbiter.verdict.judge import judge
from veritune.client.planning import thresholds as plan_rules
from veritune.client.planning.thresholds import AskedCounts, Thresholds
from veritune.common.documents.manifest import Policy

ASKED = AskedCounts(groups=3, single=7, repeated=2, in_place=4)


def planned(bars: Thresholds, found: int, single: int, repeated: int, placed: int) -> str:
    drawn, no_fail = single + repeated, bars.drawn_at_least(placed)
    if found < bars.found_at_least or drawn < no_fail:
        return "FAIL"
    covered = single + placed >= bars.single_at_least
    return "PASS" if covered and drawn >= bars.influencing(found, placed, no_fail) else "INCONCLUSIVE"


POLICIES = [
    {"alpha": "1e-6", "beta": "0.05", "coverage_floor": "0.3", "coverage_confidence": "0.9"},
    {"alpha": "1e-9", "beta": "0.01", "coverage_floor": "0"},
    {"alpha": "1e-4", "beta": "0.2", "coverage_floor": "0.2", "hit_rank": 2, "trigger_floor": "0.9"},
    {"alpha": "1e-5", "beta": "0.1", "coverage_floor": "0.3", "sessions": 2, "modes": ("delivered", "served")},
]


@pytest.mark.heavy
@pytest.mark.parametrize("policy", POLICIES)
def test_the_planner_passes_and_fails_what_the_verdict_does(policy: dict[str, Any]) -> None:
    rules = Policy(**{**policy, "modes": ("delivered",)})
    of = terms(rules)
    bars, seen = Thresholds(of, ASKED), set()
    for counts in product(*(range(n + 1) for n in (ASKED.groups, ASKED.single, ASKED.repeated, ASKED.in_place))):
        verdict = judge(rules, ROWS, [look(of, ASKED, *counts)]).verdict
        assert planned(bars, *counts) == verdict, counts
        seen.add(verdict)
    assert seen == {"PASS", "FAIL", "INCONCLUSIVE"}


@pytest.mark.heavy
@pytest.mark.parametrize("wordings", [12, 6])
def test_in_sequence_with_everything_asked_too(wordings: int) -> None:
    """Where luck differs the planner takes the largest, so that the verdict may pass more, and fails the same."""
    rules = Policy(alpha="1e-6", beta="0.05", coverage_floor="0.2", coverage_confidence="0.9", stopping="sequential")
    of = terms(rules, wordings=wordings)
    bars, seen = Thresholds(of, ASKED), set()
    for counts in product(*(range(n + 1) for n in (ASKED.groups, ASKED.single, ASKED.repeated, ASKED.in_place))):
        verdict, expected = judge(rules, ROWS, [look(of, ASKED, *counts)]).verdict, planned(bars, *counts)
        assert expected == verdict or (wordings == 6 and (expected, verdict) == ("INCONCLUSIVE", "PASS")), counts
        seen.add(expected)
    assert seen == {"PASS", "FAIL", "INCONCLUSIVE"}


@pytest.mark.parametrize("stopping", ["fixed", "sequential"])
@pytest.mark.parametrize(
    "asked", [AskedCounts(0, 9, 0, 0), AskedCounts(4, 0, 0, 0), AskedCounts(0, 0, 0, 9), AskedCounts(2, 0, 6, 0)]
)
def test_some_kinds_alone(asked: AskedCounts, stopping: Any) -> None:
    rules = Policy(alpha="1e-5", beta="0.1", coverage_floor="0", stopping=stopping)
    of = terms(rules)
    bars = Thresholds(of, asked)
    for counts in product(*(range(n + 1) for n in (asked.groups, asked.single, asked.repeated, asked.in_place))):
        assert planned(bars, *counts) == judge(rules, ROWS, [look(of, asked, *counts)]).verdict, counts


@given(st.integers(2, 20), st.integers(1, 12), st.integers(2, 20), st.integers(0, 12), st.integers(0, 400))
def test_the_quick_bound_of_the_rank_test_is_one(first: int, many: int, second: int, more: int, seen: int) -> None:
    kinds = {first: many, second: more} if first != second else {first: many + more}
    quick = plan_rules._chernoff(tuple(kinds.items()), seen)
    assert quick >= RankNull(kinds).at_least(seen)
    with patch.object(influence, "EXACT_BITS", 0):
        assert quick >= RankNull(kinds).at_least(seen)


def test_the_rough_form_asks_for_no_fewer_hits() -> None:
    of = terms(Policy(alpha="1e-9", coverage_floor="0"))
    exact, rough = Thresholds(of, ASKED), Thresholds(of, ASKED, rough=True)
    needed = [(bars.influencing(0, 0, 0), bars.influencing(1, 2, 0)) for bars in (exact, rough)]
    assert all(a <= b <= ASKED.drawn + 1 for a, b in zip(*needed, strict=True))
    assert needed[0] != (0, 0)
