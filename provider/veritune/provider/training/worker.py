"""The child process that trains: ``python -m veritune.provider.training.worker TASK.json``.

It prints events on its standard output and leaves ``result.json`` beside the task file, written atomically, last.
SIGTERM asks it to stop at the next step, with a checkpoint. It ends at once when its standard input closes, which
is how it learns that the daemon has died; a lock keeps two workers from ever writing one job's folder.

Another program can take its place (``--trainer-command``) by calling `run` with a trainer of its own.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from veritune.common.errors import PeerError
from veritune.provider.telemetry.logs import describe
from veritune.provider.training.base import Progress, Trainer, TrainingCancelled
from veritune.provider.training.worker_protocol import (
    EXIT_CANCELLED,
    FailedEvent,
    JobFiles,
    progress_event,
    read_task,
    write_result,
)

EXIT_FAILED = 1
"""Exit status of a worker that could not train; its last event says why."""
EXIT_ORPHANED = 3
"""Exit status of a worker whose standard input was closed, because the daemon has died."""


def run(make_trainer: Callable[[], Trainer], argv: Sequence[str] | None = None) -> int:
    """The exit status after training the task that the command line names: 0, `EXIT_FAILED` or `EXIT_CANCELLED`.

    ``argv`` holds the task file's path only; None: the process's arguments. Another number of arguments gives 2.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    if len(arguments) != 1:
        print("usage: python -m veritune.provider.training.worker TASK.json", file=sys.stderr)
        return 2
    files = JobFiles(Path(arguments[0]).absolute().parent)
    events = _claim_stdout()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with (files.folder / "worker.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            task = read_task(Path(arguments[0]))
            result = make_trainer().train(task, lambda p: _send(events, progress_event(_finite(p))), stop.is_set)
            write_result(files, result)
        except TrainingCancelled:
            return EXIT_CANCELLED
        except PeerError as error:
            _send(events, FailedEvent(message=error.message[:1000]).model_dump_json().encode())
            return EXIT_FAILED
        except Exception as error:  # noqa: BLE001 - a process boundary that reports it
            # A foreign message may quote a row: neither the client nor a log gets it.
            _send(events, FailedEvent(message=f"the trainer failed: {type(error).__name__}").model_dump_json().encode())
            print(describe(error), file=sys.stderr)
            return EXIT_FAILED
    return 0


def main() -> int:
    """Runs the worker with the trainer that uses transformers and PEFT, and returns its exit status."""

    def make() -> Trainer:
        from veritune.provider.training.transformers_trainer import TransformersTrainer

        return TransformersTrainer()

    return run(make)


def _claim_stdout() -> BinaryIO:
    """The real standard output, for events only; whatever a library prints goes to standard error from now on."""
    events = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    return events


def _send(events: BinaryIO, line: bytes) -> None:
    events.write(line + b"\n")


def _finite(progress: Progress) -> Progress:
    """``progress`` with the largest float as the loss if that isn't finite, because JSON has no such number."""
    if progress.loss - progress.loss == 0:
        return progress
    return Progress(progress.step, progress.total_steps, progress.epoch, sys.float_info.max, progress.tokens)


def _end_with_parent() -> None:
    """Ends this process as soon as its standard input is closed."""
    while os.read(0, 1):
        pass
    os._exit(EXIT_ORPHANED)


if __name__ == "__main__":
    sys.exit(main())
