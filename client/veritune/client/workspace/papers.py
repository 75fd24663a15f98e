"""Reading the signed documents of one run; each is verified before it is used."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Generic

from veritune.arbiter.papers import (
    open_contract,
    receive_dataset_receipt,
    receive_training_receipt,
)
from veritune.client.workspace.folder import Workspace
from veritune.common.documents.base import parse_time
from veritune.common.documents.manifest import Manifest
from veritune.common.documents.receipts import DatasetReceipt, TrainingReceipt
from veritune.common.envelope import Envelope
from veritune.common.errors import BadFileError, LateError, VerituneError, WrongFileError
from veritune.common.files import own_file, read_limited
from veritune.common.keys import PrivateKey, PublicKey
from veritune.common.limits import LIMITS
from veritune.common.model.files import folder_files
from veritune.common.signing import D, Signed, open_document


class _Verified(Generic[D]):
    """A cache of one document: the one that was verified last, with the inputs of that verification."""

    def __init__(self) -> None:
        self._inputs: tuple[object, ...] = ()
        self._signed: Signed[D] | None = None

    def get(self, inputs: tuple[object, ...], check: Callable[[], Signed[D]]) -> Signed[D]:
        """The verified document; ``check`` is called only if the inputs differ from those of the last call."""
        if self._signed is None or self._inputs != inputs:
            self._signed, self._inputs = check(), inputs
        return self._signed


class Paperwork:
    """The contract and receipts in a run's folder, verified with the two pinned keys.

    Files are read at each call. A document is verified at the first call and after any file it depends on has changed.
    One that fails raises `BadFileError`: it was verified when it arrived, so it was changed on disk.
    """

    def __init__(self, workspace: Workspace, client: PublicKey, provider: PublicKey) -> None:
        self._workspace, self._client, self._provider = workspace, client, provider
        self._contract = _Verified[Manifest]()
        self._dataset_receipt = _Verified[DatasetReceipt]()
        self._training_receipt = _Verified[TrainingReceipt]()

    def contract(self) -> Signed[Manifest]:
        """The contract that both parties signed. Raises `StepError` if there is none yet, `BadFileError`."""
        envelope = self._workspace.load_envelope(self._workspace.contract, "negotiate")
        with own_file(self._workspace.contract):
            return self._contract.get((envelope,), lambda: open_contract(envelope, self._client, self._provider))

    def dataset_receipt(self) -> Signed[DatasetReceipt]:
        """The provider's receipt for the data set. Raises `StepError` if there is none yet, `BadFileError`."""
        contract = self.contract()
        envelope = self._workspace.load_envelope(self._workspace.dataset_receipt, "train")
        with own_file(self._workspace.dataset_receipt):
            return self._dataset_receipt.get(
                (envelope, contract), lambda: receive_dataset_receipt(envelope, contract, self._provider)
            )

    def training_receipt(self) -> Signed[TrainingReceipt]:
        """The provider's receipt for the adapter. Raises `StepError` if there is none yet, `BadFileError`."""
        contract = self.contract()
        envelope = self._workspace.load_envelope(self._workspace.training_receipt, "train")
        job_id = read_limited(self._workspace.require(self._workspace.job_id, "train"), 1000).decode("ascii", "replace")
        data = self.dataset_receipt()
        with own_file(self._workspace.training_receipt):
            return self._training_receipt.get(
                (envelope, contract, data, job_id),
                lambda: receive_training_receipt(envelope, contract, data, job_id, self._provider),
            )

    def usable_offer(self, fresh: Manifest, now: datetime) -> Envelope | None:
        """The signed offer on disk, if it has the terms of ``fresh`` and can still be accepted; else None.

        Deadlines are not compared, since ``fresh`` was made later.
        """
        if not self._workspace.offer.exists():
            return None
        try:
            envelope = self._workspace.load_envelope(self._workspace.offer, "negotiate")
            old = open_document(Manifest, envelope, self._client).document
        except VerituneError:
            # An offer that can't be read is replaced: it has not led to a contract.
            return None
        same = fresh.model_copy(update={"deadlines": old.deadlines}) == old
        return envelope if same and now < parse_time(old.deadlines.accept) else None


def require_before(now: datetime, deadline: str, what: str) -> None:
    """Raises `LateError` if a deadline of the contract has passed; ``what`` names it in the message."""
    if now > parse_time(deadline):
        raise LateError(f"the contract's deadline for the {what}, {deadline}, has passed")


def load_private_key(path: Path, passphrase: Callable[[], bytes]) -> PrivateKey:
    """The private key in a file; ``passphrase`` is called only if it is encrypted. Raises `KeyFileError`."""
    try:
        encrypted = b"ENCRYPTED" in read_limited(path, LIMITS.key_file)
    except (OSError, BadFileError):
        encrypted = False  # loading says what is wrong with the file
    return PrivateKey.load(path, passphrase() if encrypted else None)


def check_files(folder: Path, receipt: TrainingReceipt) -> None:
    """Raises `WrongFileError` unless the folder has exactly the files that the receipt names, by size and digest."""
    if not folder.is_dir() or set(folder_files(folder)) != set(receipt.adapter):
        raise WrongFileError(
            "the adapter on disk is not the one that the training receipt names; run the step 'train'",
            what="adapter",
            step="train",
        )
