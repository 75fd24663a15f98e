"""Blobs and parts of uploads."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from veritune.common.errors import DigestError, NotFoundError
from veritune.common.files import write_atomic
from veritune.provider.storage.blobs import BlobStore

NAME = "d" * 64


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path)


def test_a_part_grows_and_becomes_a_blob(blobs: BlobStore) -> None:
    assert blobs.durable(NAME) == 0
    blobs.append(NAME, 0, b"hello ")
    assert blobs.durable(NAME) == 6
    blobs.append(NAME, 6, b"world")
    digest = hashlib.sha256(b"hello world").hexdigest()
    path = blobs.add(blobs.part(NAME), digest)
    blobs.discard(NAME)
    assert path.read_bytes() == b"hello world"
    assert path.parent.name == digest[:2]
    assert blobs.durable(NAME) == 0
    assert blobs.read(digest, 6, 3) == b"wor"
    assert blobs.read(digest, 11, 3) == b""


def test_adding_again_changes_nothing(blobs: BlobStore, tmp_path: Path) -> None:
    source = tmp_path / "file"
    source.write_bytes(b"x")
    digest = hashlib.sha256(b"x").hexdigest()
    assert blobs.add(source, digest) == blobs.add(source, digest) == blobs.path(digest)


def test_a_copy_does_not_change_with_its_source(blobs: BlobStore, tmp_path: Path) -> None:
    source = tmp_path / "file"
    source.write_bytes(b"signed")
    digest = hashlib.sha256(b"signed").hexdigest()
    path = blobs.add_copy(source, digest)
    with source.open("r+b") as file:  # the same inode, not another file of that name
        file.write(b"other!")
    assert blobs.verified(digest).read_bytes() == path.read_bytes() == b"signed"
    assert blobs.add_copy(source, digest) == path


def test_a_copy_of_other_bytes_is_refused_and_leaves_nothing(blobs: BlobStore, tmp_path: Path) -> None:
    source = tmp_path / "file"
    source.write_bytes(b"other")
    digest = hashlib.sha256(b"signed").hexdigest()
    with pytest.raises(DigestError):
        blobs.add_copy(source, digest)
    with pytest.raises(NotFoundError):
        blobs.path(digest)
    assert not list((tmp_path / "incoming").iterdir())


def test_a_blob_that_was_changed_is_not_verified(blobs: BlobStore, tmp_path: Path) -> None:
    source = tmp_path / "file"
    source.write_bytes(b"signed")
    digest = hashlib.sha256(b"signed").hexdigest()
    blobs.add_copy(source, digest).write_bytes(b"other!")
    with pytest.raises(DigestError):
        blobs.verified(digest)


def test_half_a_copy_is_removed_at_the_next_start_and_parts_stay(blobs: BlobStore, tmp_path: Path) -> None:
    (tmp_path / "incoming" / "copy-x").write_bytes(b"half")
    blobs.append(NAME, 0, b"hello")
    assert BlobStore(tmp_path).durable(NAME) == 5
    assert [path.name for path in (tmp_path / "incoming").iterdir()] == [NAME]


def test_unknown_content(blobs: BlobStore) -> None:
    with pytest.raises(NotFoundError):
        blobs.path("0" * 64)


@pytest.mark.parametrize("name", ["", "..", "../../etc/passwd", "A" * 64, "0" * 63 + "/"])
def test_only_digests_name_blobs(blobs: BlobStore, name: str) -> None:
    with pytest.raises(ValueError, match="SHA-256"):
        blobs.path(name)


def test_atomic_write_replaces_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert [item.name for item in tmp_path.iterdir()] == ["file"]
