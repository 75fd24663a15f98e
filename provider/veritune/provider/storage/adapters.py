"""Makes adapter folders from blobs, so that an adapter is served from the very bytes whose digests were signed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

from veritune.common.canonical import canonical_bytes, sha256_hex
from veritune.common.documents.receipts import FileRef
from veritune.common.errors import DigestError, NotFoundError
from veritune.common.files import sync
from veritune.provider.storage.blobs import BlobStore

_DRAFT = ".draft-"


class AdapterFolders:
    """A folder with a subfolder for each adapter, in which ``DIGEST/NAME`` is a symbolic link to the blob of a file.

    ``DIGEST`` is the SHA-256 over the canonical list of the files' names, sizes and digests. The links are relative, so
    that a state folder can be moved. Every method blocks.
    """

    def __init__(self, folder: Path, blobs: BlobStore) -> None:
        self._folder = folder
        self._blobs = blobs
        self._making = Lock()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in folder.glob(f"{_DRAFT}*"):  # by a daemon that was killed
            shutil.rmtree(left, ignore_errors=True)

    def folder(self, files: Sequence[FileRef]) -> Path:
        """The path of a folder that holds exactly ``files``, each of which this call has hashed again.

        An existing folder is used if it holds the right links; otherwise the folder is made. Raises `NotFoundError`,
        with the file's name as ``artifact``, if the blob of a file is missing or damaged.
        """
        links = {ref.name: self._blob(ref) for ref in files}
        target = self._folder / sha256_hex(canonical_bytes([ref.model_dump(mode="json") for ref in files]))
        with self._making:
            if not _holds(target, links):
                self._make(target, links)
        return target

    def _blob(self, ref: FileRef) -> Path:
        try:
            return self._blobs.verified(ref.sha256)
        except NotFoundError as error:
            raise NotFoundError("the provider has lost a file of the adapter", artifact=ref.name) from error
        except DigestError as error:
            raise NotFoundError("the provider's copy of an adapter file is damaged", artifact=ref.name) from error

    def _make(self, target: Path, links: dict[str, Path]) -> None:
        draft = Path(tempfile.mkdtemp(dir=self._folder, prefix=_DRAFT))  # mode 0700
        try:
            for name, blob in links.items():
                (draft / name).symlink_to(os.path.relpath(blob.resolve(), target.parent.resolve() / target.name))
            sync(draft)
            _remove(target)
            draft.rename(target)
            sync(self._folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _holds(folder: Path, links: dict[str, Path]) -> bool:
    """True if a folder has a link to each blob under its name, and nothing else."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    found = {path.name: path for path in folder.iterdir()}
    return found.keys() == links.keys() and all(
        found[name].is_symlink() and found[name].resolve() == blob.resolve() for name, blob in links.items()
    )


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)
