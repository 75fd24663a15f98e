from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from tests.support.errors import fails
from veritune.common.errors import KeyFileError, MalformedDocumentError
from veritune.common.keys import PrivateKey, PublicKey


def test_signs_and_verifies() -> None:
    key = PrivateKey.generate()
    signature = key.sign(b"message")
    assert key.public.verifies(signature, b"message")
    assert not key.public.verifies(signature, b"massage")
    assert not key.public.verifies(b"", b"message")
    assert not PrivateKey.generate().public.verifies(signature, b"message")


def test_key_id_is_the_digest_of_the_spki() -> None:
    public = PrivateKey.generate().public
    assert public.key_id == hashlib.sha256(public.der).hexdigest()


@pytest.mark.parametrize("passphrase", [None, b"correct horse"])
def test_files_round_trip_and_are_private(tmp_path: Path, passphrase: bytes | None) -> None:
    key = PrivateKey.generate()
    key.save(tmp_path / "keys" / "key.pem", passphrase)
    key.public.save(tmp_path / "keys" / "key.pub")
    assert (tmp_path / "keys" / "key.pem").stat().st_mode & 0o777 == 0o600
    assert PrivateKey.load(tmp_path / "keys" / "key.pem", passphrase).public == key.public
    assert PublicKey.load(tmp_path / "keys" / "key.pub") == key.public


def test_never_overwrites(tmp_path: Path) -> None:
    PrivateKey.generate().save(tmp_path / "key")
    before = (tmp_path / "key").read_bytes()
    with fails(KeyFileError, cause="exists"):
        PrivateKey.generate().save(tmp_path / "key")
    assert (tmp_path / "key").read_bytes() == before


def test_refuses_bad_private_key_files(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with fails(KeyFileError, cause="unreadable"):
        PrivateKey.load(path)
    PrivateKey.generate().save(path, b"right")
    for passphrase in (None, b"wrong"):
        with fails(KeyFileError, cause="pem"):
            PrivateKey.load(path, passphrase)
    path.chmod(0o640)
    with fails(KeyFileError, cause="mode"):
        PrivateKey.load(path, b"right")
    path.chmod(0o600)
    path.write_bytes(b"x" * 20_000)
    with fails(KeyFileError, cause="size"):
        PrivateKey.load(path)
    for other in (ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()):
        path.write_bytes(
            other.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        with fails(KeyFileError, cause="kind"):
            PrivateKey.load(path)


def test_refuses_bad_public_keys(tmp_path: Path) -> None:
    path = tmp_path / "key.pub"
    path.write_bytes(b"-----BEGIN nonsense")
    with fails(KeyFileError, cause="pem"):
        PublicKey.load(path)
    other = ec.generate_private_key(ec.SECP384R1()).public_key()
    path.write_bytes(other.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    with fails(KeyFileError, cause="kind"):
        PublicKey.load(path)


def test_public_key_text_has_one_form() -> None:
    public = PrivateKey.generate().public
    assert PublicKey.from_text(public.text) == public
    p384 = ec.generate_private_key(ec.SECP384R1()).public_key()
    der = p384.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    numbers = ec.generate_private_key(ec.SECP256R1()).public_key()
    compressed = numbers.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
    prefix = bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200")
    for text in ("!", "AAAA", base64.b64encode(der).decode(), base64.b64encode(prefix + compressed).decode()):
        with pytest.raises(MalformedDocumentError):
            PublicKey.from_text(text)
