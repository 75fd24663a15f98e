"""Runs training in a child process on the daemon's machine, reads its events and stops it on request."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

from veritune.provider.concurrency import in_thread
from veritune.provider.jobs.executor import Executor, ProgressListener, RunEnd, TrainedOutput, TrainingOrder
from veritune.provider.training.base import TrainingTask
from veritune.provider.training.worker_protocol import (
    EXIT_CANCELLED,
    MAX_LINE,
    Event,
    FailedEvent,
    JobFiles,
    parse_event,
    read_result,
    write_task,
)

_PRIVATE = ("VERITUNE_PROVIDER_PASSPHRASE",)
"""Environment variables that a worker does not get."""


class ChildProcessExecutor(Executor):
    """An executor that runs ``command`` in ``folder/JOB`` with the task file's absolute path as its last argument.

    Checkpoints, output and log stay in that folder. ``grace``: seconds between asking a worker to stop and killing it.
    ``threads``: torch threads, as in `TrainingTask`.
    """

    def __init__(self, folder: Path, command: Sequence[str], grace: float, threads: int = 0) -> None:
        self._folder = folder
        self._command = tuple(command)
        self._grace = grace
        self._threads = threads

    async def run(
        self, job_id: str, order: TrainingOrder, stop: asyncio.Event, on_progress: ProgressListener
    ) -> RunEnd:
        """The end of one run of the worker, as its exit status and its events tell it; see `Executor.run`.

        Raises what ``on_progress`` raises, and `OSError` if ``command`` can't be started.
        """
        files = self._files(job_id)
        await in_thread(self._prepare, files, order)
        failures: list[FailedEvent] = []

        async def on_event(event: Event) -> None:
            if isinstance(event, FailedEvent):
                failures[:] = [event]
            else:
                await on_progress(event)

        status = await run_child(self._command, files, stop, self._grace, on_event)
        if status == 0:
            return RunEnd("finished")
        if status == EXIT_CANCELLED:
            return RunEnd("stopped")
        if failures:
            return RunEnd("failed", failures[0].message)
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        return RunEnd("failed", f"the trainer {how}")

    async def collect(self, job_id: str) -> TrainedOutput | None:
        """The output in the job's folder if a run has finished, else None. Raises `WorkerResultError`."""
        files = self._files(job_id)
        result = await in_thread(read_result, files.result)
        return None if result is None else TrainedOutput(result, files.output, files.trace)

    def _files(self, job_id: str) -> JobFiles:
        return JobFiles(self._folder / job_id)

    def _prepare(self, files: JobFiles, order: TrainingOrder) -> None:
        files.output.mkdir(parents=True, exist_ok=True, mode=0o700)
        task = TrainingTask(
            base_model=order.base_model.absolute(),
            dataset=order.dataset.absolute(),
            output=files.output.absolute(),
            training=order.training,
            threads=self._threads,
            max_cut_rows=order.max_cut_rows,
        )
        write_task(files, task)


async def run_child(
    command: Sequence[str],
    files: JobFiles,
    stop: asyncio.Event,
    grace: float,
    on_event: Callable[[Event], Awaitable[None]],
) -> int:
    """The exit status of ``command``, run with the task file as its last argument; negative if a signal killed it.

    Once ``stop`` is set, the process is asked to end; after ``grace`` seconds it is killed with its own children. If
    the caller is cancelled or ``on_event`` raises, the process is killed at once.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _PRIVATE}
    # Set for the daemon, whose idle threads must not take the cores from training; training itself loses a quarter
    # of its speed by it, since its threads meet thousands of times a step.
    environment.pop("OMP_WAIT_POLICY", None)
    environment |= {
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
        "TQDM_DISABLE": "1",
    }
    log = os.open(files.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            str(files.task),
            stdin=asyncio.subprocess.PIPE,  # the worker ends when this pipe closes, as it does when the daemon dies
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            cwd=files.folder,
            env=environment,
            limit=MAX_LINE,
            start_new_session=True,
        )
    finally:
        os.close(log)
    reader = asyncio.ensure_future(_listen(process, on_event))
    stopper = asyncio.ensure_future(_stop_when_asked(process, stop, grace))
    ended = asyncio.ensure_future(process.wait())
    try:
        await asyncio.wait({reader, ended}, return_when=asyncio.FIRST_COMPLETED)
        if not reader.done():
            # What is in the pipe still counts; but a grandchild may hold it open for ever.
            await asyncio.wait({reader}, timeout=5)
        if reader.done():
            reader.result()  # a listener that failed would leave the worker stuck at a full pipe
        return await ended
    finally:
        _kill(process)
        for task in (reader, stopper, ended):
            task.cancel()
        await asyncio.gather(reader, stopper, ended, return_exceptions=True)
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()  # killed by now: this only reaps it


async def _listen(process: asyncio.subprocess.Process, on_event: Callable[[Event], Awaitable[None]]) -> None:
    if process.stdout is None:
        raise RuntimeError("the worker has no standard output")
    while True:
        try:
            line = await process.stdout.readline()
        except ValueError:  # an over-long line, which asyncio has dropped
            continue
        if not line:
            return
        event = parse_event(line.removesuffix(b"\n"))
        if event is not None:
            await on_event(event)


async def _stop_when_asked(process: asyncio.subprocess.Process, stop: asyncio.Event, grace: float) -> None:
    await stop.wait()
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    await asyncio.sleep(grace)
    _kill(process)


def _kill(process: asyncio.subprocess.Process) -> None:
    """Kills the whole process group, which may outlive its leader."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
