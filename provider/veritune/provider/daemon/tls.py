"""Makes a self-signed TLS certificate, which clients pin as their only root."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from veritune.common.keys import write_new

LIFETIME = timedelta(days=825)
"""How long a certificate is valid."""
DEFAULT_HOSTS = ("localhost", "127.0.0.1")
"""Hosts that every certificate names."""


def make_certificate(hosts: Sequence[str], now: datetime) -> tuple[bytes, bytes]:
    """A new ECDSA P-256 key and its certificate, both PEM, for ``hosts`` (names or addresses) and `DEFAULT_HOSTS`."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = tuple(dict.fromkeys((*DEFAULT_HOSTS, *hosts)))
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "veritune provider")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, certificate.public_bytes(serialization.Encoding.PEM)


def write_certificate(folder: Path, hosts: Sequence[str], now: datetime) -> None:
    """Writes ``tls.key`` (mode 0600) and ``tls.crt`` into a folder. Raises `KeyFileError` if one of them exists."""
    private, certificate = make_certificate(hosts, now)
    write_new(folder / "tls.key", private, 0o600)
    write_new(folder / "tls.crt", certificate, 0o644)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
