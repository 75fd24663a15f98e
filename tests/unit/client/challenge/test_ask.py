"""The challenge without a model: what is asked, kept, resumed, and made into observations that the audit accepts."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.adversary.deals import Deal, open_deal
from tests.support.asked_model import RuleModel
from tests.support.errors import fails
from tests.support.exchange import Exchange
from veritune.arbiter.documents.canary import NaturalCanary, TriggerCanary
from veritune.arbiter.documents.evidence import EnvelopeDocument, ReceiptRef
from veritune.arbiter.measure.questions import Question
from veritune.client.challenge.answer_log import AnswerLog, Entry
from veritune.client.challenge.ask import ask_delivered, ask_served
from veritune.client.challenge.leaves import leaves_of_session, sampling_for
from veritune.client.challenge.observe import numbers_of, observe, receipts_of
from veritune.common.dataset import Message
from veritune.common.errors import OutOfOrderError, PlanError, StepError, UsageError, VerituneError
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


def no_base(item: Question) -> tuple[str, ...]:
    raise AssertionError("nothing to score")


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
    ask_served(reordered, deal.endpoint(numbers_of([again])), lambda item: ("-9.000000",) * 2, TERMS, again)
    assert len(receipts_of([AnswerLog(path)])) == 4
    assert deal.fake.sequence == 4


MANY = [Question("trigger", leaf, 0, True, chat(f"held out {leaf}")) for leaf in range(12)]


def known_of(path: Path) -> frozenset[int]:
    return frozenset(entry.asked.sequence for entry in AnswerLog(path).entries.values() if entry.asked)


def test_calls_are_under_way_together_each_behind_its_nonce(deal: Deal, tmp_path: Path) -> None:
    log, together = AnswerLog(tmp_path / "log"), threading.Barrier(4, timeout=30)
    answer = deal.fake.answer

    def meet(messages: tuple[Any, ...]) -> str:
        together.wait()
        whole = (tmp_path / "log").read_text().rpartition("\n")[0]
        assert sum(json.loads(line)["nonce"] is not None for line in whole.splitlines()) >= 4
        return answer(messages)

    deal.fake.answer = meet
    seen: list[int] = []
    ask_served(MANY, deal.endpoint(), no_base, TERMS, log, at_once=4, progress=lambda what, done, of: seen.append(done))
    assert seen == list(range(13))
    found = observe("served", MANY, AnswerLog(tmp_path / "log"), receipts_of([log]))
    assert [receipt.envelope().digest for receipt in found.receipts] == [
        log.entries[question].receipt.envelope().digest  # type: ignore[union-attr]
        for question, _ in sorted(log.entries.items(), key=lambda pair: pair[1].asked.sequence)  # type: ignore[union-attr]
    ]
    assert sorted(item.asked.sequence for item in found.triggers if item.asked) == list(range(1, 13))


@pytest.mark.parametrize("fails_at", range(6))
def test_what_answered_beside_a_failed_call_is_kept_and_the_rest_goes_on(
    deal: Deal, tmp_path: Path, fails_at: int
) -> None:
    path, answer = tmp_path / "log", deal.fake.answer
    asked = itertools.count()

    def fail(messages: tuple[Any, ...]) -> str:
        if next(asked) == fails_at:
            raise RuntimeError
        return answer(messages)

    deal.fake.answer = fail
    with pytest.raises(VerituneError):
        ask_served(MANY, deal.endpoint(), no_base, TERMS, AnswerLog(path), at_once=4)
    broken = AnswerLog(path)
    assert len(broken.nonces) - len(broken.entries) == 1, "those beside it were waited for"
    assert len(broken.nonces) <= fails_at + 4, "none was begun after it failed"
    deal.fake.answer = answer
    ask_served(MANY, deal.endpoint(numbers_of([AnswerLog(path)])), no_base, TERMS, AnswerLog(path), at_once=4)
    assert known_of(path) == frozenset(range(1, 13))
    assert deal.fake.sequence == 12


@pytest.mark.parametrize("lost", [(1,), (2, 3), (1, 2, 3, 4)])
def test_numbers_that_a_killed_process_lost_come_again(deal: Deal, tmp_path: Path, lost: tuple[int, ...]) -> None:
    path, endpoint = tmp_path / "log", deal.endpoint()
    log = AnswerLog(path)
    log.begin(TERMS)
    for item in MANY[:4]:
        nonce = log.nonce(item.digest)
        found = endpoint.generate(item.chat, TERMS, nonce)
        if found.sequence not in lost:
            asked = ReceiptRef(nonce=nonce.hex(), sequence=found.sequence)
            log.add(Entry(question=item.digest, asked=asked, receipt=EnvelopeDocument.of(found.receipt)))
    ask_served(MANY[::-1], deal.endpoint(numbers_of([AnswerLog(path)])), no_base, TERMS, AnswerLog(path), at_once=4)
    assert known_of(path) == frozenset(range(1, 13))
    assert deal.fake.sequence == 12


def test_a_number_left_out_between_calls_under_way_is_found(deal: Deal, tmp_path: Path) -> None:
    answer, asked = deal.fake.answer, itertools.count()

    def skip(messages: tuple[Any, ...]) -> str:
        if next(asked) == 5:
            deal.fake.sequence += 1
        return answer(messages)

    deal.fake.answer = skip
    with pytest.raises(OutOfOrderError):
        ask_served(MANY, deal.endpoint(), no_base, TERMS, AnswerLog(tmp_path / "log"), at_once=4)


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
    with fails(PlanError, setting="challenge.max_tokens"):
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
