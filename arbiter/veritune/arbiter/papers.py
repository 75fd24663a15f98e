"""The manifest: built from a job and what was prepared, offered, and checked when it comes back countersigned."""

from __future__ import annotations

from veritune.common.documents.manifest import (
    KeyRef,
    Manifest,
)
from veritune.common.documents.receipts import DatasetReceipt, FailureReceipt, TrainingReceipt
from veritune.common.envelope import Envelope
from veritune.common.errors import DigestError, ExpiredError, MalformedDocumentError, SignatureError
from veritune.common.keys import PublicKey
from veritune.common.limits import LIMITS
from veritune.common.model.files import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from veritune.common.signing import Signed, open_document
from veritune.common.timestamps import parse_time

_PLAIN_SUFFIXES = (".json", ".safetensors", ".md", ".txt", ".jinja")


def key_ref(key: PublicKey) -> KeyRef:
    """A key as a manifest carries it."""
    return KeyRef(key_id=key.key_id, public_key=key.text)


def open_contract(envelope: Envelope, client: PublicKey, provider: PublicKey) -> Signed[Manifest]:
    """The manifest, once exactly both parties have signed it and it names exactly their keys."""
    contract = open_document(Manifest, envelope, client, provider)
    if contract.document.client != key_ref(client) or contract.document.provider != key_ref(provider):
        raise SignatureError("the contract names other keys than those that signed it")
    return contract


def check_countersigned(offer: Envelope, answer: Envelope, client: PublicKey, provider: PublicKey) -> Signed[Manifest]:
    """The contract in force: the very bytes that were offered, signed by both.

    Raises `SignatureError` or `DigestError`.
    """
    if answer.payload != offer.payload:
        raise DigestError("the provider countersigned other terms than those that were offered")
    return open_contract(answer, client, provider)


def check_dataset_receipt(
    envelope: Envelope, contract: Signed[Manifest], provider: PublicKey
) -> Signed[DatasetReceipt]:
    """The receipt, once it says that the provider received exactly the contract's data set.

    Raises `SignatureError`, `DigestError` or `ExpiredError`.
    """
    signed = open_document(DatasetReceipt, envelope, provider)
    manifest, receipt = contract.document, signed.document
    if receipt.manifest_digest != contract.digest:
        raise DigestError("the dataset receipt belongs to another contract")
    terms = manifest.dataset
    figures = (receipt.rows, receipt.size, receipt.sha256, receipt.merkle_root)
    if figures != (terms.rows, terms.size, terms.sha256, terms.merkle_root):
        raise DigestError("the dataset receipt names other figures than the contract")
    _check_time("dataset receipt", receipt.received, manifest.deadlines.train)
    return signed


def check_training_receipt(
    envelope: Envelope, contract: Signed[Manifest], dataset_receipt: Signed[DatasetReceipt], job_id: str, key: PublicKey
) -> Signed[TrainingReceipt]:
    """The receipt, once its chain, its figures and its files make sense.

    Raises `SignatureError`, `DigestError` (another job's receipt), `MalformedDocumentError` (figures or files that
    can't be true) or `ExpiredError`.
    """
    signed = open_document(TrainingReceipt, envelope, key)
    manifest, receipt = contract.document, signed.document
    _check_chain(receipt, contract, dataset_receipt, job_id)
    terms, recipe = manifest.dataset, manifest.training
    if receipt.rows_trained + receipt.rows_dropped != terms.rows or receipt.rows_cut > receipt.rows_trained:
        raise MalformedDocumentError("the training receipt accounts for another number of rows than the contract's")
    if not 0 < receipt.steps <= recipe.epochs * terms.rows or receipt.label_tokens > receipt.tokens:
        raise MalformedDocumentError("the training receipt's steps or tokens can't be true")
    steps = [checkpoint.step for checkpoint in receipt.checkpoints]
    if steps != sorted(set(steps)) or any(step > receipt.steps for step in steps):
        raise MalformedDocumentError("the training receipt's checkpoints are out of order")
    if parse_time(receipt.started) > parse_time(receipt.finished):
        raise MalformedDocumentError("the training receipt ends before it starts")
    _check_time("training receipt", receipt.finished, manifest.deadlines.train)
    _check_files(receipt)
    return signed


def check_failure_receipt(
    envelope: Envelope, contract: Signed[Manifest], dataset_receipt: Signed[DatasetReceipt], job_id: str, key: PublicKey
) -> Signed[FailureReceipt]:
    """The provider's signed word that a job ended without an adapter."""
    signed = open_document(FailureReceipt, envelope, key)
    _check_chain(signed.document, contract, dataset_receipt, job_id)
    return signed


def _check_chain(
    receipt: TrainingReceipt | FailureReceipt,
    contract: Signed[Manifest],
    dataset_receipt: Signed[DatasetReceipt],
    job_id: str,
) -> None:
    if receipt.manifest_digest != contract.digest:
        raise DigestError("the receipt belongs to another contract")
    if receipt.dataset_receipt_digest != dataset_receipt.digest:
        raise DigestError("the receipt names another dataset receipt")
    if receipt.job_id != job_id:
        raise DigestError("the receipt belongs to another job")


def _check_files(receipt: TrainingReceipt) -> None:
    names = [item.name for item in receipt.adapter]
    if len(set(names)) != len(names) or len({name.lower() for name in names}) != len(names):
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
