"""One worker process: started, listened to, stopped."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from veritune.provider.training.worker_protocol import MAX_LINE, Event, JobFiles, parse_event

_PRIVATE = ("VERITUNE_PROVIDER_PASSPHRASE",)


async def run_child(
    command: Sequence[str],
    files: JobFiles,
    stop: asyncio.Event,
    grace: float,
    on_event: Callable[[Event], Awaitable[None]],
) -> int:
    """Runs ``command`` with the task file as its last argument and returns its exit status (negative: the signal).

    Once ``stop`` is set the process is asked to end, and after ``grace`` seconds it is killed with all that it started.
    When the caller is cancelled, the process is killed.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _PRIVATE}
    # Set for the daemon, whose idle threads must not take the cores from training; training itself loses a quarter
    # of its speed by it, since its threads meet thousands of times a step.
    environment.pop("OMP_WAIT_POLICY", None)
    # They wait awake for some tens of microseconds, which is what they need, and not for milliseconds, as is the
    # library's way: by that, whatever else runs on the machine slows two threads on two cores down several times.
    environment.setdefault("GOMP_SPINCOUNT", "2000")
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
            stdin=asyncio.subprocess.PIPE,  # it ends when this pipe closes: with the daemon, however that ends
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
    """The whole process group, which may outlive its leader."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
