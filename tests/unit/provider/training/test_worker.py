"""The worker process and the daemon's half of the pipe, with programs that behave and programs that do not."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.support.waiting import until
from veritune.common.canonical import canonical_bytes
from veritune.common.documents.manifest import Training
from veritune.common.merkle import MerkleTree, leaf_hash
from veritune.provider.jobs.child_process import run_child
from veritune.provider.jobs.job_output import adapter_files, checkpoint_refs
from veritune.provider.training.base import Progress, TrainingTask
from veritune.provider.training.worker import EXIT_FAILED, EXIT_ORPHANED
from veritune.provider.training.worker_protocol import (
    EXIT_CANCELLED,
    MAX_LINE,
    Event,
    FailedEvent,
    JobFiles,
    ProgressEvent,
    WorkerResult,
    WorkerResultError,
    checkpoint_step,
    parse_event,
    progress_event,
    read_result,
    read_task,
    read_trace,
    trace_root,
    write_task,
)

FAKE = """
import sys, time
from pathlib import Path
from veritune.common.errors import DatasetError, ModelFolderError
from veritune.provider.training.base import Progress, StepRecord, TrainingCancelled, TrainingResult
from veritune.provider.training.worker import run

class Fake:
    def train(self, task, on_progress, cancelled):
        mode = task.base_model.name
        print("noise on stdout")
        on_progress(Progress(1, 2, 0.5, float("nan") if mode == "nan" else 1.5, 10))
        if mode == "refuse":
            raise DatasetError("row 3 is bad")
        if mode == "own":
            raise ModelFolderError("/srv/private/model is no model folder")
        if mode == "crash":
            raise ValueError("a private row")
        while mode == "wait":
            time.sleep(0.01)
            if cancelled():
                raise TrainingCancelled
        adapter = task.output / "adapter"
        adapter.mkdir(parents=True)
        (adapter / "adapter_model.safetensors").write_bytes(b"weights")
        trace = (StepRecord(1, (0, 1), "1.5"), StepRecord(2, (2,), "1.25"))
        return TrainingResult(adapter, (), 2, 20, 5, 3, 0, 0, trace, {"torch": "2"}, {"device": "cpu"})

sys.exit(run(Fake))
"""


def prepare(folder: Path, mode: str) -> tuple[JobFiles, list[str]]:
    files = JobFiles(folder)
    files.output.mkdir()
    script = folder / "fake.py"
    script.write_text(FAKE)
    write_task(files, TrainingTask(folder / mode, folder / "rows", files.output, Training()))
    return files, [sys.executable, str(script)]


async def run(files: JobFiles, command: list[str], *, stop: bool = False) -> tuple[int, list[Event]]:
    """The exit status and the events; with ``stop``, the child is told to stop at its first event."""
    events: list[Event] = []
    stopped = asyncio.Event()

    async def on_event(event: Event) -> None:
        events.append(event)
        if stop:
            stopped.set()

    return await run_child(command, files, stopped, 5, on_event), events


async def test_a_run_that_ends_well(tmp_path: Path) -> None:
    files, command = prepare(tmp_path, "good")
    status, events = await run(files, command)
    assert (status, events) == (0, [ProgressEvent(step=1, total_steps=2, epoch=0.5, loss=1.5, tokens=10)])
    result = read_result(files.result)
    assert result is not None
    assert (result.adapter, result.steps, result.rows_trained) == ("adapter", 2, 3)
    assert [ref.name for ref in adapter_files(files.output, result)] == ["adapter_model.safetensors"]
    leaves = [
        leaf_hash(canonical_bytes({"loss": "1.5", "rows": [0, 1], "step": 1})),
        leaf_hash(canonical_bytes({"loss": "1.25", "rows": [2], "step": 2})),
    ]
    assert trace_root(read_trace(files.trace, 2)) == MerkleTree(leaves).root.hex()
    assert "noise on stdout" in files.log.read_text()


async def test_a_trainer_that_refuses_says_why(tmp_path: Path) -> None:
    status, events = await run(*prepare(tmp_path, "refuse"))
    assert (status, events[-1]) == (EXIT_FAILED, FailedEvent(message="row 3 is bad"))


@pytest.mark.parametrize(("mode", "kind"), [("crash", "ValueError"), ("own", "ModelFolderError")])
async def test_a_trainer_that_crashes_quotes_nothing(tmp_path: Path, mode: str, kind: str) -> None:
    """Nor one with a fault of the provider's own: the client, whom the message is signed for, learns no path."""
    files, command = prepare(tmp_path, mode)
    status, events = await run(files, command)
    assert (status, events[-1]) == (EXIT_FAILED, FailedEvent(message=f"the trainer failed: {kind}"))
    log = files.log.read_text()
    assert f"{kind} at" in log
    assert "private" not in log


async def test_a_loss_that_ran_away_is_still_an_event(tmp_path: Path) -> None:
    _, events = await run(*prepare(tmp_path, "nan"))
    assert isinstance(events[0], ProgressEvent)
    assert events[0].loss == sys.float_info.max


async def test_stop_ends_it_at_its_next_step(tmp_path: Path) -> None:
    files, command = prepare(tmp_path, "wait")
    status, _ = await run(files, command, stop=True)
    assert status == EXIT_CANCELLED
    assert read_result(files.result) is None


async def test_one_that_will_not_stop_is_killed_with_its_children(tmp_path: Path) -> None:
    code = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print(subprocess.Popen(['sleep', '600']).pid, file=sys.stderr, flush=True); time.sleep(600)"
    )
    files, stop = JobFiles(tmp_path), asyncio.Event()

    async def stop_when_it_has_a_child() -> None:
        await until(lambda: files.log.exists() and files.log.read_text().endswith("\n"))
        stop.set()

    async def ignore(event: Event) -> None:
        return None

    started = time.monotonic()
    status, _ = await asyncio.gather(
        run_child([sys.executable, "-c", code], files, stop, 0.3, ignore), stop_when_it_has_a_child()
    )
    assert status == -signal.SIGKILL
    assert time.monotonic() - started < 60
    child = files.log.read_text().strip()
    await until(lambda: process_state(child) in ("", "Z"), seconds=10)


def process_state(pid: str) -> str:
    """The first letter that ``ps`` shows for a process; empty when it has gone."""
    shown = subprocess.run(["ps", "-o", "stat=", "-p", pid], capture_output=True, text=True, check=False)
    return shown.stdout.strip()[:1]


async def test_hostile_output_is_dropped(tmp_path: Path) -> None:
    code = (
        "import sys; w = sys.stdout.write;"
        f"w('x' * {3 * MAX_LINE} + '\\n'); w('not json\\n'); w('[1]\\n'); w('\\x00\\n');"
        'w(\'{"event":"progress","step":-1,"total_steps":1,"epoch":0,"loss":0,"tokens":0}\\n\');'
        'w(\'{"event":"progress","step":1,"total_steps":1,"epoch":0.5,"loss":0.5,"tokens":0}\\n\')'
    )
    status, events = await run(JobFiles(tmp_path), [sys.executable, "-c", code])
    assert (status, len(events)) == (0, 1)


async def test_a_listener_that_fails_does_not_leave_the_worker_stuck(tmp_path: Path) -> None:
    async def fail(event: Event) -> None:
        raise RuntimeError("the database is gone")

    files, command = prepare(tmp_path, "wait")
    with pytest.raises(RuntimeError, match="database"):
        await asyncio.wait_for(run_child(command, files, asyncio.Event(), 5, fail), 30)


async def test_the_passphrase_stays_with_the_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERITUNE_PROVIDER_PASSPHRASE", "hush")
    files = JobFiles(tmp_path)
    await run(files, [sys.executable, "-c", "import os, sys; print(sorted(os.environ), file=sys.stderr)"])
    assert "HF_HUB_OFFLINE" in files.log.read_text()
    assert "PASSPHRASE" not in files.log.read_text()


def test_it_ends_when_the_daemon_dies(tmp_path: Path) -> None:
    files, command = prepare(tmp_path, "wait")
    reading, writing = os.pipe()
    child = subprocess.Popen([*command, str(files.task)], stdin=reading, stdout=subprocess.PIPE)
    os.close(reading)
    assert child.stdout is not None
    assert child.stdout.readline()
    os.close(writing)
    assert child.wait(20) == EXIT_ORPHANED
    child.stdout.close()


def test_a_task_comes_back_as_it_was(tmp_path: Path) -> None:
    files = JobFiles(tmp_path)
    task = TrainingTask(Path("/m"), Path("/d"), files.output, Training(rank=7), 3)
    for written in (task, replace(task, max_cut_rows=0)):
        write_task(files, written)
        assert read_task(files.task) == written


@pytest.mark.parametrize(
    "changes",
    [{"threads": "3"}, {"training": {"x": 1}}, {"output": None}, {"max_cut_rows": 0.5}, {"training": {"rank": 0}}],
)
def test_tasks_that_can_not_be_read(tmp_path: Path, changes: dict[str, object]) -> None:
    files = JobFiles(tmp_path)
    write_task(files, TrainingTask(Path("/m"), Path("/d"), files.output, Training()))
    body = json.loads(files.task.read_text())
    files.task.write_text(json.dumps(body | changes))
    with pytest.raises(ValidationError):
        read_task(files.task)


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("checkpoint-12", 12),
        ("checkpoint-0", None),
        ("checkpoint-012", None),
        ("checkpoint-12\n", None),
        ("checkpoint-", None),
        ("other", None),
    ],
)
def test_a_checkpoint_is_named_by_its_step(name: str, step: int | None) -> None:
    assert checkpoint_step(name) == step


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b'{"event":"other"}',
        b'{"event":"failed","message":1}',
        b'{"event":"failed","message":"' + b"x" * 1001 + b'"}',
        b'{"event":"progress","step":1,"total_steps":1,"epoch":0,"loss":NaN,"tokens":0}',
        b'{"event":"progress","step":"1","total_steps":1,"epoch":0,"loss":1,"tokens":0}',
        b'{"event":"progress","step":1,"total_steps":1,"epoch":0,"loss":1,"tokens":0,"x":1}',
    ],
)
def test_what_is_no_event(line: bytes) -> None:
    assert parse_event(line) is None


def test_progress_round_trips() -> None:
    event = parse_event(progress_event(Progress(3, 9, 1, 2, 40)))
    assert event == ProgressEvent(step=3, total_steps=9, epoch=1.0, loss=2.0, tokens=40)


GOOD = {
    "adapter": "adapter",
    "checkpoints": [],
    "steps": 1,
    "tokens": 1,
    "label_tokens": 1,
    "rows_trained": 1,
    "rows_dropped": 0,
    "rows_cut": 0,
    "software": {},
    "hardware": {},
}


@pytest.mark.parametrize(
    "changes",
    [
        {"adapter": "../../etc"},
        {"adapter": "/etc"},
        {"adapter": ".hidden"},
        {"steps": -1},
        {"steps": "1"},
        {"extra": 1},
        {"checkpoints": ["checkpoint-1"] * 1001},
        {"software": {"x": "y" * 5_000_000}},
    ],
)
def test_results_that_can_not_be_used(tmp_path: Path, changes: dict[str, object]) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(GOOD | changes))
    with pytest.raises(WorkerResultError):
        read_result(path)


def result(**changes: object) -> WorkerResult:
    return WorkerResult.model_validate_json(json.dumps(GOOD | changes))


def test_adapters_that_can_not_be_used(tmp_path: Path) -> None:
    with pytest.raises(WorkerResultError, match="no adapter folder"):
        adapter_files(tmp_path, result())
    folder = tmp_path / "adapter"
    folder.mkdir()
    with pytest.raises(WorkerResultError, match=r"adapter_model\.safetensors"):
        adapter_files(tmp_path, result())
    (folder / "adapter_model.safetensors").symlink_to("/etc/hostname")
    with pytest.raises(WorkerResultError, match="links"):
        adapter_files(tmp_path, result())
    (folder / "adapter_model.safetensors").unlink()
    (folder / "adapter_model.safetensors").write_bytes(b"x")
    assert len(adapter_files(tmp_path, result())) == 1
    (folder / "a name with spaces").write_bytes(b"x")
    with pytest.raises(WorkerResultError, match="name"):
        adapter_files(tmp_path, result())


def test_checkpoints_are_named_by_step(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint-12"
    folder.mkdir()
    with pytest.raises(WorkerResultError):
        checkpoint_refs(tmp_path, ["checkpoint-12"])
    (folder / "adapter_model.safetensors").write_bytes(b"x")
    assert [ref.step for ref in checkpoint_refs(tmp_path, ["checkpoint-12"])] == [12]
    with pytest.raises(WorkerResultError):
        checkpoint_refs(tmp_path, ["other"])


@pytest.mark.parametrize(
    "text",
    [
        '{"loss":"1","rows":[0],"step":1}\n{"loss":"1","rows":[0],"step":2}\n',
        "",
        '{"step":1,"rows":[0],"loss":"1"}\n',
        '{"loss":"1","step":1}\n',
        "[]\n",
    ],
)
def test_traces_that_can_not_be_used(tmp_path: Path, text: str) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text(text)
    with pytest.raises(WorkerResultError):
        list(read_trace(path, 1))
