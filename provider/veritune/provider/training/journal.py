"""Keeps a run's trace and token counts in each checkpoint, so that another run can continue from it.

The file is written last, so it also marks a checkpoint as complete, and it names the job that the checkpoint belongs
to.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from veritune.common.files import write_atomic
from veritune.common.model.files import file_ref
from veritune.provider.training.base import StepRecord, TrainingTask
from veritune.provider.training.worker_protocol import checkpoint_step

_FILE = "veritune_journal.json"


@dataclass
class Journal:
    """The trace and the token counts of a run so far; ``job`` comes from `job_id`."""

    job: str
    tokens: int = 0
    label_tokens: int = 0
    trace: list[StepRecord] = field(default_factory=list)

    def save(self, checkpoint: Path) -> None:
        """Writes the journal into a checkpoint's folder, which marks the checkpoint as complete."""
        write_atomic(checkpoint / _FILE, json.dumps(asdict(self)).encode())

    @classmethod
    def load(cls, checkpoint: Path, job: str) -> Journal | None:
        """The journal in a complete checkpoint of ``job``; None for any other folder."""
        try:
            body = json.loads((checkpoint / _FILE).read_bytes())
            trace = [StepRecord(entry["step"], tuple(entry["rows"]), entry["loss"]) for entry in body["trace"]]
            journal = cls(body["job"], body["tokens"], body["label_tokens"], trace)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return journal if journal.job == job and len(trace) == step_of(checkpoint) else None


def job_id(task: TrainingTask) -> str:
    """SHA-256 (hexadecimal) over recipe, data set and base model, so that no run continues from another job."""
    parts = {
        "training": task.training.model_dump(mode="json"),
        "dataset": file_ref(task.dataset).sha256,
        "base_model": file_ref(task.base_model / "config.json").sha256,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def step_of(checkpoint: Path) -> int:
    """The optimiser step in a checkpoint folder's name; 0 for any other name."""
    return checkpoint_step(checkpoint.name) or 0


def whole_checkpoints(output: Path, job: str) -> list[Path]:
    """Folders of the complete checkpoints of ``job`` in ``output``, oldest first."""
    folders = [path for path in output.glob("checkpoint-*") if path.is_dir() and step_of(path)]
    return [path for path in sorted(folders, key=step_of) if Journal.load(path, job)]
