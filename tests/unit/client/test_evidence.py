"""Forms of canaries and evidence that the exchange alone does not reach."""

from __future__ import annotations

import pytest

from tests.adversary.cheats import small
from veritune.client.canary import NaturalCanary, PaddingCanary, TriggerCanary, canary_leaf, parse_canary
from veritune.client.evidence import Evidence, NaturalObservation, canonical_value, envelopes
from veritune.client.from_evidence import look_at
from veritune.client.order import session_leaves
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
    with pytest.raises(MalformedDocumentError, match="32 bytes"):
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
    assert canonical_bytes(canonical_value(EXCHANGE.evidence)) == data


@pytest.mark.parametrize("text", ["-1", "-1.5", "-1.0000000", "1e5", "nan", "-inf", "01.000000", "--1.000000"])
def test_log_probabilities_have_one_form(text: str) -> None:
    value = {"leaf": 1, "tuned": [text, "-1.000000"], "base": ["-1.000000", "-1.000000"], "asked": None}
    with pytest.raises(MalformedDocumentError):
        NaturalObservation.from_bytes(canonical_bytes(value))


def test_answers_that_fit_no_opened_canary_give_no_judgement() -> None:
    """Also before the audit: a client that builds a bundle wrongly learns it at once."""
    policy, observations = EXCHANGE.policy, EXCHANGE.evidence.observations[0]
    padding = next(o.leaf for o in EXCHANGE.evidence.openings if isinstance(o.canary, PaddingCanary))
    trigger = observations.triggers[0].model_copy(update={"leaf": padding})
    stray = observations.model_copy(update={"triggers": (trigger,)})
    with pytest.raises(MalformedDocumentError, match="not opened"):
        look_at(EXCHANGE.evidence, stray, policy)
    short = observations.naturals[0].model_copy(update={"base": ("-1.000000", "-2.000000")})
    with pytest.raises(MalformedDocumentError, match="do not fit"):
        look_at(EXCHANGE.evidence, observations.model_copy(update={"naturals": (short,)}), policy)
