"""Checks of contract and receipts: each document alone, and against the ones before it (SPEC section 8).

Each rule is written once. The audit makes its checks (4) to (7) by the ``open_`` functions and `check_times`; a client
that receives a document calls a ``receive_`` function, which is made of these; the provider checks its own training
receipts by `check_training` before it signs. Signatures come first: no byte of a document is read before they verify.

Functions that return a document raise `SignatureError`, `DigestError` (a document that belongs to others),
`MalformedDocumentError` (figures that can't be true), `TooLargeError` and, where times are checked, `ExpiredError`.
"""

from __future__ import annotations

from typing import Protocol

from veritune.common.documents.base import parse_time
from veritune.common.documents.manifest import DatasetTerms, Deadlines, KeyRef, Manifest
from veritune.common.documents.receipts import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    DatasetReceipt,
    FailureReceipt,
    TrainingReceipt,
)
from veritune.common.envelope import Envelope
from veritune.common.errors import DigestError, ExpiredError, MalformedDocumentError, SignatureError
from veritune.common.keys import PublicKey
from veritune.common.limits import LIMITS
from veritune.common.signing import Signed, open_document

_PLAIN_SUFFIXES = (".json", ".safetensors", ".md", ".txt", ".jinja")


class DatasetFigures(Protocol):
    """The figures that identify a data set, whether from a receipt, a contract or the file itself."""

    @property
    def rows(self) -> int:
        """Number of rows, canaries included."""

    @property
    def size(self) -> int:
        """Size of the file in bytes."""

    @property
    def sha256(self) -> str:
        """SHA-256 of the file, hexadecimal."""

    @property
    def merkle_root(self) -> str:
        """RFC 9162 root over the rows, hexadecimal."""


def key_ref(key: PublicKey) -> KeyRef:
    """A public key in the form in which a manifest carries it."""
    return KeyRef(key_id=key.key_id, public_key=key.text)


def is_dataset(found: DatasetFigures, terms: DatasetTerms) -> bool:
    """True where these figures name the contract's data set: rows, bytes, SHA-256 and Merkle root."""
    figures = (found.rows, found.size, found.sha256, found.merkle_root)
    return figures == (terms.rows, terms.size, terms.sha256, terms.merkle_root)


def are_in_order(deadlines: Deadlines) -> bool:
    """True where the contract's deadlines follow each other. Raises `MalformedDocumentError`."""
    steps = (deadlines.created, deadlines.accept, deadlines.train, deadlines.challenge, deadlines.reveal)
    times = [parse_time(step) for step in steps]
    return times == sorted(times)


def open_contract(envelope: Envelope, client: PublicKey, provider: PublicKey) -> Signed[Manifest]:
    """The contract, once exactly two different parties have signed it and it names exactly their keys."""
    if client.key_id == provider.key_id:
        raise SignatureError("client and provider are one and the same key", cause="same_key")
    contract = open_document(Manifest, envelope, client, provider)
    named = (contract.document.client, contract.document.provider)
    if named != (key_ref(client), key_ref(provider)):
        raise SignatureError("the contract names other keys than those that signed it", cause="signers")
    return contract


def check_countersigned(offer: Envelope, answer: Envelope, client: PublicKey, provider: PublicKey) -> Signed[Manifest]:
    """The contract in force, once ``answer`` has the very bytes of ``offer`` and both parties' signatures."""
    if answer.payload != offer.payload:
        raise DigestError("the provider countersigned other terms than those that were offered", point="terms")
    return open_contract(answer, client, provider)


def open_dataset_receipt(envelope: Envelope, contract: Signed[Manifest], provider: PublicKey) -> Signed[DatasetReceipt]:
    """The dataset receipt, once it says that the provider received exactly the contract's data set."""
    receipt = open_document(DatasetReceipt, envelope, provider)
    if receipt.document.manifest_digest != contract.digest:
        raise DigestError("the dataset receipt belongs to another contract", point="contract")
    if not is_dataset(receipt.document, contract.document.dataset):
        raise DigestError("the dataset receipt names other figures than the contract", point="figures")
    return receipt


def open_training_receipt(
    envelope: Envelope, contract: Signed[Manifest], dataset_receipt: Signed[DatasetReceipt], provider: PublicKey
) -> Signed[TrainingReceipt]:
    """The training receipt, once it names the two documents before it and its figures and files can be true."""
    receipt = open_document(TrainingReceipt, envelope, provider)
    _check_chain(receipt.document, contract.digest, dataset_receipt.digest)
    check_training(receipt.document, contract.document)
    return receipt


def receive_dataset_receipt(
    envelope: Envelope, contract: Signed[Manifest], provider: PublicKey
) -> Signed[DatasetReceipt]:
    """The dataset receipt as a client accepts it: `open_dataset_receipt`, and the contract's deadline was kept."""
    receipt = open_dataset_receipt(envelope, contract, provider)
    check_times(contract.document, receipt.document)
    return receipt


def receive_training_receipt(
    envelope: Envelope,
    contract: Signed[Manifest],
    dataset_receipt: Signed[DatasetReceipt],
    job_id: str,
    provider: PublicKey,
) -> Signed[TrainingReceipt]:
    """The training receipt as a client accepts it: `open_training_receipt`, in time, for the job that was started."""
    receipt = open_training_receipt(envelope, contract, dataset_receipt, provider)
    _check_job(receipt.document, job_id)
    check_times(contract.document, dataset_receipt.document, receipt.document)
    return receipt


def receive_failure_receipt(
    envelope: Envelope,
    contract: Signed[Manifest],
    dataset_receipt: Signed[DatasetReceipt],
    job_id: str,
    provider: PublicKey,
) -> Signed[FailureReceipt]:
    """The failure receipt, once it names the two documents before it and the job that was started."""
    receipt = open_document(FailureReceipt, envelope, provider)
    _check_chain(receipt.document, contract.digest, dataset_receipt.digest)
    _check_job(receipt.document, job_id)
    return receipt


def check_training(receipt: TrainingReceipt, manifest: Manifest) -> None:
    """Raises `MalformedDocumentError` if the receipt's figures or files can't be true under this contract."""
    terms, recipe = manifest.dataset, manifest.training
    if receipt.rows_trained + receipt.rows_dropped != terms.rows or receipt.rows_cut > receipt.rows_trained:
        raise MalformedDocumentError("the training receipt accounts for another number of rows than the contract's")
    if not 0 < receipt.steps <= recipe.epochs * terms.rows or receipt.label_tokens > receipt.tokens:
        raise MalformedDocumentError("the training receipt's steps or tokens can't be true")
    steps = [checkpoint.step for checkpoint in receipt.checkpoints]
    if steps != sorted(set(steps)) or any(step > receipt.steps for step in steps):
        raise MalformedDocumentError("the training receipt's checkpoints are out of order")
    _check_files(receipt)


def check_times(manifest: Manifest, dataset: DatasetReceipt, training: TrainingReceipt | None = None) -> None:
    """Raises `MalformedDocumentError` if deadlines or receipts are out of order, `ExpiredError` if a receipt came late.

    ``training`` is None as long as there is no training receipt.
    """
    if not are_in_order(manifest.deadlines):
        raise MalformedDocumentError("the contract's deadlines are out of order")
    _check_time("dataset receipt", dataset.received, manifest.deadlines.train)
    if training is None:
        return
    received, started, finished = map(parse_time, (dataset.received, training.started, training.finished))
    if not received <= started <= finished:
        raise MalformedDocumentError("the provider's receipts are out of order")
    _check_time("training receipt", training.finished, manifest.deadlines.train)


def _check_chain(receipt: TrainingReceipt | FailureReceipt, manifest_digest: str, dataset_receipt_digest: str) -> None:
    if receipt.manifest_digest != manifest_digest:
        raise DigestError("the receipt belongs to another contract", point="contract")
    if receipt.dataset_receipt_digest != dataset_receipt_digest:
        raise DigestError("the receipt names another dataset receipt", point="dataset_receipt")


def _check_job(receipt: TrainingReceipt | FailureReceipt, job_id: str) -> None:
    if receipt.job_id != job_id:
        raise DigestError("the receipt belongs to another job", point="job")


def _check_files(receipt: TrainingReceipt) -> None:
    names = [item.name for item in receipt.adapter]
    if len({name.lower() for name in names}) != len(names):
        raise MalformedDocumentError("the training receipt names a file twice")
    if not {ADAPTER_WEIGHTS, ADAPTER_CONFIG} <= set(names):
        raise MalformedDocumentError(f"the training receipt lacks {ADAPTER_WEIGHTS} or {ADAPTER_CONFIG}")
    # The names' pattern has no path separators; pickles and code are refused before a byte is fetched.
    if odd := [name for name in names if not name.endswith(_PLAIN_SUFFIXES)]:
        raise MalformedDocumentError(f"the adapter has a file of a kind that is not accepted: {odd[0]}")
    if sum(item.size for item in receipt.adapter) > LIMITS.artifact:
        raise MalformedDocumentError("the adapter is larger than the limit")


def _check_time(what: str, moment: str, deadline: str) -> None:
    if parse_time(moment) > parse_time(deadline):
        raise ExpiredError(f"the {what} is dated after the contract's deadline {deadline}")
