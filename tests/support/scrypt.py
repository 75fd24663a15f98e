"""The key of a sealed file without the work that makes guessing dear: half a second and 128 MiB a time."""

from __future__ import annotations

import hashlib

import pytest

from veritune.client.sowing import sealed


class CheapScrypt:
    """Another key for any other salt or passphrase, as from the real one, whose parameters it insists on."""

    def __init__(self, *, salt: bytes, length: int, n: int, r: int, p: int) -> None:
        assert (length, n, r, p) == (32, 2**17, 8, 1)
        self._salt = salt

    def derive(self, passphrase: bytes) -> bytes:
        return hashlib.sha256(hashlib.sha256(self._salt).digest() + passphrase).digest()


def cheapen(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of what goes into a sealed file; sealing itself has tests of its own, with the real function."""
    monkeypatch.setattr(sealed, "Scrypt", CheapScrypt)
