"""The executor that trains in a child process: what it writes for the child, and how the child's end reads."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from veritune.common.documents.manifest import Training
from veritune.provider.jobs.child_process import ChildProcessExecutor
from veritune.provider.jobs.executor import RunEnd, TrainingOrder
from veritune.provider.training.base import TrainingTask
from veritune.provider.training.worker_protocol import (
    EXIT_CANCELLED,
    FailedEvent,
    JobFiles,
    ProgressEvent,
    WorkerResultError,
    read_task,
)

PROGRESS = ProgressEvent(step=1, total_steps=2, epoch=0.5, loss=1.5, tokens=10)
FAILED = FailedEvent(message="row 3 is bad")


def executor(folder: Path, code: str) -> ChildProcessExecutor:
    return ChildProcessExecutor(folder, (sys.executable, "-c", code), grace=5, threads=3)


def order(folder: Path) -> TrainingOrder:
    return TrainingOrder(folder / "model", folder / "rows", Training(rank=7), max_cut_rows=2)


async def run(folder: Path, code: str) -> tuple[RunEnd, list[ProgressEvent]]:
    seen: list[ProgressEvent] = []

    async def on_progress(event: ProgressEvent) -> None:
        seen.append(event)

    return await executor(folder, code).run("job-1", order(folder), asyncio.Event(), on_progress), seen


async def test_the_child_gets_the_task_in_the_jobs_own_folder(tmp_path: Path) -> None:
    code = "import os, sys; print(os.getcwd(), sys.argv[1], file=sys.stderr)"
    assert await run(tmp_path, code) == (RunEnd("finished"), [])
    files = JobFiles(tmp_path / "job-1")
    assert files.log.read_text().split() == [str(files.folder), str(files.task)]
    assert read_task(files.task) == TrainingTask(
        tmp_path / "model", tmp_path / "rows", files.output, Training(rank=7), 3, 2
    )


async def test_progress_is_handed_on_and_a_failure_is_the_end(tmp_path: Path) -> None:
    code = f"import sys; print({PROGRESS.model_dump_json()!r}); print({FAILED.model_dump_json()!r}); sys.exit(1)"
    assert await run(tmp_path, code) == (RunEnd("failed", "row 3 is bad"), [PROGRESS])


@pytest.mark.parametrize(
    ("code", "end"),
    [
        (f"raise SystemExit({EXIT_CANCELLED})", RunEnd("stopped")),
        ("raise SystemExit(3)", RunEnd("failed", "the trainer ended with status 3")),
        ("import os; os.kill(os.getpid(), 9)", RunEnd("failed", "the trainer was killed by signal 9")),
    ],
)
async def test_an_exit_status_has_a_meaning(tmp_path: Path, code: str, end: RunEnd) -> None:
    assert (await run(tmp_path, code))[0] == end


RESULT = {
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


async def test_output_is_there_once_the_result_file_is(tmp_path: Path) -> None:
    place = executor(tmp_path, "")
    assert await place.collect("job-1") is None
    files = JobFiles(tmp_path / "job-1")
    files.output.mkdir(parents=True)
    assert await place.collect("job-1") is None
    files.result.write_text(json.dumps(RESULT))
    output = await place.collect("job-1")
    assert output is not None
    assert (output.folder, output.trace, output.result.steps) == (files.output, files.trace, 1)
    files.result.write_text("{}")
    with pytest.raises(WorkerResultError):
        await place.collect("job-1")
