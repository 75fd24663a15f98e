"""What the database promises: idempotence, one signature, numbers without a gap, durability."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError
from sqlalchemy import create_engine, text

from tests.support.errors import fails
from veritune.common.documents.receipts import FileRef
from veritune.common.envelope import Envelope, Signature
from veritune.common.errors import ConflictError, NotFoundError, QuotaError
from veritune.provider.storage.records import (
    ContractRecord,
    Ending,
    GeneratedOutput,
    JobRecord,
    JobState,
    ScoredOutput,
    output_from_json,
)
from veritune.provider.storage.store import Store, StoreError

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
DIGEST = "a" * 64


def envelope(body: str) -> Envelope:
    return Envelope("text/plain", body.encode(), (Signature("k", b"s"),))


def record(digest: str = DIGEST, reveal: datetime = NOW + timedelta(hours=1)) -> ContractRecord:
    return ContractRecord(digest, envelope(digest), "c" * 64, reveal)


def job(job_id: str, request_id: str = "r1", digest: str = DIGEST) -> JobRecord:
    return JobRecord(job_id, digest, request_id, NOW)


def generated(words: str) -> GeneratedOutput:
    return GeneratedOutput(text=words, finish_reason="stop", prompt_tokens=2, completion_tokens=1)


SCORED = ScoredOutput(totals=("-1.500000", "0.000000"), token_logprobs=((-1.0, -0.1 - 0.4), (0.0,)))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'provider.db'}"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    store = Store(url)
    store.add_contract(DIGEST, record, NOW, 10)
    yield store
    store.close()


def test_a_contract_is_signed_once(store: Store) -> None:
    def never() -> ContractRecord:
        raise AssertionError("signed twice")

    assert store.add_contract(DIGEST, never, NOW, 1) == record()
    assert store.contract(DIGEST) == record()
    with pytest.raises(NotFoundError):
        store.contract("b" * 64)


def test_only_open_contracts_count(store: Store) -> None:
    with pytest.raises(QuotaError):
        store.add_contract("b" * 64, lambda: record("b" * 64), NOW, 1)
    store.add_contract("b" * 64, lambda: record("b" * 64), NOW + timedelta(hours=2), 1)


def test_what_a_refused_offer_raises_leaves_nothing(store: Store) -> None:
    def refuse() -> ContractRecord:
        raise QuotaError("no")

    with pytest.raises(QuotaError):
        store.add_contract("b" * 64, refuse, NOW, 10)
    with pytest.raises(NotFoundError):
        store.contract("b" * 64)


def test_a_dataset_receipt_is_signed_once_even_when_many_ask(store: Store) -> None:
    made: list[int] = []

    def ask(number: int) -> Envelope:
        def make() -> Envelope:
            made.append(number)
            return envelope(f"receipt {number}")

        return store.add_dataset_receipt(DIGEST, make)

    with ThreadPoolExecutor(8) as pool:
        receipts = set(pool.map(ask, range(32)))
    assert len(made) == len(receipts) == 1
    assert store.contract(DIGEST).dataset_receipt in receipts


def test_a_job_is_idempotent_by_request(store: Store) -> None:
    first = store.add_job(job("j1"), 10)
    assert store.add_job(job("j2"), 10) == first
    with pytest.raises(ConflictError) as caught:
        store.add_job(job("j2", "r2"), 10)
    assert caught.value.metadata == {"job_id": "j1"}
    with pytest.raises(NotFoundError):
        store.job("j2")


def test_a_failed_job_makes_room_for_another(store: Store) -> None:
    store.add_job(job("j1"), 10)
    store.end_job("j1", lambda _: Ending(JobState.FAILED, envelope("failure"), "why"))
    store.add_job(job("j2", "r2"), 10)
    assert [item.job_id for item in store.jobs(DIGEST)] == ["j1", "j2"]
    assert [item.job_id for item in store.unfinished()] == ["j2"]


def test_the_queue_is_bounded(store: Store) -> None:
    store.add_contract("b" * 64, lambda: record("b" * 64), NOW, 10)
    store.add_job(job("j1"), 1)
    with pytest.raises(QuotaError):
        store.add_job(job("j2", digest="b" * 64), 1)


def test_every_change_raises_the_revision_until_the_end(store: Store) -> None:
    store.add_job(job("j1"), 10)
    assert store.change_job("j1", state=JobState.RUNNING, started=NOW).revision == 2
    assert store.change_job("j1", step=3, loss=0.5).revision == 3
    files = (FileRef(name="adapter_model.safetensors", size=3, sha256="0" * 64),)
    ended = store.end_job("j1", lambda _: Ending(JobState.SUCCEEDED, envelope("receipt"), artifacts=files))
    assert (ended.revision, ended.step, ended.artifacts) == (4, 3, files)
    assert store.change_job("j1", step=9) == ended
    assert store.end_job("j1", lambda _: Ending(JobState.FAILED, envelope("other"))) == ended
    assert store.job("j1") == ended


def test_answers_are_numbered_without_a_gap(store: Store) -> None:
    def ask(number: int) -> int:
        def make(sequence: int) -> Envelope:
            if number % 3 == 0:
                raise RuntimeError("the signer failed")
            return envelope(f"{sequence}")

        try:
            return store.add_answer(DIGEST, f"request {number}", generated(f"{number}"), make, 1000).sequence
        except RuntimeError:
            return 0

    with ThreadPoolExecutor(8) as pool:
        numbers = [number for number in pool.map(ask, range(60)) if number]
    assert sorted(numbers) == list(range(1, 41))


def test_the_same_request_gets_the_same_answer(store: Store) -> None:
    first = store.add_answer(DIGEST, "r", generated("one"), lambda n: envelope(f"{n}"), 10)
    assert store.add_answer(DIGEST, "r", generated("two"), lambda n: envelope(f"{n}"), 10) == first
    assert store.answer(DIGEST, "r") == first
    assert store.answer(DIGEST, "other") is None


def test_an_output_comes_back_as_what_it_was(store: Store) -> None:
    store.add_answer(DIGEST, "g", generated("käse \x00 🦀"), lambda n: envelope(f"{n}"), 10)
    store.add_answer(DIGEST, "s", SCORED, lambda n: envelope(f"{n}"), 10)
    for request, output in (("g", generated("käse \x00 🦀")), ("s", SCORED)):
        answer = store.answer(DIGEST, request)
        assert answer is not None
        assert answer.output == output


def test_answers_of_older_databases_are_still_read() -> None:
    """The column held the same JSON before it had a type."""
    old = '{"finish_reason": "length", "prompt_tokens": 9, "completion_tokens": 8, "text": "one"}'
    assert output_from_json(old) == GeneratedOutput(
        text="one", finish_reason="length", prompt_tokens=9, completion_tokens=8
    )
    assert output_from_json('{"totals": ["-1.500000"], "token_logprobs": [[-1, -0.5]]}') == ScoredOutput(
        totals=("-1.500000",), token_logprobs=((-1.0, -0.5),)
    )


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"text": "one"}',
        '{"finish_reason": "odd", "prompt_tokens": 9, "completion_tokens": 8, "text": "one"}',
        '{"totals": ["0.000000"], "token_logprobs": [[NaN]]}',
        '{"totals": ["0.000000"], "token_logprobs": [[0]], "text": ""}',
    ],
)
def test_what_is_no_output(text: str) -> None:
    with pytest.raises(ValidationError):
        output_from_json(text)


def test_answers_are_bounded(store: Store) -> None:
    store.add_answer(DIGEST, "r1", generated("one"), lambda n: envelope(f"{n}"), 1)
    with pytest.raises(QuotaError):
        store.add_answer(DIGEST, "r2", generated("two"), lambda n: envelope(f"{n}"), 1)


def test_all_is_there_after_opening_again(store: Store, url: str) -> None:
    store.add_job(job("j1"), 10)
    store.add_answer(DIGEST, "r", generated("one"), lambda n: envelope(f"{n}"), 10)
    again = Store(url)
    assert again.contract(DIGEST) == record()
    assert again.job("j1") == job("j1")
    assert again.add_answer(DIGEST, "s", SCORED, lambda n: envelope(f"{n}"), 10).sequence == 2
    again.close()


def test_sqlite_waits_for_the_disk(store: Store) -> None:
    with store._engine.connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 2


def test_another_schema_is_refused(store: Store, url: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE meta SET value = '99'"))
    engine.dispose()
    with fails(StoreError, cause="schema", found="99"):
        Store(url)
