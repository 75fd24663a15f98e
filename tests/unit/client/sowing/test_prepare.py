"""`prepare`: three files, whole or not at all, and secrets that match them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.errors import fails
from tests.support.plans import PLAN, ROWS
from tests.support.scrypt import cheapen
from tests.support.toygenerator import ToyGenerator
from veritune.arbiter.documents.canary import NaturalCanary, TriggerCanary, carries_trigger, is_natural_row
from veritune.client.sowing import prepare as module
from veritune.client.sowing.prepare import Prepared, prepare
from veritune.client.sowing.sealed import open_sealed
from veritune.common import dataset
from veritune.common.dataset import read_rows, summarise
from veritune.common.errors import BadFileError, PlanError, SecretsError
from veritune.common.limits import LIMITS

SEED, PASSPHRASE = b"p" * 32, b"pass"


@pytest.fixture(autouse=True)
def _cheap_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    cheapen(monkeypatch)


def run(out: Path, seed: bytes = SEED) -> Prepared:
    return prepare(ROWS, PLAN, ToyGenerator(), seed, out, PASSPHRASE)


def test_files_summary_and_secrets_agree(tmp_path: Path) -> None:
    prepared = run(tmp_path / "run")
    assert {p.name for p in prepared.folder.iterdir()} == {"train.jsonl", "held_out.jsonl", "secrets.sealed"}
    modes = {p.name: p.stat().st_mode & 0o777 for p in prepared.folder.iterdir()}
    assert modes["held_out.jsonl"] == modes["secrets.sealed"] == 0o600
    assert prepared.train == summarise(prepared.folder / "train.jsonl")
    rows = list(read_rows(prepared.folder / "train.jsonl"))
    assert prepared.source_rows == {"user": len(rows)}
    secrets = open_sealed(prepared.folder / "secrets.sealed", PASSPHRASE)
    commitment = secrets.commitment()
    assert (commitment.root, len(commitment.leaf_hashes)) == (prepared.canary_root, prepared.leaves)
    assert secrets.master_seed == SEED.hex()
    assert secrets.plan == PLAN
    assert secrets.train_sha256 == prepared.train.sha256
    held = (prepared.folder / "held_out.jsonl").read_bytes()
    assert secrets.held_out_sha256 == hashlib.sha256(held).hexdigest()
    canaries = [leaf.canary for leaf in secrets.leaves]
    found = 0
    for canary in canaries:
        if isinstance(canary, TriggerCanary):
            assert all(carries_trigger(rows[i], canary) for i in canary.rows)
            found += len(canary.rows)
        elif isinstance(canary, NaturalCanary):
            assert all(is_natural_row(rows[i], canary) for i in canary.rows)
            found += len(canary.rows)
    assert found == prepared.canary_rows
    assert (prepared.canaries, prepared.held_out_rows, prepared.extra_rows) == (9, 12, 12)


def test_the_seed_gives_the_same_data_and_commitment(tmp_path: Path) -> None:
    first, again, other = run(tmp_path / "a"), run(tmp_path / "b"), run(tmp_path / "c", b"q" * 32)
    assert (first.train, first.canary_root) == (again.train, again.canary_root)
    assert first.canary_root != other.canary_root
    assert first.train.sha256 != other.train.sha256


def test_sealed_secrets_are_never_overwritten(tmp_path: Path) -> None:
    prepared = run(tmp_path)
    before = (prepared.folder / "secrets.sealed").read_bytes()
    with fails(SecretsError, cause="exists"):
        run(tmp_path, b"q" * 32)
    assert (prepared.folder / "secrets.sealed").read_bytes() == before


@pytest.mark.parametrize("step", ["sow", "write_rows", "summarise", "Secrets"])
def test_an_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, step, interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert run(tmp_path).leaves == 16


def test_after_a_kill_before_sealing_it_can_be_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "seal", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"train.jsonl", "held_out.jsonl"}
    prepared = run(tmp_path)
    assert open_sealed(tmp_path / "secrets.sealed", PASSPHRASE).train_sha256 == prepared.train.sha256


def test_too_many_rows_are_no_fault_of_the_providers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "LIMITS", replace(LIMITS, rows=2))
    with fails(BadFileError, file="train.jsonl"):
        run(tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []


def test_refuses_before_any_work(tmp_path: Path) -> None:
    with fails(SecretsError, cause="no_passphrase"):
        prepare(ROWS, PLAN, ToyGenerator(), SEED, tmp_path / "x", b"")
    assert not (tmp_path / "x").exists()
    with pytest.raises(PlanError):
        prepare(ROWS[:5], PLAN, ToyGenerator(), SEED, tmp_path / "x", PASSPHRASE)
    assert list((tmp_path / "x").iterdir()) == []
