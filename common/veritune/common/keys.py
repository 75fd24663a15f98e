"""ECDSA P-256 keys: PEM files of mode 0600, optional passphrase, key ids (SPEC section 5.1)."""

from __future__ import annotations

import base64
import binascii
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from veritune.common.canonical import sha256_hex
from veritune.common.errors import BadFileError, KeyFileError, MalformedDocumentError
from veritune.common.files import read_limited
from veritune.common.limits import LIMITS


@dataclass(frozen=True)
class PublicKey:
    """An ECDSA P-256 public key, held as its SubjectPublicKeyInfo (DER)."""

    der: bytes

    @property
    def key_id(self) -> str:
        """SHA-256 of the DER, hexadecimal."""
        return sha256_hex(self.der)

    @property
    def text(self) -> str:
        """The DER as standard base64, the form in which a manifest carries it."""
        return base64.b64encode(self.der).decode("ascii")

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """True if ``signature`` (DER) is one by this key over ``message`` with SHA-256."""
        try:
            _load_der(self.der).verify(signature, message, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True

    @classmethod
    def from_text(cls, text: str) -> PublicKey:
        """The key in the form of `text`. Raises `MalformedDocumentError` for any other encoding."""
        try:
            der = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise MalformedDocumentError("a public key is not base64") from error
        key = cls(_load_der(der).public_bytes(serialization.Encoding.DER, _SPKI))
        if key.text != text:
            raise MalformedDocumentError("a public key is not in its one DER encoding")
        return key

    @classmethod
    def load(cls, path: Path) -> PublicKey:
        """The key in a PEM file. Raises `KeyFileError`."""
        try:
            key = serialization.load_pem_public_key(_read(path))
        except (ValueError, UnsupportedAlgorithm) as error:
            raise KeyFileError(f"{path.name} is no PEM public key", cause="pem") from error
        return cls(_p256(key, path).public_bytes(serialization.Encoding.DER, _SPKI))

    def save(self, path: Path) -> None:
        """Writes a PEM file of mode 0644. Raises `KeyFileError` where the file exists."""
        pem = _load_der(self.der).public_bytes(serialization.Encoding.PEM, _SPKI)
        write_new(path, pem, 0o644)


class PrivateKey:
    """An ECDSA P-256 signing key; ``public`` is its public key."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        self.public = PublicKey(key.public_key().public_bytes(serialization.Encoding.DER, _SPKI))

    @classmethod
    def generate(cls) -> PrivateKey:
        """A new key from the operating system's randomness."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def load(cls, path: Path, passphrase: bytes | None = None) -> PrivateKey:
        """The key in a PKCS#8 PEM file. Raises `KeyFileError`, also where others may read the file."""
        data = _read(path)
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise KeyFileError(f"{path.name} is open to others; run chmod 600 on it", cause="mode")
        try:
            key = serialization.load_pem_private_key(data, passphrase)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise KeyFileError(
                f"{path.name} is no PEM private key, or the passphrase is wrong or missing", cause="pem"
            ) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise KeyFileError(f"{path.name} is not an ECDSA P-256 key", cause="kind")
        return cls(key)

    def save(self, path: Path, passphrase: bytes | None = None) -> None:
        """Writes PKCS#8 PEM of mode 0600, encrypted if a passphrase is given. Raises `KeyFileError` where it exists."""
        encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if passphrase:
            encryption = serialization.BestAvailableEncryption(passphrase)
        pem = self._key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
        write_new(path, pem, 0o600)

    def sign(self, message: bytes) -> bytes:
        """The signature over ``message``: ECDSA with SHA-256, DER."""
        return self._key.sign(message, ec.ECDSA(hashes.SHA256()))


def write_new(path: Path, data: bytes, mode: int) -> None:
    """Creates a file that has ``mode`` from its first byte on. Raises `KeyFileError` where it exists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as error:
        raise KeyFileError(f"{path.name} exists already; it is not overwritten", cause="exists") from error
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


_SPKI = serialization.PublicFormat.SubjectPublicKeyInfo


def _read(path: Path) -> bytes:
    try:
        return read_limited(path, LIMITS.key_file)
    except OSError as error:
        raise KeyFileError(f"can't read {path.name}: {error.strerror}", cause="unreadable") from error
    except BadFileError as error:
        raise KeyFileError(f"{path.name} is too large for a key", cause="size") from error


def _load_der(der: bytes) -> ec.EllipticCurvePublicKey:
    try:
        key = serialization.load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise MalformedDocumentError("not a DER SubjectPublicKeyInfo") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise MalformedDocumentError("not an ECDSA P-256 key")
    return key


def _p256(key: object, path: Path) -> ec.EllipticCurvePublicKey:
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise KeyFileError(f"{path.name} is not an ECDSA P-256 key", cause="kind")
    return key
