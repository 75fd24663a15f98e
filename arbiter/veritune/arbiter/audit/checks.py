"""What the audit's modules share: how a numbered check fails, and what the signed documents said."""

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
    """The signed documents on which the later checks rest, once checks (1) to (7) have passed."""

    contract: Signed[Manifest]
    training: Signed[TrainingReceipt]
    provider: PublicKey

    @property
    def manifest(self) -> Manifest:
        """The contract's terms."""
        return self.contract.document


def require(check: int, holds: bool, message: str) -> None:
    """Raises `AuditError` of this check unless it holds."""
    if not holds:
        raise AuditError(check, message)


@contextmanager
def failing(check: int) -> Iterator[None]:
    """Every error of a peer's data inside becomes an `AuditError` of this check; one with a number keeps it."""
    try:
        yield
    except AuditError:
        raise
    except VerituneError as error:
        raise AuditError(check, error.message) from error
