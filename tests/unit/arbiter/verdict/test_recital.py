"""Recitals: what counts as one, the two thresholds of equations (15) and (16), and what a report says of them."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest
from pydantic import ValidationError

from tests.support.errors import fails
from tests.support.exchange import Exchange
from tests.support.looks import ROWS, codes, look, verdict
from veritune.arbiter.audit.audit import audit
from veritune.arbiter.report import RECITAL_ASSUMPTION
from veritune.arbiter.statistics.exact import binomial_at_most
from veritune.arbiter.verdict.judge import judge
from veritune.arbiter.verdict.look import Look
from veritune.arbiter.verdict.recital import is_recited, weigh
from veritune.arbiter.verdict.rules import Rules
from veritune.common.documents.manifest import Policy
from veritune.common.errors import MalformedDocumentError

ASKED = Policy(recital_floor="0.8")
RULES = Rules.of(ASKED)


def recited(count: int, of: int = 40) -> Look:
    return replace(look(), recited=tuple(index < count for index in range(of)))


@pytest.mark.parametrize(
    ("log_probability", "nats", "yes"),
    [
        ("-5.000000", "5", True),
        ("-5.000001", "5", False),
        ("-0.000000", "0", True),
        ("-0.000001", "0", False),
        ("-0.500000", "0.5", True),
        ("-12345.678901", "12345.678901", True),
        ("-12345.678902", "12345.678901", False),
    ],
)
def test_a_recital_is_a_probability_of_at_least_e_to_minus_the_nats(log_probability: str, nats: str, yes: bool) -> None:
    assert is_recited(log_probability, nats) is yes


def test_without_a_floor_nothing_is_weighed() -> None:
    assert weigh(Rules.of(Policy()), [True] * 40) is None
    judgement = judge(Policy(), ROWS, [recited(0)])
    assert judgement.verdict == "PASS"
    assert judgement.modes[0].recital is None


def test_the_thresholds_are_the_exact_tails() -> None:
    """As the count falls: shown while an honest run shows so few in more than one case of a hundred, then undecided,
    and failed where it does so with a probability of at most a third of beta."""
    outcomes = []
    for count in range(41):
        found = weigh(RULES, [index < count for index in range(40)])
        assert found is not None
        tail = binomial_at_most(40, Fraction(4, 5), count)
        expected = "failed" if tail <= Fraction(1, 3_000_000) else "undecided" if tail <= Fraction(1, 100) else "shown"
        assert found.outcome == expected
        outcomes.append(found.outcome)
    changes = [(count, after) for count, (before, after) in enumerate(pairwise(outcomes), 1) if before != after]
    assert [after for _, after in changes] == ["undecided", "shown"]


def test_the_verdict_follows() -> None:
    assert (verdict(ASKED, recited(40)), codes(ASKED, recited(40))) == (
        "PASS",
        {"INFLUENCE_SHOWN", "COVERAGE_SHOWN", "RECITAL_SHOWN"},
    )
    assert verdict(ASKED, recited(24)) == "INCONCLUSIVE"
    assert "RECITAL_NOT_SHOWN" in codes(ASKED, recited(24))
    assert (verdict(ASKED, recited(10)), codes(ASKED, recited(10))) == ("FAIL", {"TOO_FEW_RECITED"})


def test_reasons_stand_beside_each_other() -> None:
    poor = replace(look(found=0, hits=3), recited=(False,) * 40)
    assert codes(ASKED, poor) == {"TOO_FEW_HITS", "TOO_FEW_RECITED"}
    assert verdict(ASKED, replace(recited(40), missing=1)) == "INCONCLUSIVE"


def test_none_asked_is_none_shown() -> None:
    seen = replace(look(naturals=0, hits=0), recited=())
    policy = ASKED.model_copy(update={"coverage_floor": "0"})
    assert verdict(policy, seen) == "INCONCLUSIVE"
    assert "RECITAL_NOT_SHOWN" in codes(policy, seen)


def test_beta_is_shared_with_the_new_test() -> None:
    assert Rules.of(Policy()).beta == Fraction(1, 2_000_000)
    assert RULES.beta == Fraction(1, 3_000_000)
    both = Policy(
        recital_floor="0.8", modes=("delivered", "served"), served_assumption="decoys-unrecognised", sessions=2
    )
    assert Rules.of(both).beta == Fraction(1, 14_000_000)


def test_recitals_need_fixed_stopping() -> None:
    with fails(MalformedDocumentError, field="recital_floor"):
        Rules.of(Policy(recital_floor="0.8", stopping="sequential"))
    Rules.of(Policy(recital_floor="0.0", stopping="sequential"))


@pytest.mark.parametrize("text", ["-1", "1e3", "05", "1.1234567", "100000", ""])
def test_odd_nats_are_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        Policy(recital_nats=text)


@pytest.mark.parametrize(("nats", "expected"), [("40", "PASS"), ("9", "INCONCLUSIVE"), ("4", "FAIL")])
def test_a_report_counts_them_and_an_audit_counts_again(nats: str, expected: str) -> None:
    """The stand-in's answers have -5 nats and less, by where the true one stands among the candidates."""
    policy = Policy(coverage_floor="0.25", recital_floor="0.5", recital_nats=nats)
    exchange = Exchange(policy=policy)
    assert exchange.report.statement.predicate.judgement.verdict == expected
    assert RECITAL_ASSUMPTION in exchange.report.statement.predicate.assumptions
    assert audit(exchange.report_bytes, exchange.evidence_bytes, *exchange.keys).verdict == expected
