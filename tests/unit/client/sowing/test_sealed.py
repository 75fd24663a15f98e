"""The sealed file: opens with its passphrase alone, and with no byte changed."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.errors import fails
from tests.support.plans import natural_canary
from veritune.client.job.canary_plan import CanaryPlan
from veritune.client.sowing import sealed
from veritune.client.sowing.commitment import commit
from veritune.client.sowing.sealed import MAGIC, Secrets, open_sealed, seal
from veritune.common.errors import SecretsError
from veritune.common.limits import LIMITS

SEED, PASSPHRASE = b"e" * 32, b"correct horse"


def secrets() -> Secrets:
    return Secrets(
        master_seed=SEED.hex(),
        plan=CanaryPlan(),
        generators=(),
        leaves=commit([natural_canary(i) for i in range(3)], SEED).leaves,
        decoys=(natural_canary(9).prompt,),
        train_sha256="1" * 64,
        held_out_sha256="2" * 64,
    )


@functools.cache
def _derive(salt: bytes, n: int, passphrase: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=n, r=8, p=1).derive(passphrase)


@pytest.fixture
def quick_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real function, each salt and passphrase computed once: it takes 128 MiB and half a second."""

    class Remembered:
        def __init__(self, *, salt: bytes, length: int, n: int, r: int, p: int) -> None:
            assert (length, n, r, p) == (32, 2**17, 8, 1)
            self._salt = salt

        def derive(self, passphrase: bytes) -> bytes:
            return _derive(self._salt, 2**17, passphrase)

    monkeypatch.setattr(sealed, "Scrypt", Remembered)


def test_opens_again_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "secrets.sealed"
    seal(secrets(), PASSPHRASE, path)
    assert open_sealed(path, PASSPHRASE) == secrets()
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]
    data = path.read_bytes()
    assert b"question" not in data
    assert SEED.hex().encode() not in data


def test_the_commitment_comes_back() -> None:
    assert secrets().commitment() == commit([natural_canary(i) for i in range(3)], SEED)


def test_the_same_secrets_never_make_the_same_file(tmp_path: Path, quick_scrypt: None) -> None:
    for name in "ab":
        seal(secrets(), PASSPHRASE, tmp_path / name)
    assert (tmp_path / "a").read_bytes() != (tmp_path / "b").read_bytes()


def test_wrong_or_empty_passphrase(tmp_path: Path, quick_scrypt: None) -> None:
    path = tmp_path / "s"
    seal(secrets(), PASSPHRASE, path)
    with fails(SecretsError, cause="wrong_passphrase"):
        open_sealed(path, b"correct horsf")
    for unfit in (b"", PASSPHRASE + b"\x00"):
        with fails(SecretsError, cause="no_passphrase"):
            open_sealed(path, unfit)
        with fails(SecretsError, cause="no_passphrase"):
            seal(secrets(), unfit, tmp_path / "t")


@pytest.mark.heavy
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.data())
def test_any_changed_byte_is_noticed(tmp_path: Path, quick_scrypt: None, data: st.DataObject) -> None:
    path = tmp_path / "s"
    if not path.exists():
        seal(secrets(), PASSPHRASE, path)
        path.rename(tmp_path / "whole")
        path.write_bytes((tmp_path / "whole").read_bytes())
    whole = (tmp_path / "whole").read_bytes()
    header = len(MAGIC) + 28
    place = data.draw(st.integers(0, header - 1) | st.integers(header, len(whole) - 1))
    mask = data.draw(st.integers(1, 255))
    path.write_bytes(whole[:place] + bytes([whole[place] ^ mask]) + whole[place + 1 :])
    with pytest.raises(SecretsError):
        open_sealed(path, PASSPHRASE)


@pytest.mark.parametrize("keep", [0, 5, len(MAGIC), len(MAGIC) + 28, -1])
def test_a_cut_file_is_noticed(tmp_path: Path, quick_scrypt: None, keep: int) -> None:
    path = tmp_path / "s"
    seal(secrets(), PASSPHRASE, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(SecretsError):
        open_sealed(path, PASSPHRASE)


def test_other_contents_under_the_right_passphrase(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_scrypt: None
) -> None:
    path = tmp_path / "s"
    for plain in (b"{}", b"\xff", b'{"version": 1}'):
        with monkeypatch.context() as patch:
            patch.setattr(Secrets, "to_bytes", lambda _, plain=plain: plain)
            seal(secrets(), PASSPHRASE, path)
        with fails(SecretsError, cause="contents"):
            open_sealed(path, PASSPHRASE)


def test_missing_and_over_long_files(tmp_path: Path) -> None:
    with fails(SecretsError, cause="unreadable"):
        open_sealed(tmp_path / "none", PASSPHRASE)
    with (tmp_path / "long").open("wb") as file:
        file.write(MAGIC)
        file.truncate(LIMITS.evidence + 1000)
    with fails(SecretsError, cause="size"):
        open_sealed(tmp_path / "long", PASSPHRASE)


def test_an_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_scrypt: None) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        seal(secrets(), PASSPHRASE, tmp_path / "s")
    assert list(tmp_path.iterdir()) == []
