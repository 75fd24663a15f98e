"""Checks and hashes the files of a finished job: its adapter and its checkpoints."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from veritune.common.documents.receipts import ADAPTER_WEIGHTS, Checkpoint, FileRef
from veritune.common.limits import LIMITS
from veritune.common.model.files import file_ref, folder_files
from veritune.provider.training.worker_protocol import WorkerResult, WorkerResultError, checkpoint_step


def adapter_files(output: Path, result: WorkerResult) -> tuple[FileRef, ...]:
    """Name, size and SHA-256 of each file in the adapter's folder.

    Raises `WorkerResultError` for links, for a folder without weights, and for names, sizes or a number of files that a
    receipt can't hold.
    """
    folder = output / result.adapter
    if not folder.is_dir() or any(path.is_symlink() for path in (folder, *folder.iterdir())):
        raise WorkerResultError("there is no adapter folder, or it holds links")
    try:
        files = folder_files(folder)
    except ValidationError as error:
        raise WorkerResultError("an adapter file has a name that can't be signed") from error
    if not 0 < len(files) <= LIMITS.artifacts or ADAPTER_WEIGHTS not in {ref.name for ref in files}:
        raise WorkerResultError(f"the adapter folder has no {ADAPTER_WEIGHTS}, or too many files")
    if any(ref.size > LIMITS.artifact for ref in files):
        raise WorkerResultError("an adapter file is too large")
    return files


def checkpoint_refs(output: Path, names: Iterable[str]) -> tuple[Checkpoint, ...]:
    """The optimiser step of each checkpoint in ``names`` and the SHA-256 of its adapter weights.

    Raises `WorkerResultError` for a checkpoint that is missing, a link, or not called ``checkpoint-STEP``.
    """
    refs = []
    for name in names:
        step, path = checkpoint_step(name), output / name / ADAPTER_WEIGHTS
        if step is None or path.is_symlink() or not path.is_file():
            raise WorkerResultError("a checkpoint is missing or has another name than checkpoint-STEP")
        refs.append(Checkpoint(step=step, sha256=file_ref(path).sha256))
    return tuple(refs)
