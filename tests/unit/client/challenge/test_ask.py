"""The challenge without a model: what is asked, kept, resumed, and made into observations that the audit accepts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.adversary.deals import Deal, open_deal
from tests.support.asked_model import RuleModel
from tests.support.exchange import Exchange
from veritune.arbiter.documents.canary import NaturalCanary, TriggerCanary
from veritune.arbiter.measure.questions import Question
from veritune.client.challenge.answer_log import AnswerLog
from veritune.client.challenge.ask import ask_delivered, ask_served
from veritune.client.challenge.leaves import leaves_of_session, sampling_for
from veritune.client.challenge.observe import observe, receipts_of
from veritune.common.dataset import Message
from veritune.common.errors import PlanError, StepError, UsageError
from veritune.common.inference import SamplingTerms
from veritune.common.signing import Signed

TERMS = SamplingTerms(max_tokens=16)


@pytest.fixture
def deal(tmp_path: Path) -> Iterator[Deal]:
    with open_deal(tmp_path) as opened:
        yield opened


def chat(text: str) -> tuple[Message, ...]:
    return (Message(role="user", content=text),)


QUESTIONS = [
    Question("trigger", 3, 0, True, chat("held out T")),
    Question("natural", 5, 0, False, chat("natural"), ("one", "three"), chat("natural behind examples")),
    Question("decoy", 0, 0, True, chat("decoy")),
    Question("trigger", 3, 0, False, chat("in data T")),
]


def test_delivered_answers_become_observations(tmp_path: Path) -> None:
    log = AnswerLog(tmp_path / "log")
    seen: list[tuple[str, int, int]] = []
    ask_delivered(QUESTIONS, RuleModel(), TERMS, log, progress=lambda *event: seen.append(event))
    assert seen == [("challenge (delivered)", done, 4) for done in range(5)]
    found = observe("delivered", QUESTIONS, AnswerLog(tmp_path / "log"))
    assert [(t.leaf, t.held_out, t.answer) for t in found.triggers] == [
        (3, True, "S held out T"),
        (3, False, "S in data T"),
    ]
    assert [d.answer for d in found.decoys] == ["S decoy"]
    assert found.naturals[0].tuned == ("-3.000000", "-5.000000")
    assert found.naturals[0].base == ("-4.000000", "-6.000000")
    assert found.sampling == TERMS


@pytest.mark.parametrize("dies_after", range(5))
def test_a_killed_challenge_asks_only_the_rest(tmp_path: Path, dies_after: int) -> None:
    path = tmp_path / "log"
    with pytest.raises(KeyboardInterrupt):
        ask_delivered(QUESTIONS, first := RuleModel(dies_after), TERMS, AnswerLog(path))
    ask_delivered(QUESTIONS, second := RuleModel(), TERMS, AnswerLog(path))
    texts = [text for text in (*first.asked, *second.asked) if not text.startswith("natural")]
    assert sorted(texts) == ["decoy", "held out T", "in data T"]
    assert len(observe("delivered", QUESTIONS, AnswerLog(path)).triggers) == 2


def test_nothing_asked_is_no_observation(tmp_path: Path) -> None:
    with pytest.raises(StepError):
        observe("served", QUESTIONS, AnswerLog(tmp_path / "log"))


def test_missing_answers_are_left_out(tmp_path: Path) -> None:
    log = AnswerLog(tmp_path / "log")
    ask_delivered(QUESTIONS[:1], RuleModel(), TERMS, log)
    found = observe("delivered", QUESTIONS, log)
    assert (len(found.triggers), len(found.decoys), len(found.naturals)) == (1, 0, 0)


def test_served_answers_carry_receipts_in_order(deal: Deal, tmp_path: Path) -> None:
    log = AnswerLog(tmp_path / "log")
    ask_served(QUESTIONS, deal.endpoint(), lambda item: ("-9.000000",) * 2, TERMS, log)
    found = observe("served", QUESTIONS, log, receipts_of([log]))
    assert len(found.receipts) == 4
    whole = [
        *(item.asked for item in found.triggers),
        *(item.asked for item in found.naturals),
        *(item.asked for item in found.decoys),
    ]
    assert sorted(asked.sequence for asked in whole if asked) == [1, 2, 3, 4]
    assert [item.asked.sequence for item in found.naturals if item.asked] == [2]
    assert len({asked.nonce for asked in whole if asked}) == 4


def test_a_served_challenge_killed_between_receipt_and_disk_goes_on(deal: Deal, tmp_path: Path) -> None:
    path = tmp_path / "log"
    endpoint = deal.endpoint()
    # The provider has signed, the client never wrote it down.
    log = AnswerLog(path)
    log.begin(TERMS)
    endpoint.generate(QUESTIONS[0].chat, TERMS, log.nonce(QUESTIONS[0].digest))
    reordered = [*QUESTIONS[1:], QUESTIONS[0]]
    again = AnswerLog(path)
    ask_served(reordered, deal.endpoint(len(receipts_of([again]))), lambda item: ("-9.000000",) * 2, TERMS, again)
    assert len(receipts_of([AnswerLog(path)])) == 4
    assert deal.fake.sequence == 4


def test_session_follows_the_seed_and_the_contract() -> None:
    exchange = Exchange()
    evidence = exchange.evidence
    commitment = _secrets(exchange).commitment()
    manifest = exchange.manifest
    contract = Signed(exchange.signed_manifest, manifest)
    receipt = Signed(exchange.signed_training_receipt, exchange.training_receipt)
    picked = leaves_of_session(commitment, contract, receipt, 1)
    assert picked.leaves == tuple(opening.leaf for opening in evidence.openings)
    for session in (manifest.verification.policy.sessions + 1, 17):
        with pytest.raises(UsageError):
            leaves_of_session(commitment, contract, receipt, session)
    longest = max(len(c.token_bits) for c in picked.canaries.values() if isinstance(c, TriggerCanary))
    assert sampling_for(picked, longest + 8).max_tokens == longest + 8
    with pytest.raises(PlanError, match="max_tokens"):
        sampling_for(picked, longest + 7)
    assert any(isinstance(canary, NaturalCanary) for canary in picked.canaries.values())


def _secrets(exchange: Exchange) -> Any:
    from veritune.client.job.canary_plan import CanaryPlan
    from veritune.client.sowing.commitment import SecretLeaf
    from veritune.client.sowing.sealed import Secrets

    openings = {opening.leaf: opening for opening in exchange.evidence.openings}
    return Secrets(
        master_seed="0" * 64,
        plan=CanaryPlan(),
        generators=exchange.evidence.generators,
        leaves=tuple(SecretLeaf(salt=openings[leaf].salt, canary=openings[leaf].canary) for leaf in sorted(openings)),
        decoys=(),
        train_sha256="0" * 64,
        held_out_sha256="0" * 64,
    )
