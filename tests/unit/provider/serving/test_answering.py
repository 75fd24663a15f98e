"""Answers under a contract: checked, computed once, numbered, signed, stored; and whose fault it is when none comes."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import make_deadlines, make_rows, manifest_for
from veritune.common.dataset import Message
from veritune.common.documents.base import format_time
from veritune.common.documents.receipts import FileRef, InferenceReceipt, TrainingReceipt
from veritune.common.envelope import Envelope
from veritune.common.errors import (
    ExpiredError,
    MalformedRequestError,
    NotFoundError,
    OutOfOrderError,
    QuotaError,
    TooLargeError,
    UnavailableError,
    VerituneError,
)
from veritune.common.inference import SamplingTerms, generate_digest, score_output_digest, text_output_digest
from veritune.common.keys import PrivateKey
from veritune.common.signing import open_document, sign_document
from veritune.provider.contracts.contracts import Contract, Contracts
from veritune.provider.contracts.policy import ProviderPolicy
from veritune.provider.engines.base import Delta, PromptTooLongError, Sampling, Score
from veritune.provider.hardware.accelerator import Accelerator
from veritune.provider.models.catalog import ModelCatalog, OfferedModel
from veritune.provider.models.chat import ChatRefusedError
from veritune.provider.receipts import Receipts
from veritune.provider.serving.answering import Answering, GeneratedAnswer
from veritune.provider.serving.engine_pool import Serving
from veritune.provider.storage.adapters import AdapterFolders
from veritune.provider.storage.blobs import BlobStore
from veritune.provider.storage.records import Ending, JobRecord, JobState
from veritune.provider.storage.store import Store

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
KEY, CLIENT = PrivateKey.generate(), PrivateKey.generate()
CHAT = (Message(role="user", content="What now?"),)
NONCE = b"n" * 16
FILES = {"adapter_config.json": b"{}", "adapter_model.safetensors": b"weights"}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class FakeEngine:
    """Says the next of its sentences in two pieces, or raises ``error``; keeps the bytes of each adapter it loaded."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.asked = 0
        self.closed = 0
        self.sentences: list[str] = []
        self.read: list[dict[str, bytes]] = []

    async def start(self) -> None:
        return None

    async def stop(self) -> None:
        return None

    async def load_adapter(self, adapter: str, folder: Path) -> None:
        self.read.append(contents(folder))

    def generate(self, messages: Sequence[Any], sampling: Sampling, adapter: str | None) -> AsyncIterator[Delta]:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return self._say(adapter, self.sentences.pop(0) if self.sentences else "well.")

    async def _say(self, adapter: str | None, sentence: str) -> AsyncIterator[Delta]:
        try:
            yield Delta(f"{adapter}: ")
            yield Delta(sentence)
            yield Delta("", "stop", 7, 3)
        finally:
            self.closed += 1

    async def score(self, messages: Sequence[Any], completions: Sequence[str], adapter: str | None) -> list[Score]:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return [Score((-1.0, -0.5)) for _ in completions]


@dataclass
class Desk:
    """`Answering` over a real store and folder, with an engine that is no model and a clock that the test turns."""

    folder: Path
    now: datetime = NOW

    def __post_init__(self) -> None:
        self.store = Store(f"sqlite:///{self.folder / 'db'}")
        self.blobs = BlobStore(self.folder / "blobs")
        self.engine = FakeEngine()
        engine: Any = self.engine
        models = ModelCatalog((OfferedModel("tiny", "2" * 64, self.folder),))
        self.contracts = Contracts(self.store, KEY, models, ProviderPolicy(), lambda: self.now)
        self.answering = Answering(
            self.contracts,
            models,
            AdapterFolders(self.folder / "adapters", self.blobs),
            self.store,
            Receipts(KEY, lambda: self.now),
            Serving(lambda _: engine, 2),
            Accelerator("share"),
            max_answers=3,
        )
        self.manifest = manifest_for(
            CLIENT.public, KEY.public, "tiny", "2" * 64, make_rows(4), deadlines=make_deadlines(NOW)
        )

    async def contract(self) -> Contract:
        digest = (await self.contracts.negotiate(sign_document(self.manifest, CLIENT))).digest
        return await self.contracts.get(digest)

    async def trained(self) -> Envelope:
        """The training receipt of ``job-1``, whose working folder held `FILES`."""
        contract, job = await self.contract(), self.folder / "jobs" / "job-1"
        job.mkdir(parents=True)
        refs = []
        for name, data in FILES.items():
            (job / name).write_bytes(data)
            refs.append(FileRef(name=name, size=len(data), sha256=hashlib.sha256(data).hexdigest()))
            self.blobs.add_copy(job / name, refs[-1].sha256)
        receipt = sign_document(
            TrainingReceipt(
                manifest_digest=contract.digest,
                dataset_receipt_digest="0" * 64,
                job_id="job-1",
                adapter=tuple(refs),
                checkpoints=(),
                steps=1,
                tokens=1,
                label_tokens=1,
                rows_trained=1,
                rows_dropped=0,
                rows_cut=0,
                trace_root="0" * 64,
                software={},
                hardware={},
                started=format_time(NOW),
                finished=format_time(NOW),
            ),
            KEY,
        )
        self.store.add_job(JobRecord("job-1", contract.digest, "first", NOW), 1)
        self.store.end_job("job-1", lambda _: Ending(JobState.SUCCEEDED, receipt))
        return receipt

    async def generate(self, job_id: str = "", nonce: bytes = NONCE, **terms: Any) -> tuple[str, GeneratedAnswer]:
        """The pieces joined, and the answer that came last."""
        parts = self.answering.generate(await self.contract(), job_id, CHAT, SamplingTerms(**terms), nonce)
        seen = [part async for part in parts]
        assert isinstance(seen[-1], GeneratedAnswer)
        return "".join(part for part in seen if isinstance(part, str)), seen[-1]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


async def test_an_answer_is_signed_and_the_same_request_gets_it_again(desk: Desk) -> None:
    text, answer = await desk.generate()
    assert (text, answer.output.text) == ("None: well.", "None: well.")
    assert (answer.output.finish_reason, answer.output.prompt_tokens, answer.output.completion_tokens) == ("stop", 7, 3)
    receipt = open_document(InferenceReceipt, answer.receipt, KEY.public).document
    assert (receipt.sequence, receipt.kind, receipt.training_receipt_digest) == (1, "generate", None)
    assert receipt.request_digest == generate_digest("", CHAT, SamplingTerms(), NONCE)
    assert receipt.output_digest == text_output_digest(text, "stop", NONCE)
    assert await desk.generate() == (text, answer)
    assert desk.engine.asked == 1
    _, other = await desk.generate(nonce=b"m" * 16)
    assert open_document(InferenceReceipt, other.receipt, KEY.public).document.sequence == 2


async def test_scores_are_signed_and_stored(desk: Desk) -> None:
    contract = await desk.contract()
    answer = await desk.answering.score(contract, "", CHAT, ["yes", "no"], NONCE)
    assert answer.output.totals == ("-1.500000", "-1.500000")
    assert answer.output.token_logprobs == ((-1.0, -0.5), (-1.0, -0.5))
    receipt = open_document(InferenceReceipt, answer.receipt, KEY.public).document
    assert (receipt.kind, receipt.output_digest) == ("score", score_output_digest(answer.output.totals, NONCE))
    assert await desk.answering.score(contract, "", CHAT, ["yes", "no"], NONCE) == answer
    assert desk.engine.asked == 1


async def test_an_answer_that_is_left_half_way_takes_no_number(desk: Desk) -> None:
    parts = desk.answering.generate(await desk.contract(), "", CHAT, SamplingTerms(), NONCE)
    async with aclosing(parts):
        assert await anext(parts) == "None: "
    assert desk.engine.closed == 1
    _, answer = await desk.generate()
    assert open_document(InferenceReceipt, answer.receipt, KEY.public).document.sequence == 1


async def test_two_same_requests_at_once_get_one_number_and_never_a_receipt_for_another_text(desk: Desk) -> None:
    contract = await desk.contract()
    desk.engine.sentences = ["one", "two"]
    first = desk.answering.generate(contract, "", CHAT, SamplingTerms(temperature="1"), NONCE)
    second = desk.answering.generate(contract, "", CHAT, SamplingTerms(temperature="1"), NONCE)
    async with aclosing(first), aclosing(second):
        assert (await anext(first), await anext(second)) == ("None: ", "None: ")
        _, answer = [part async for part in first]
        assert isinstance(answer, GeneratedAnswer)
        assert answer.output.text == "None: one"
        assert await anext(second) == "two"
        with pytest.raises(UnavailableError):
            await anext(second)
    text, again = await desk.generate(temperature="1")
    assert (text, again) == ("None: one", answer)
    assert desk.engine.asked == 2


async def test_the_signed_bytes_are_served_whatever_became_of_the_working_folder(desk: Desk) -> None:
    trained = await desk.trained()
    for name in FILES:
        with (desk.folder / "jobs" / "job-1" / name).open("r+b") as file:
            file.write(b"XX")
    shutil.rmtree(desk.folder / "jobs")
    text, answer = await desk.generate("job-1")
    assert text == "job-1: well."
    assert desk.engine.read == [FILES]
    receipt = open_document(InferenceReceipt, answer.receipt, KEY.public).document
    assert receipt.training_receipt_digest == trained.digest


async def test_a_lost_blob_is_a_coded_error(desk: Desk) -> None:
    await desk.trained()
    desk.blobs.path(hashlib.sha256(FILES["adapter_model.safetensors"]).hexdigest()).unlink()
    with pytest.raises(NotFoundError) as caught:
        await desk.generate("job-1")
    assert caught.value.metadata == {"artifact": "adapter_model.safetensors"}
    assert desk.engine.read == []


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (ChatRefusedError("no system message"), MalformedRequestError),
        (PromptTooLongError("9 of 8"), TooLargeError),
        (ValueError("a bug"), ValueError),
        (LookupError("a bug"), LookupError),
    ],
)
async def test_only_what_an_engine_refuses_by_name_is_the_clients_fault(
    desk: Desk, fault: Exception, kind: type[Exception]
) -> None:
    """What passes through as it is becomes INTERNAL at the border (`rpc.status`)."""
    desk.engine.error = fault
    for attempt in (
        desk.generate(),
        desk.answering.score(await desk.contract(), "", CHAT, ["yes"], NONCE),
    ):
        with pytest.raises(Exception) as caught:  # noqa: PT011 - its very type is looked at below
            await attempt
        assert type(caught.value) is kind
        assert isinstance(caught.value, VerituneError) == (kind in (MalformedRequestError, TooLargeError))


@pytest.mark.parametrize(
    "terms",
    [
        {"max_tokens": 0},
        {"max_tokens": 4097},
        {"temperature": ""},
        {"temperature": "2.1"},
        {"temperature": "-1"},
        {"temperature": "0.005"},
        {"temperature": "1e-1"},
        {"temperature": "0.0000001"},
        {"temperature": "1\n"},
        {"top_p": "0"},
        {"top_p": "1.1"},
        {"top_p": "nan"},
        {"seed": -1},
        {"seed": 2**32},
    ],
)
async def test_sampling_that_can_not_be_done_is_refused_before_any_work(desk: Desk, terms: dict[str, Any]) -> None:
    with pytest.raises(MalformedRequestError):
        await desk.generate(**terms)
    assert desk.engine.asked == 0


@pytest.mark.parametrize("nonce", [b"", b"n" * 15, b"n" * 65])
async def test_a_nonce_has_16_to_64_bytes(desk: Desk, nonce: bytes) -> None:
    with pytest.raises(MalformedRequestError):
        await desk.generate(nonce=nonce)
    with pytest.raises(MalformedRequestError):
        await desk.answering.score(await desk.contract(), "", CHAT, ["yes"], nonce)


@pytest.mark.parametrize(
    ("completions", "kind"),
    [
        ([], MalformedRequestError),
        ([""], MalformedRequestError),
        (["x"] * 257, MalformedRequestError),
        (["x" * 131_073], TooLargeError),
    ],
)
async def test_completions_have_limits(desk: Desk, completions: list[str], kind: type[VerituneError]) -> None:
    with pytest.raises(kind):
        await desk.answering.score(await desk.contract(), "", CHAT, completions, NONCE)


async def test_a_job_answers_under_its_own_contract_once_it_has_succeeded(desk: Desk) -> None:
    contract = await desk.contract()
    with pytest.raises(NotFoundError):
        await desk.generate("job-2")
    desk.store.add_job(JobRecord("job-2", contract.digest, "second", NOW), 1)
    with pytest.raises(OutOfOrderError):
        await desk.generate("job-2")
    desk.manifest = desk.manifest.model_copy(update={"nonce": "f" * 64})
    with pytest.raises(NotFoundError):
        await desk.generate("job-2")


async def test_answers_end_with_the_deadline_and_the_quota(desk: Desk) -> None:
    for number in range(3):
        await desk.generate(nonce=bytes([number]) * 16)
    with pytest.raises(QuotaError):
        await desk.generate(nonce=b"x" * 16)
    desk.now = NOW.replace(hour=17)
    with pytest.raises(ExpiredError):
        await desk.generate(nonce=b"y" * 16)
