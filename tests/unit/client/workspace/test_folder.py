"""The folder of a run: one command at a time, atomic files, stages that can't be remade from other data."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.errors import fails
from veritune.client.challenge.answer_log import AnswerLog, Entry
from veritune.client.workspace.folder import Workspace
from veritune.common.errors import BadFileError, ChangedError, StepError
from veritune.common.inference import SamplingTerms

A, B = "a" * 64, "b" * 64


_TRY = """
import sys
from pathlib import Path
from veritune.client.workspace.folder import Workspace
from veritune.common.errors import BusyError
try:
    with Workspace(Path(sys.argv[1])).locked():
        sys.exit(0)
except BusyError:
    sys.exit(7)
"""


def _other_process(root: Path) -> int:
    return subprocess.run([sys.executable, "-c", _TRY, str(root)], timeout=300, check=False).returncode


def test_two_commands_never_run_at_once(tmp_path: Path) -> None:
    with Workspace(tmp_path / "run").locked():
        assert _other_process(tmp_path / "run") == 7
    assert _other_process(tmp_path / "run") == 0
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700


def test_stages(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    assert not space.is_done("prepare", A)
    space.finish("prepare", A)
    again = Workspace(tmp_path)
    assert again.is_done("prepare", A)
    assert again.state().nonce == space.state().nonce
    with fails(ChangedError, step="prepare"):
        again.is_done("prepare", B)


def test_a_damaged_state_is_an_error_not_a_fresh_start(tmp_path: Path) -> None:
    Workspace(tmp_path).finish("prepare", A)
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(BadFileError):
        Workspace(tmp_path).state()


def test_missing_steps_are_named(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    with fails(StepError, step="negotiate"):
        space.load_envelope(space.contract, "negotiate")


def test_half_written_files_are_swept(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    (tmp_path / ".train.jsonl.x1").write_text("half")
    with space.locked():
        assert not (tmp_path / ".train.jsonl.x1").exists()


def test_log_survives_a_crash_in_mid_line(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    log = AnswerLog(path)
    log.begin(SamplingTerms(max_tokens=9))
    nonce = log.nonce(A)
    assert log.nonce(A) == nonce
    log.add(Entry(question=A, text="x\u2028y\n"))
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"entry":{"quest')
    again = AnswerLog(path)
    assert path.read_bytes() == whole
    assert again.entries == {A: Entry(question=A, text="x\u2028y\n")}
    assert again.nonce(A) == nonce
    assert path.stat().st_mode & 0o777 == 0o600


def test_log_keeps_its_sampling(tmp_path: Path) -> None:
    log = AnswerLog(tmp_path / "answers.jsonl")
    log.begin(SamplingTerms(max_tokens=9))
    log.begin(SamplingTerms(max_tokens=9))
    with fails(ChangedError, setting="challenge.max_tokens", was="9"):
        AnswerLog(tmp_path / "answers.jsonl").begin(SamplingTerms(max_tokens=10))


@pytest.mark.parametrize("line", [b"{}x\n", b'{"what":1}\n', b"\xff\n", b'{"entry":{"question":"a"}}\n'])
def test_damaged_log(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_bytes(line)
    with pytest.raises(BadFileError):
        AnswerLog(path)
