"""`Run` over a provider in this process: steps that resume, papers that are checked again, jobs that fail."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest

from tests.adversary.deals import FILES
from tests.adversary.fake_provider import FakeProvider
from tests.support.errors import fails
from veritune.client.exchange import channel
from veritune.client.progress import Progress
from veritune.client.run import prepare as prepare_step
from veritune.client.run import steps
from veritune.client.run.run import Job, Run
from veritune.client.sowing.prepared import PreparedFigures
from veritune.common.dataset import Message, Row, summarise, write_rows
from veritune.common.errors import (
    BadFileError,
    ChangedError,
    LateError,
    OwnError,
    PolicyError,
    SignatureError,
    StepError,
    TrainingError,
    UnavailableError,
    WrongFileError,
)
from veritune.common.keys import PrivateKey
from veritune.common.limits import LIMITS
from veritune.v1 import provider_service_pb2 as pb

JOB = """
[data]
file = "rows.jsonl"
[provider]
address = "{address}"
public_key = "provider.pub"
tls_ca = "tls.crt"
[model]
name = "tiny"
folder = "model"
"""


def sow_nothing(job: Job, base: str, folder: Path, passphrase: bytes, progress: Progress) -> PreparedFigures:
    """Stands for sowing, which needs a model: a training set without canaries."""
    assert passphrase == b"secret"
    write_rows(
        folder / "train.jsonl",
        [
            Row(messages=(Message(role="user", content=f"q {i}"), Message(role="assistant", content="a")))
            for i in range(5)
        ],
    )
    summary = summarise(folder / "train.jsonl")
    return PreparedFigures(
        **vars(summary),
        canary_root="2" * 64,
        leaves=16,
        canary_rows=2,
        extra_rows=1,
        extra_tokens_percent="0.50",
        held_out_rows=3,
        preprocessing_digest="3" * 64,
        base_digest="4" * 64,
        source_rows={"user": 5},
    )


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[FakeProvider]:
    fake = FakeProvider(tmp_path, FILES)
    yield fake
    fake.stop()


@pytest.fixture
def home(tmp_path: Path, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(prepare_step, "sow_job", sow_nothing)
    monkeypatch.setattr(channel, "PATIENCE", 0.1)
    (tmp_path / "rows.jsonl").write_text('{"prompt": "p", "completion": "c"}\n')
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    PrivateKey.generate().save(tmp_path / "client.key", b"secret")
    provider.key.public.save(tmp_path / "provider.pub")
    (tmp_path / "veritune.toml").write_text(JOB.format(address=provider.address))
    return tmp_path


def start(home: Path) -> Run:
    return Run(Job.load(home), passphrase=lambda: b"secret")


def test_steps_in_a_new_process_each(home: Path, provider: FakeProvider) -> None:
    with fails(StepError, step="prepare"):
        start(home).negotiate()
    assert start(home).prepare().rows == 5
    with fails(StepError, step="negotiate"):
        start(home).train()
    manifest = start(home).negotiate()
    assert manifest.verification.leaves_per_session == 16
    with fails(StepError, step="train"):
        start(home).challenge()
    start(home).train()
    calls = list(provider.calls)
    run = start(home)
    run.prepare()
    run.negotiate()
    run.train()
    assert provider.calls == calls
    assert {path.name for path in run.workspace.adapter.iterdir()} == set(FILES)


def test_the_passphrase_is_asked_for_once_and_only_when_needed(home: Path) -> None:
    asked: list[bytes] = []

    def ask() -> bytes:
        asked.append(b"secret")
        return asked[-1]

    run = Run(Job.load(home), passphrase=ask)
    assert run.provider_key == run.provider_key
    with pytest.raises(StepError):
        run.prepared()
    assert not asked
    run.prepare()
    run.negotiate()
    run.train()
    assert len(asked) == 1


def test_a_lost_answer_leaves_one_contract(home: Path, provider: FakeProvider) -> None:
    run = start(home)
    run.prepare()
    provider.lies["contract"] = lambda envelope: envelope.__class__(envelope.payload_type, envelope.payload, ())
    with pytest.raises(SignatureError):
        run.negotiate()
    first = run.workspace.offer.read_bytes()
    provider.lies.clear()
    start(home).negotiate()
    assert run.workspace.offer.read_bytes() == first


def test_refused_terms_may_be_changed(home: Path, provider: FakeProvider) -> None:
    start(home).prepare()
    provider.failures["negotiate"] = [RuntimeError((9, "POLICY_REFUSED", {"point": "rank"}))]
    with pytest.raises(PolicyError):
        start(home).negotiate()
    job = home / "veritune.toml"
    job.write_text(job.read_text() + "[training]\nrank = 8\n")
    assert start(home).negotiate().training.rank == 8
    job.write_text(job.read_text().replace("rank = 8", "rank = 16"))
    with pytest.raises(ChangedError):
        start(home).negotiate()


def test_a_failed_job_may_be_tried_again(home: Path, provider: FakeProvider) -> None:
    run = start(home)
    run.prepare()
    run.negotiate()
    provider.outcome = pb.JOB_STATE_FAILED
    with pytest.raises(TrainingError, match="out of memory"):
        run.train()
    first = provider.request_id
    assert run.workspace.failure_receipt(1).exists()
    provider.outcome = pb.JOB_STATE_SUCCEEDED
    start(home).train()
    assert provider.request_id != first
    assert run.papers.training_receipt().document.job_id == "job-1"


def test_a_provider_that_goes_away_and_comes_back(home: Path, provider: FakeProvider) -> None:
    run = start(home)
    run.prepare()
    run.negotiate()
    provider.failures["watch"] = [RuntimeError(grpc.StatusCode.PERMISSION_DENIED)]
    with pytest.raises(Exception, match="as told"):
        run.train()
    request = provider.request_id
    start(home).train()
    assert provider.request_id == request
    assert provider.calls.count("query") == 1


def test_papers_are_checked_whenever_they_are_read(home: Path) -> None:
    run = start(home)
    run.prepare()
    run.negotiate()
    run.train()
    space = run.workspace
    receipt = json.loads(space.training_receipt.read_bytes())
    receipt["signatures"][0]["sig"] = "AAAA"
    kept = space.training_receipt.read_bytes()
    space.training_receipt.write_text(json.dumps(receipt, separators=(",", ":"), sort_keys=True))
    with fails(BadFileError, cause="signature", file="training-receipt.json") as caught:
        start(home).papers.training_receipt()
    assert (caught.value.reason, caught.value.fault) == ("BAD_FILE", "own")
    space.training_receipt.write_bytes(kept)
    (space.adapter / "adapter_config.json").write_text('{"r": 1}')
    with fails(WrongFileError, what="adapter", step="train"):
        _ = start(home).context.models.tuned


@pytest.mark.parametrize(
    "name",
    ["state.json", "prepared.json", "contract.json", "dataset-receipt.json", "training-receipt.json"],
)
@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"version":9}', b" " * (LIMITS.envelope_json + 1)])
def test_a_damaged_file_of_ours_is_no_fault_of_the_providers(home: Path, name: str, content: bytes) -> None:
    run = start(home)
    run.prepare()
    run.negotiate()
    run.train()
    (run.workspace.root / name).write_bytes(content)

    def read_all(run: Run) -> None:
        run.workspace.state()
        run.prepared()
        run.papers.training_receipt()

    with pytest.raises(OwnError) as caught:
        read_all(start(home))
    assert caught.value.reason == "BAD_FILE"
    assert name in caught.value.message


def test_a_data_set_changed_after_the_contract_is_not_sent(home: Path, provider: FakeProvider) -> None:
    run = start(home)
    run.prepare()
    run.negotiate()
    run.workspace.train.write_bytes(run.workspace.train.read_bytes()[::-1])
    with pytest.raises(WrongFileError):
        run.train()
    assert "query" not in provider.calls


def test_an_offer_too_old_is_made_again(home: Path) -> None:
    run = start(home)
    run.prepare()
    old = Run(Job.load(home), passphrase=b"secret", now=lambda: datetime.now(UTC) - timedelta(days=2))
    offer = steps.offer(old.context, old.prepared())
    run.workspace.save_envelope(run.workspace.offer, offer)
    run.negotiate()
    assert run.workspace.load_envelope(run.workspace.offer, "x") != offer


def test_no_challenge_after_its_deadline(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = start(home)
    run.prepare()
    run.negotiate()
    run.train()

    class Nothing:
        def is_answered(self, mode: str) -> bool:
            return False

    late = Run(Job.load(home), passphrase=b"secret", now=lambda: datetime.now(UTC) + timedelta(days=3))
    monkeypatch.setattr(steps, "challenge_run", lambda run, session: Nothing())
    with pytest.raises(LateError):
        late.challenge()


def test_nobody_listens(home: Path, provider: FakeProvider) -> None:
    run = start(home)
    run.prepare()
    provider.stop()
    with fails(UnavailableError, cause="unreachable"):
        run.negotiate()
