"""What a finished job leaves: its adapter's files and its checkpoints, hashed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from veritune.common.documents.receipts import ADAPTER_WEIGHTS, Checkpoint, FileRef
from veritune.common.limits import LIMITS
from veritune.common.model.files import file_ref, folder_files
from veritune.provider.training.worker_protocol import WorkerResult, WorkerResultError, checkpoint_step


def adapter_files(output: Path, result: WorkerResult) -> tuple[FileRef, ...]:
    """Every file of the adapter, hashed. Raises `WorkerResultError`."""
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
    """Digest of each checkpoint's adapter. Raises `WorkerResultError`."""
    refs = []
    for name in names:
        step, path = checkpoint_step(name), output / name / ADAPTER_WEIGHTS
        if step is None or path.is_symlink() or not path.is_file():
            raise WorkerResultError("a checkpoint is missing or has another name than checkpoint-STEP")
        refs.append(Checkpoint(step=step, sha256=file_ref(path).sha256))
    return tuple(refs)
