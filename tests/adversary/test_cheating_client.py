"""A client that cheats and signs whatever it likes: the audit names the check that finds it, and gaps never slash."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.adversary.cheats import CHEATS
from tests.adversary.forging import honest
from tests.support.errors import fails
from tests.support.exchange import UNTRAINED, Exchange, small
from veritune.arbiter.audit.audit import audit
from veritune.arbiter.documents.evidence import Evidence, Observations
from veritune.common.errors import AuditError


@pytest.fixture(scope="module")
def exchange() -> Exchange:
    return small()


def test_the_honest_exchange_passes(exchange: Exchange) -> None:
    assert audit(*honest(exchange), *exchange.keys).verdict == "PASS"


@pytest.mark.parametrize("name", CHEATS)
def test_the_audit_finds_the_cheat(name: str, exchange: Exchange) -> None:
    cheat = CHEATS[name]
    with pytest.raises(AuditError) as found:
        audit(*cheat.make(exchange), *exchange.keys)
    assert found.value.check == cheat.check, found.value.message
    assert found.value.metadata == {"check": str(cheat.check), "party": "client"}


def test_every_check_has_its_cheat() -> None:
    assert {cheat.check for cheat in CHEATS.values()} == set(range(1, 17))


def drop(evidence: Evidence, **kept: Any) -> Evidence:
    """The bundle with fewer answers in its first way of looking."""
    first: Observations = evidence.observations[0].model_copy(update=kept)
    return evidence.model_copy(update={"observations": (first, *evidence.observations[1:])})


def big(**changes: Any) -> Exchange:
    return replace(Exchange(naturals=40, leaves=64, leaves_per_session=64), **changes)


@pytest.mark.parametrize("what", ["triggers", "naturals", "in data"])
@pytest.mark.parametrize("behaviour", [{}, {"behaviour": UNTRAINED}])
def test_an_answer_left_out_slashes_nobody(what: str, behaviour: dict[str, Any]) -> None:
    """Picking only the challenges that failed, or dropping those that did: no PASS and no FAIL, but a report of it."""
    whole = big(**behaviour)
    observations = whole.evidence.observations[0]
    if what == "in data":
        (first, *_) = (item for item in observations.triggers if not item.held_out)
        bundle = drop(whole.evidence, triggers=tuple(item for item in observations.triggers if item != first))
    else:
        bundle = drop(whole.evidence, **{what: getattr(observations, what)[1:]})
    report = whole.report_on(bundle)
    result = audit(report.report.to_json(), bundle.to_bytes(), *whole.keys)
    assert result.verdict == "INCONCLUSIVE"
    assert "ANSWERS_MISSING" in {reason.code for reason in result.judgement.reasons}


def test_answers_cut_before_the_signature_could_end_slash_nobody() -> None:
    """A client that allows one token sees no signature, and learns nothing that way."""
    whole = big()
    observations = whole.evidence.observations[0]
    cut = tuple(item.model_copy(update={"answer": " ", "finish_reason": "length"}) for item in observations.triggers)
    bundle = drop(whole.evidence, triggers=cut)
    result = audit(whole.report_on(bundle).report.to_json(), bundle.to_bytes(), *whole.keys)
    assert result.verdict == "INCONCLUSIVE"


def test_a_session_can_not_be_repeated_with_other_canaries() -> None:
    """Both sessions of a contract open leaves of their own; neither can be passed off as the other."""
    policy = Exchange().policy.model_copy(update={"sessions": 2})
    first = Exchange(policy=policy, leaves_per_session=16)
    second = first.but(session=2)
    assert not set(first.opened_leaves) & set(second.opened_leaves)
    for session in (first, second):
        audit(*honest(session), *session.keys)
    relabelled = second.having(opened_leaves=first.opened_leaves)
    with pytest.raises(AuditError) as found:
        audit(*honest(relabelled), *relabelled.keys)
    assert found.value.check == 9
    with pytest.raises(AuditError) as found:
        audit(*honest(first.but(session=3, leaves_per_session=8)), *first.keys)
    assert found.value.check == 9


def test_one_key_for_both_parties_is_refused() -> None:
    exchange = small()
    with fails(AuditError, match="one and the same key", check="4"):
        audit(*honest(exchange), exchange.client.public, exchange.client.public)
