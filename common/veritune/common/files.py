"""Atomic writes, reads up to a size limit, and errors that name the file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from veritune.common.errors import BadFileError, PeerError


@contextmanager
def staged(path: Path, mode: int) -> Iterator[Path]:
    """Yields a new empty file beside ``path`` that replaces ``path`` when the block ends; it has ``mode`` at once.

    On any exception, a keyboard interrupt too, the new file is removed and ``path`` stays as it was.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    draft = Path(name)
    try:
        os.fchmod(descriptor, mode)
        os.close(descriptor)
        yield draft
        sync(draft)
        draft.replace(path)
        sync(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def write_atomic(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replaces ``path`` by a file with ``data``; after a power cut it has all of its old or all of its new bytes.

    Raises `OSError` if the file can't be written.
    """
    with staged(path, mode) as draft:
        draft.write_bytes(data)


def sync(path: Path) -> None:
    """Flushes a file, or the list of names in a folder, to disk (fsync), so that it survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_limited(path: Path, limit: int) -> bytes:
    """The bytes of a whole file. Raises `BadFileError` if it has more than ``limit`` bytes, `OSError` if unreadable."""
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise BadFileError(f"{path.name} is over the limit of {limit} bytes", cause="size", file=path.name)
    return data


@contextmanager
def own_file(path: Path) -> Iterator[None]:
    """Raises a `BadFileError` that names ``path`` in place of a `PeerError` from the block, which reads that file."""
    try:
        yield
    except PeerError as error:
        raise BadFileError(f"{path.name}: {error.message}", **{**error.metadata, "file": path.name}) from error
