"""The folder of one run: its files, and which steps are done, so that a run can resume after a crash.

A stage is done once `Workspace.finish` has written it to ``state.json``, which happens after its files are on disk.
Files are replaced atomically; the challenge's answers are appended and synced one by one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from veritune.common.documents.base import Document, HexDigest
from veritune.common.envelope import Envelope
from veritune.common.errors import BusyError, ChangedError, StepError
from veritune.common.files import own_file, read_limited, write_atomic
from veritune.common.limits import LIMITS

Stage = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,64}$")]


class StageState(Document):
    """A finished stage: the digest of the inputs from which it was made."""

    inputs: HexDigest


class State(Document):
    """The content of ``state.json``: the run's nonce and its finished stages by name."""

    version: Literal[1] = 1
    nonce: HexDigest
    """The manifest's nonce. The training request's id begins with half of it: a repeated start finds the same job."""
    stages: dict[Stage, StageState] = Field(default_factory=dict)


class Workspace:
    """The paths in one run's folder, which only its owner can read. Use `locked` around anything that writes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.train = root / "train.jsonl"
        self.held_out = root / "held_out.jsonl"
        self.secrets = root / "secrets.sealed"
        self.prepared = root / "prepared.json"
        self.offer = root / "offer.json"
        self.contract = root / "contract.json"
        self.dataset_receipt = root / "dataset-receipt.json"
        self.training_receipt = root / "training-receipt.json"
        self.job_id = root / "job-id"
        self.adapter = root / "adapter"
        self.task_score = root / "task-score.json"

    def failure_receipt(self, attempt: int) -> Path:
        """The path of the provider's receipt for a training attempt that failed; attempts count from 1."""
        return self.root / f"failure-receipt-{attempt}.json"

    def answers(self, session: int, mode: str) -> Path:
        """The path of one session's log of answers in one mode."""
        return self.root / f"answers-{session}-{mode}.jsonl"

    def evidence(self, session: int) -> Path:
        """The path of one session's evidence bundle."""
        return self.root / f"evidence-{session}.json"

    def report(self, session: int) -> Path:
        """The path of one session's signed report."""
        return self.root / f"report-{session}.json"

    def derived(self, session: int, kind: str) -> Path:
        """The path of a statement derived from the report, of kind ``test-result`` or ``svr``."""
        return self.root / f"{kind}-{session}.json"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Locks the folder for this process inside the ``with`` block. Raises `BusyError` if another process has it."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise BusyError(f"another command is at work in {self.root}") from error
            self._sweep()
            yield
        finally:
            os.close(descriptor)

    def state(self) -> State:
        """The state on disk; the first call makes one with a fresh nonce. Raises `BadFileError` for a damaged file."""
        path = self.root / "state.json"
        if not path.exists():
            self._write_state(State(nonce=secrets.token_hex(32)))
        return State.from_file(path)

    def is_done(self, stage: str, inputs: str) -> bool:
        """True if a stage was finished from inputs with this digest, False if it wasn't finished.

        Raises `ChangedError` if it was finished from other inputs, since data and terms that were committed to or
        signed can't be changed later.
        """
        done = self.state().stages.get(stage)
        if done is not None and done.inputs != inputs:
            raise ChangedError(
                f"the step '{stage}' in {self.root} was made from other data, model or terms; "
                "undo the change or start in a new folder with --run",
                step=stage,
            )
        return done is not None

    def finish(self, stage: str, inputs: str) -> None:
        """Records that a stage was finished from inputs with this digest; its files must be on disk."""
        state = self.state()
        self._write_state(
            State(nonce=state.nonce, stages={**state.stages, stage: StageState(inputs=inputs)}),
        )

    def require(self, path: Path, step: str) -> Path:
        """The same ``path`` if it exists. Raises `StepError`, which names the step that makes it."""
        if not path.exists():
            raise StepError(f"{path.name} is not there yet; run the step '{step}' first", step=step)
        return path

    def save_envelope(self, path: Path, envelope: Envelope) -> None:
        """Writes an envelope to ``path`` as JSON, atomically."""
        write_atomic(path, envelope.to_json())

    def load_envelope(self, path: Path, step: str) -> Envelope:
        """The envelope in a file; its signatures have not been verified.

        Raises `StepError`, which names ``step``, if there is no file, `BadFileError` if it holds no envelope.
        """
        with own_file(path):
            return Envelope.from_json(read_limited(self.require(path, step), LIMITS.envelope_json))

    def _write_state(self, state: State) -> None:
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(self.root / "state.json", state.to_bytes())

    def _sweep(self) -> None:
        """Removes temporary files that an interrupted process left."""
        for path in self.root.glob(".*"):
            if path.name != ".lock" and path.is_file():
                path.unlink(missing_ok=True)
