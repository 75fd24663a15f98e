"""The objects that all steps of a run share: job, folder, keys, signed documents and models, loaded on first use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from veritune.client.job.file import Job
from veritune.client.progress import Progress
from veritune.client.workspace.folder import Workspace
from veritune.client.workspace.papers import Paperwork, check_files, load_private_key
from veritune.common.errors import WrongFileError
from veritune.common.keys import PrivateKey, PublicKey
from veritune.common.model.files import model_digest

# torch and gRPC are imported where they are used, so that a step loads only its own.
if TYPE_CHECKING:
    from veritune.arbiter.measure.local_model import LocalModel
    from veritune.client.exchange.provider_client import JobView


class Keys:
    """The keys that a job names, and the user's passphrase, which is asked for at most once."""

    def __init__(self, job: Job, passphrase: bytes | Callable[[], bytes]) -> None:
        self._job, self._passphrase = job, passphrase

    @cached_property
    def passphrase(self) -> bytes:
        """The passphrase that seals the secrets and decrypts the client's key if that is encrypted."""
        asked = self._passphrase
        return asked() if callable(asked) else asked

    @cached_property
    def client(self) -> PrivateKey:
        """The user's private key. Raises `KeyFileError`."""
        return load_private_key(self._job.client_key, lambda: self.passphrase)

    @cached_property
    def provider(self) -> PublicKey:
        """The provider's pinned public key. Raises `KeyFileError`."""
        return PublicKey.load(self._job.provider_key)


class Models:
    """The base model that the contract names, loaded once, and the delivered adapter on it."""

    def __init__(self, job: Job, workspace: Workspace, papers: Paperwork, progress: Progress) -> None:
        self._job, self._workspace, self._papers, self._progress = job, workspace, papers, progress

    @cached_property
    def base(self) -> LocalModel:
        """The base model; after `tuned` was used, the adapter is attached to it.

        Raises `WrongFileError` for a model with another digest than the contract's, `ModelFolderError` for one that
        can't be loaded, `StepError` before there is a contract.
        """
        from veritune.arbiter.measure.local_model import LocalModel

        if model_digest(self._job.model) != self._papers.contract().document.base_model.digest:
            raise WrongFileError(f"{self._job.model} is not the base model that the contract names", what="model")
        self._progress("load base model", 0, 0)
        return LocalModel(self._job.model, self._job.file.challenge.precision)

    @cached_property
    def tuned(self) -> LocalModel:
        """The base model with the adapter attached.

        Raises `WrongFileError` for other files than the training receipt names, `MalformedDocumentError` or
        `TooLargeError` for an adapter that isn't the contract's LoRA, and what `base` raises.
        """
        check_files(self._workspace.adapter, self._papers.training_receipt().document)
        self.base.attach(self._workspace.adapter, self._papers.contract().document.training)
        return self.base


@dataclass(frozen=True)
class RunContext:
    """The job, folder, keys and callbacks of one run: the first argument of all `veritune.client.run.steps`."""

    job: Job
    workspace: Workspace
    keys: Keys
    progress: Progress
    on_training: Callable[[JobView], None]
    """A callback that gets the provider's figures whenever the training job changes."""
    now: Callable[[], datetime]

    @cached_property
    def papers(self) -> Paperwork:
        """The contract and receipts in this run's folder. Raises `KeyFileError`."""
        return Paperwork(self.workspace, self.keys.client.public, self.keys.provider)

    @cached_property
    def models(self) -> Models:
        """The base model and adapter, loaded on this machine. Raises `KeyFileError`."""
        return Models(self.job, self.workspace, self.papers, self.progress)
