"""Stores files by their SHA-256, and uploads that are not complete yet."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from veritune.common.errors import DigestError, NotFoundError
from veritune.common.files import sync

_COPY_BYTES = 1 << 20
_DRAFT = "copy-"  # no upload is called that: its name is a digest


class BlobStore:
    """A content-addressed folder: blobs are ``sha256/ab/abcd...``, unfinished uploads ``incoming/<name>``.

    A blob is never changed. Every method blocks. A method that takes a ``sha256`` raises `ValueError` if that isn't 64
    lower-case hexadecimal digits.
    """

    def __init__(self, folder: Path) -> None:
        self._blobs = folder / "sha256"
        self._incoming = folder / "incoming"
        for path in (self._blobs, self._incoming):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in self._incoming.glob(f"{_DRAFT}*"):  # by a daemon that was killed
            left.unlink()

    def path(self, sha256: str) -> Path:
        """The path of a blob. Raises `NotFoundError` if the store doesn't hold it."""
        path = self._place(sha256)
        if not path.is_file():
            raise NotFoundError("the provider does not hold that content")
        return path

    def add(self, source: Path, sha256: str) -> Path:
        """Makes a complete file a blob, on disk on return, and returns the blob's path.

        The caller has checked the digest. The blob is a hard link to ``source``, which must not be changed afterwards.
        """
        target = self._place(sha256)
        if target.is_file():
            return target
        target.parent.mkdir(exist_ok=True, mode=0o700)
        with source.open("rb") as file:
            os.fsync(file.fileno())
        try:
            os.link(source, target)
        except FileExistsError:
            return target
        sync(target.parent)
        sync(self._blobs)
        return target

    def add_copy(self, source: Path, sha256: str) -> Path:
        """Makes a copy of a file a blob, so that whoever writes to ``source`` later does not write to the blob.

        Raises `DigestError` if the bytes that were copied are not those of ``sha256``.
        """
        target = self._place(sha256)
        if target.is_file():
            return target
        descriptor, name = tempfile.mkstemp(dir=self._incoming, prefix=_DRAFT)  # mode 0600
        draft = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as written, source.open("rb") as read:
                shutil.copyfileobj(read, written, _COPY_BYTES)
            self._check(draft, sha256)
            return self.add(draft, sha256)
        finally:
            draft.unlink(missing_ok=True)

    def verified(self, sha256: str) -> Path:
        """The path of a blob whose bytes were hashed again just now.

        Raises `NotFoundError` if there is none, `DigestError` if its bytes have changed.
        """
        path = self.path(sha256)
        self._check(path, sha256)
        return path

    def read(self, sha256: str, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes of a blob from ``offset`` on. Raises `NotFoundError` if the store doesn't hold it."""
        with self.path(sha256).open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def part(self, name: str) -> Path:
        """The path of the unfinished upload ``name``, which the caller has checked to be a digest."""
        return self._incoming / name

    def durable(self, name: str) -> int:
        """The number of bytes of an upload, after writing them to disk; 0 for an unknown upload."""
        try:
            with self.part(name).open("rb") as file:
                os.fsync(file.fileno())
                return os.fstat(file.fileno()).st_size
        except FileNotFoundError:
            return 0

    def append(self, name: str, offset: int, chunk: bytes) -> None:
        """Writes ``chunk`` at ``offset`` of an upload; it is safely on disk after the next `durable`."""
        descriptor = os.open(self.part(name), os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.seek(offset)
            file.write(chunk)

    def discard(self, name: str) -> None:
        """Deletes an unfinished upload, if there is one."""
        self.part(name).unlink(missing_ok=True)
        sync(self._incoming)

    @staticmethod
    def _check(path: Path, sha256: str) -> None:
        """Raises `DigestError` unless a file's bytes have that SHA-256."""
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                raise DigestError("stored content is not what its digest says")

    def _place(self, sha256: str) -> Path:
        if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
            raise ValueError("not a SHA-256 in hexadecimal")
        return self._blobs / sha256[:2] / sha256
