"""Shared by the audit's modules: how a numbered check fails, and the signed documents that later checks need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from veritune.common.documents.manifest import Manifest
from veritune.common.documents.receipts import TrainingReceipt
from veritune.common.errors import AuditError, VerituneError
from veritune.common.keys import PublicKey
from veritune.common.signing import Signed


@dataclass(frozen=True)
class Agreed:
    """The verified contract and training receipt with the provider's key, after checks (1) to (7) have passed."""

    contract: Signed[Manifest]
    training: Signed[TrainingReceipt]
    provider: PublicKey

    @property
    def manifest(self) -> Manifest:
        """The contract's terms, without their envelope."""
        return self.contract.document


def require(check: int, holds: bool, message: str) -> None:
    """Raises `AuditError` with the number ``check`` unless ``holds``."""
    if not holds:
        raise AuditError(check, message)


@contextmanager
def failing(check: int) -> Iterator[None]:
    """Turns a `VerituneError` raised inside into an `AuditError` with the number ``check``; an `AuditError` stays."""
    try:
        yield
    except AuditError:
        raise
    except VerituneError as error:
        raise AuditError(check, error.message) from error
