"""The digest of a base model: over its files, tokenizer and chat template included (SPEC section 4.2)."""

from __future__ import annotations

import hashlib
from pathlib import Path

from veritune.common.canonical import canonical_bytes, sha256_hex
from veritune.common.documents.receipts import FileRef
from veritune.common.errors import ModelFolderError


def file_ref(path: Path) -> FileRef:
    """Name, size in bytes and SHA-256 of one file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileRef(name=path.name, size=path.stat().st_size, sha256=digest)


def folder_files(folder: Path) -> tuple[FileRef, ...]:
    """The regular files directly inside ``folder``, sorted by name; hidden files are left out."""
    return tuple(
        file_ref(path)
        for path in sorted(folder.iterdir(), key=lambda p: p.name)
        if path.is_file() and not path.name.startswith(".")
    )


def model_digest(folder: Path) -> str:
    """SHA-256 (hexadecimal) over the canonical JSON of `folder_files`. Raises `ModelFolderError` for no model."""
    if not (folder / "config.json").is_file():
        raise ModelFolderError(f"{folder.name} is no model folder: it has no config.json", cause="config")
    return sha256_hex(canonical_bytes([ref.model_dump(mode="json") for ref in folder_files(folder)]))
