"""The whole exchange by the command line, over the real daemon, on a tiny model: prepare to audit, a process a step.

A model of a few thousand random parameters learns little; what it learns is not asked here. That the papers fit
together, that an outsider can check them, and that nothing secret gets to the provider, is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import DaemonProcess
from tests.support.tiny_exchange import JOB, PASSPHRASE, make_rows
from tests.support.tiny_exchange import model as model  # a fixture
from veritune.arbiter.documents.canary import NaturalCanary, TriggerCanary
from veritune.client.challenge.answer_log import AnswerLog
from veritune.client.sowing.sealed import open_sealed


def veritune(*arguments: str | Path, passphrase: str = PASSPHRASE) -> subprocess.CompletedProcess[str]:
    """One command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "veritune.client.cli.app", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=os.environ | {"VERITUNE_PASSPHRASE": passphrase},
    )


def answer(done: subprocess.CompletedProcess[str], *codes: int) -> dict[str, Any]:
    assert done.returncode in (codes or (0,)), done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def daemon(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    folder = tmp_path_factory.mktemp("provider")
    config = folder / "provider.toml"
    # As the job's challenge, so that both ways can be compared; and floors are owed by two epochs.
    config.write_text('engine_dtype = "float32"\n[policy]\nmax_weak_floor = "0.5"\n')
    running = DaemonProcess(folder, model.parent, options=("--config", str(config)))
    running.start()
    yield running
    running.kill()


@pytest.fixture(scope="module")
def home(daemon: DaemonProcess, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder: data, keys, job."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in make_rows(60, seed=2)))
    for name in ("provider.pub", "tls.crt"):
        (folder / name).write_bytes((daemon.keys / name).read_bytes())
    (folder / "veritune.toml").write_text(JOB.format(address=daemon.address, model=model))
    answer(veritune("keygen", folder, "--json"))
    return folder


@pytest.fixture(scope="module")
def finished(home: Path, daemon: DaemonProcess) -> dict[str, Any]:
    """The run, step by step, each in a process of its own."""
    prepared = answer(veritune("prepare", home, "--json"))
    assert prepared["canary_rows"] == 2 * 4 + 3
    trained = answer(veritune("train", home, "--json"))
    assert trained["receipt"]["rows_trained"] == prepared["rows"]
    answer(veritune("challenge", home, "--mode", "delivered", "--json"))
    # Asking the delivered adapter tells the provider nothing: whatever it holds now, it holds before the opening.
    assert_no_secret(home, beside_the_training_set(home, daemon), opened=False)
    answer(veritune("challenge", home, "--json"))
    return answer(veritune("report", home, "--json"), 0, 1, 2)


def test_report_says_what_was_looked_at(finished: dict[str, Any]) -> None:
    predicate = finished["predicate"]
    assert {mode["mode"] for mode in predicate["judgement"]["modes"]} == {"delivered", "served"}
    assert all(mode["missing"] == 0 for mode in predicate["judgement"]["modes"])
    assert predicate["canaries"] == {"groups": 2, "group_rows": 8, "naturals": 3, "padding": 11}
    assert predicate["task"]["rows"] == 4
    assert predicate["overhead"]["extra_rows"] == 8
    for path in finished["files"].values():
        assert Path(path).exists()


def test_an_outsider_can_audit(finished: dict[str, Any], home: Path, daemon: DaemonProcess, tmp_path: Path) -> None:
    report, evidence = Path(finished["files"]["report"]), Path(finished["files"]["evidence"])
    keys = ("--client-key", home / "client.pub", "--provider-key", daemon.keys / "provider.pub")
    audited = answer(veritune("audit", report, evidence, *keys, "--json", passphrase=""), 0, 1, 2)
    assert audited["verdict"] == finished["verdict"]
    assert len(audited["checks"]) == 16
    data = home / "veritune-run" / "train.jsonl"
    with_data = answer(veritune("audit", report, evidence, *keys, "--data", data, "--json", passphrase=""), 0, 1, 2)
    assert with_data["checks"][-1].startswith("(17)")
    damaged = tmp_path / "evidence.json"
    damaged.write_bytes(evidence.read_bytes().replace(b'"session":1', b'"session":2', 1))
    refused = veritune("audit", report, damaged, *keys)
    assert refused.returncode == 65
    assert "error [AUDIT_FAILED] check (3)" in refused.stderr


def test_both_modes_agree_on_the_weights(finished: dict[str, Any], home: Path) -> None:
    delivered = AnswerLog(home / "veritune-run" / "answers-1-delivered.jsonl").entries
    served = AnswerLog(home / "veritune-run" / "answers-1-served.jsonl").entries
    assert set(delivered) == set(served)
    for question, entry in delivered.items():
        assert entry.text == served[question].text
        for ours, theirs in zip(entry.tuned, served[question].tuned, strict=True):
            assert float(ours) == pytest.approx(float(theirs), abs=2e-2)


def test_everything_again_changes_nothing(finished: dict[str, Any], home: Path) -> None:
    before = {path.name: path.read_bytes() for path in (home / "veritune-run").iterdir() if path.is_file()}
    again = answer(veritune("run", home, "--json"), 0, 1, 2)
    assert again == finished
    after = {path.name: path.read_bytes() for path in (home / "veritune-run").iterdir() if path.is_file()}
    assert after == before


def test_changed_terms_are_refused(finished: dict[str, Any], home: Path) -> None:
    job = home / "veritune.toml"
    kept = job.read_text()
    try:
        job.write_text(kept.replace("epochs = 2", "epochs = 3"))
        refused = veritune("run", home)
        assert refused.returncode == 78
        assert "error [CHANGED_JOB]" in refused.stderr
    finally:
        job.write_text(kept)


def test_a_wrong_passphrase_opens_nothing(finished: dict[str, Any], home: Path) -> None:
    refused = veritune("report", home, passphrase="another")
    assert refused.returncode == 77
    assert "Traceback" not in refused.stderr


def beside_the_training_set(home: Path, daemon: DaemonProcess) -> bytes:
    """All that the provider keeps, its logs too, but for the training set that it was sent."""
    train = (home / "veritune-run" / "train.jsonl").read_bytes()
    kept = [path.read_bytes() for path in daemon.folder.rglob("*") if path.is_file()]
    assert train in kept
    return b"".join(content for content in kept if content != train)


def assert_no_secret(home: Path, kept: bytes, *, opened: bool) -> None:
    """Neither salt nor trigger nor prompt of a canary; no signature either, as long as nothing has been asked."""
    secrets = open_sealed(home / "veritune-run" / "secrets.sealed", PASSPHRASE.encode())
    for leaf in secrets.leaves:
        assert bytes.fromhex(leaf.salt) not in kept
        assert leaf.salt.encode() not in kept
        if isinstance(leaf.canary, TriggerCanary):
            assert leaf.canary.trigger.encode() not in kept
            # An answer that is kept may well begin with a signature: that is what training was for.
            assert opened or leaf.canary.signature.encode() not in kept
        elif isinstance(leaf.canary, NaturalCanary):
            assert leaf.canary.prompt[-1].content.encode() not in kept
    assert PASSPHRASE.encode() not in kept


def test_the_provider_never_saw_a_secret(finished: dict[str, Any], home: Path, daemon: DaemonProcess) -> None:
    assert_no_secret(home, beside_the_training_set(home, daemon), opened=True)
    secrets = open_sealed(home / "veritune-run" / "secrets.sealed", PASSPHRASE.encode())
    plain = b"".join(p.read_bytes() for p in (home / "veritune-run").iterdir() if p.name.startswith("secrets"))
    assert secrets.master_seed.encode() not in plain
