"""Contract and receipts on disk: verified the first time and again whenever a file has changed, and not in between."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.challenge_folder import Table, exchange, lay
from tests.support.errors import fails
from veritune.client.workspace import papers
from veritune.client.workspace.papers import Paperwork, load_private_key
from veritune.common.errors import BadFileError, DigestError, KeyFileError, SignatureError
from veritune.common.keys import PrivateKey
from veritune.common.limits import LIMITS

CHECKS = ("open_contract", "receive_dataset_receipt", "receive_training_receipt")


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return lay(tmp_path, exchange())


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the checks that were made."""
    seen: list[str] = []

    def watched(name: str) -> None:
        check = getattr(papers, name)

        def note(*arguments: object) -> object:
            seen.append(name)
            return check(*arguments)

        monkeypatch.setattr(papers, name, note)

    for name in CHECKS:
        watched(name)
    return seen


def _paperwork(table: Table) -> Paperwork:
    return Paperwork(table.space, table.deal.client.public, table.deal.provider.public)


def test_every_document_is_verified_once(table: Table, verified: list[str]) -> None:
    paperwork = _paperwork(table)
    for _ in range(3):
        assert paperwork.contract().document == table.deal.manifest
        assert paperwork.dataset_receipt().envelope == table.deal.signed_dataset_receipt
        assert paperwork.training_receipt().digest == table.deal.signed_training_receipt.digest
    assert sorted(verified) == sorted(CHECKS)


@pytest.mark.parametrize("name", ["contract", "dataset_receipt", "training_receipt"])
def test_a_changed_file_is_verified_again(table: Table, name: str) -> None:
    paperwork = _paperwork(table)
    kept = paperwork.training_receipt()
    path: Path = getattr(table.space, name)
    good = path.read_bytes()
    forged = json.loads(good)
    forged["signatures"][0]["sig"] = "AAAA"
    path.write_text(json.dumps(forged, separators=(",", ":"), sort_keys=True))
    for _ in range(2):
        with fails(BadFileError, cause="signature", file=path.name) as caught:
            paperwork.training_receipt()
        assert isinstance(caught.value.__cause__, SignatureError)
    path.write_bytes(good)
    assert paperwork.training_receipt() == kept


def test_a_receipt_is_verified_again_when_what_it_rests_on_has_changed(table: Table) -> None:
    paperwork = _paperwork(table)
    paperwork.training_receipt()
    table.space.job_id.write_text("another-job")
    with fails(BadFileError, point="job", file="training-receipt.json") as caught:
        paperwork.training_receipt()
    assert isinstance(caught.value.__cause__, DigestError)


def test_another_key_opens_nothing(table: Table) -> None:
    stranger = Paperwork(table.space, table.deal.client.public, PrivateKey.generate().public)
    with pytest.raises(BadFileError) as caught:
        stranger.contract()
    assert isinstance(caught.value.__cause__, SignatureError)


def test_a_file_that_is_too_large_for_a_key_is_a_bad_key_file(tmp_path: Path) -> None:
    path = tmp_path / "client.key"
    path.write_bytes(b" " * (LIMITS.key_file + 1))
    with fails(KeyFileError, cause="size"):
        load_private_key(path, lambda: pytest.fail("no passphrase is needed"))
