"""Forms of canaries and evidence that the exchange alone does not reach."""

from __future__ import annotations

import pytest

from tests.support.canaries import parse_canary
from tests.support.errors import fails
from tests.support.exchange import Exchange, small
from tests.support.sowing import REWORDING
from veritune.arbiter.documents.canary import (
    Canary,
    Generator,
    NaturalCanary,
    PaddingCanary,
    Rewording,
    TriggerCanary,
    canary_leaf,
)
from veritune.arbiter.documents.evidence import Evidence, NaturalObservation, envelopes
from veritune.arbiter.selection import session_leaves
from veritune.arbiter.verdict.look import look_at
from veritune.common.canonical import canonical_bytes
from veritune.common.errors import MalformedDocumentError

EXCHANGE = small()


def test_canaries_come_back_from_their_bytes() -> None:
    for canary in EXCHANGE.canaries:
        assert parse_canary(canary.to_bytes()) == canary
    assert {type(canary) for canary in EXCHANGE.canaries} == {TriggerCanary, NaturalCanary, PaddingCanary}


@pytest.mark.parametrize("data", [b'{"kind":"other"}', b'{"kind": "padding"}', b"[]", b'{"extra":1,"kind":"padding"}'])
def test_what_is_no_canary_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedDocumentError):
        parse_canary(data)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_salt_has_one_length(size: int) -> None:
    with fails(MalformedDocumentError, cause="salt"):
        canary_leaf(b"\x00" * size, PaddingCanary())


def test_sessions_count_from_one() -> None:
    with pytest.raises(ValueError, match="count from 1"):
        session_leaves([0, 1], 0, EXCHANGE.manifest.verification)


def test_every_envelope_of_a_bundle_is_named() -> None:
    names = [name for name, _ in envelopes(EXCHANGE.evidence)]
    assert names[:3] == ["manifest", "dataset receipt", "training receipt"]
    assert names[3] == "inference receipt 1"
    assert len(set(names)) == len(names)


def test_a_bundle_comes_back_from_its_bytes() -> None:
    data = EXCHANGE.evidence_bytes
    assert Evidence.from_bytes(data) == EXCHANGE.evidence
    assert {type(item) for item in EXCHANGE.evidence.generators} == {Generator, Rewording}


@pytest.mark.parametrize("text", ["-1", "-1.5", "-1.0000000", "1e5", "nan", "-inf", "01.000000", "--1.000000"])
def test_log_probabilities_have_one_form(text: str) -> None:
    value = {"leaf": 1, "tuned": [text, "-1.000000"], "base": ["-1.000000", "-1.000000"], "asked": None}
    with pytest.raises(MalformedDocumentError):
        NaturalObservation.from_bytes(canonical_bytes(value))


def test_answers_that_fit_no_opened_canary_give_no_judgement() -> None:
    """Also before the audit: a client that builds a bundle wrongly learns it at once."""
    terms, observations = EXCHANGE.manifest.verification, EXCHANGE.evidence.observations[0]
    padding = next(o.leaf for o in EXCHANGE.evidence.openings if isinstance(o.canary, PaddingCanary))
    trigger = observations.triggers[0].model_copy(update={"leaf": padding})
    stray = observations.model_copy(update={"triggers": (trigger,)})
    with fails(MalformedDocumentError, cause="leaf"):
        look_at(EXCHANGE.evidence, stray, terms)
    short = observations.naturals[0].model_copy(update={"base": ("-1.000000", "-2.000000")})
    with fails(MalformedDocumentError, cause="scores"):
        look_at(EXCHANGE.evidence, observations.model_copy(update={"naturals": (short,)}), terms)


def test_a_look_knows_how_many_rows_carried_a_canary() -> None:
    exchange = Exchange(naturals=5, repetitions=(1, 3), in_place=2)
    look = look_at(exchange.evidence, exchange.evidence.observations[0], exchange.manifest.verification)
    assert sorted(item.copies for item in look.naturals) == [1, 1, 1, 1, 1, 3, 3]


def test_no_rewording_certifies_a_signature() -> None:
    """Such a bundle fails the audit; a judgement of it claims nothing either."""

    def reworded(canary: Canary) -> Canary:
        if isinstance(canary, TriggerCanary):
            return canary.model_copy(update={"generator_digest": REWORDING.digest})
        return canary

    for exchange, certified in [(EXCHANGE, True), (small(tamper=reworded), False)]:
        look = look_at(exchange.evidence, exchange.evidence.observations[0], exchange.manifest.verification)
        assert {group.certified for group in look.groups} == {certified}


@pytest.mark.parametrize("rows", [(), tuple(range(65))])
def test_a_natural_canary_stands_in_one_to_64_rows(rows: tuple[int, ...]) -> None:
    value = next(c for c in EXCHANGE.canaries if isinstance(c, NaturalCanary)).model_dump(mode="json")
    with pytest.raises(MalformedDocumentError):
        parse_canary(canonical_bytes({**value, "rows": list(rows)}))
