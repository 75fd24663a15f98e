"""Atomic writes, and reads up to a size limit."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from veritune.common.errors import BadFileError, PeerError


@contextmanager
def staged(path: Path, mode: int) -> Iterator[Path]:
    """Yields a new empty file beside ``path``, of ``mode`` from its first byte on, that replaces ``path`` on success.

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
    """Writes a file so that ``path`` has all of its old or all of its new bytes, also after a power cut."""
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
    """The bytes of a whole file. Raises `BadFileError` where it has more than ``limit``, and `OSError`."""
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise BadFileError(f"{path.name} is over the limit of {limit} bytes", cause="size", file=path.name)
    return data


@contextmanager
def own_file(path: Path) -> Iterator[None]:
    """Turns a `PeerError` about bytes that were read from a file of our own into a `BadFileError` that names it."""
    try:
        yield
    except PeerError as error:
        raise BadFileError(f"{path.name}: {error.message}", **{**error.metadata, "file": path.name}) from error
