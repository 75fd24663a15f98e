"""The client's secrets on disk: one document encrypted with a passphrase; its plaintext is never written.

The file is MAGIC || salt (16) || nonce (12) || ciphertext. The key is scrypt(passphrase, salt; N = 2**17, r = 8,
p = 1) (RFC 7914), the cipher AES-256-GCM with everything before the ciphertext as associated data. The magic names
the version and so the parameters: a tampered file can't make the reader use more memory or a weaker derivation.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from pydantic import Field, ValidationError

from veritune.arbiter.documents.canary import AnyGenerator, Chat
from veritune.client.job.canary_plan import CanaryPlan
from veritune.client.sowing.commitment import Commitment, SecretLeaf, commit_to
from veritune.common.canonical import parse_canonical
from veritune.common.documents.base import Document, HexDigest
from veritune.common.errors import BadFileError, SecretsError, VerituneError
from veritune.common.files import read_limited, write_atomic
from veritune.common.limits import LIMITS

MAGIC = b"veritune-secrets-v1\n"
_SALT, _NONCE, _TAG = 16, 12, 16
_HEADER = len(MAGIC) + _SALT + _NONCE


class Secrets(Document):
    """All that the client must keep secret until it opens its canaries: seed, canaries with their salts, decoys."""

    version: Literal[1] = 1
    master_seed: HexDigest
    plan: CanaryPlan
    generators: Annotated[tuple[AnyGenerator, ...], Field(max_length=16)]
    leaves: Annotated[tuple[SecretLeaf, ...], Field(min_length=2, max_length=LIMITS.leaves)]
    """The leaves of the canary tree in leaf order, padding included."""
    decoys: Annotated[tuple[Chat, ...], Field(max_length=4096)]
    """Held-out prompts that are asked without a trigger."""
    train_sha256: HexDigest
    held_out_sha256: HexDigest

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The secrets in canonical bytes, at most `LIMITS.evidence` of them.

        Raises `SecretsError` for another document, `MalformedDocumentError` or `TooLargeError` for other bytes.
        """
        parse_canonical(data, LIMITS.evidence)
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            # The validator's own message would show secrets.
            raise SecretsError("the sealed file holds no secrets of this version", cause="contents") from error

    def commitment(self) -> Commitment:
        """The commitment to these leaves. Each call hashes the whole tree, so call it once and pass the result on."""
        return commit_to(self.leaves)


def seal(secrets: Secrets, passphrase: bytes, path: Path) -> None:
    """Encrypts ``secrets`` into the file ``path``, mode 0600, which appears whole or not at all.

    Raises `SecretsError` for an unfit passphrase or secrets over `LIMITS.evidence` bytes.
    """
    check_passphrase(passphrase)
    plain = secrets.to_bytes()
    if len(plain) > LIMITS.evidence:
        raise SecretsError(
            f"{len(plain)} bytes of secrets are over {LIMITS.evidence}; lower canaries.naturals", cause="size"
        )
    header = MAGIC + os.urandom(_SALT) + os.urandom(_NONCE)
    write_atomic(path, header + _cipher(header, passphrase).encrypt(_nonce(header), plain, header))


def check_passphrase(passphrase: bytes) -> None:
    """Raises `SecretsError` for an empty passphrase and one with NUL.

    HMAC in scrypt pads with NUL, so ``x`` would open what ``x\\0`` sealed.
    """
    if not passphrase or b"\x00" in passphrase:
        raise SecretsError(
            "a passphrase of at least one character, none of them NUL, is needed for the secrets", cause="no_passphrase"
        )


def open_sealed(path: Path, passphrase: bytes) -> Secrets:
    """The secrets in a sealed file.

    Raises `SecretsError` for a wrong passphrase, a file that can't be read or one that was changed in any byte.
    """
    check_passphrase(passphrase)
    data = _read(path)
    header = data[:_HEADER]
    try:
        plain = _cipher(header, passphrase).decrypt(_nonce(header), data[_HEADER:], header)
    except InvalidTag as error:
        raise SecretsError(
            f"{path.name}: the passphrase is wrong, or the file was changed", cause="wrong_passphrase"
        ) from error
    try:
        return Secrets.from_bytes(plain)
    except VerituneError as error:
        raise SecretsError(f"{path.name} holds no secrets of this version", cause="contents") from error


def _read(path: Path) -> bytes:
    try:
        data = read_limited(path, LIMITS.evidence + _HEADER + _TAG)
    except OSError as error:
        raise SecretsError(f"can't read {path.name}: {error.strerror}", cause="unreadable") from error
    except BadFileError as error:
        raise SecretsError(f"{path.name} is too large for a sealed file", cause="size") from error
    if not data.startswith(MAGIC) or len(data) < _HEADER + _TAG:
        raise SecretsError(f"{path.name} is no sealed file of this version, or it was cut short", cause="form")
    return data


def _cipher(header: bytes, passphrase: bytes) -> AESGCM:
    salt = header[len(MAGIC) : len(MAGIC) + _SALT]
    return AESGCM(Scrypt(salt=salt, length=32, n=2**17, r=8, p=1).derive(passphrase))


def _nonce(header: bytes) -> bytes:
    return header[-_NONCE:]
