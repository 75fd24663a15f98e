"""Progress of long work, shown on standard error, so that standard output has results alone.

A terminal shows progress bars. A file or pipe, such as the log of a nightly job, gets a line when each kind of work
begins and ends, and every 30 seconds. Both show the time so far, the rate and the time left.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from veritune.arbiter.cli.console import plain_console
from veritune.client.cli.passphrase import read_passphrase
from veritune.client.job.file import Job
from veritune.client.run.run import RUN_FOLDER, Run
from veritune.client.workspace.folder import Workspace

if TYPE_CHECKING:
    from veritune.client.exchange.provider_client import JobView

_BYTES = {"upload", "download"}
_EVERY = 30.0
"""Smallest number of seconds between two lines about the same work."""
_REMEMBERED = 600.0
"""Number of past seconds from which a bar estimates its rate; it is large because some steps take minutes."""


class ProgressBars:
    """A `Progress` callback that shows one bar for each kind of work, or lines if there is no terminal.

    A new kind of work stops the clock of the bar before.
    """

    def __init__(self, console: Console, *, disable: bool) -> None:
        self.progress = Progress(
            TextColumn("{task.description:<24}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            _TimesColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
            disable=disable or not console.is_terminal,
            speed_estimate_period=_REMEMBERED,
        )
        self._tasks: dict[str, TaskID] = {}
        self._lines = None if disable or console.is_terminal else _Lines(console)

    def __call__(self, what: str, done: int, total: int) -> None:
        """Shows that ``done`` of ``total`` steps (bytes for transfers) are done; a total of 0 is unknown."""
        unit = 1024 if what in _BYTES else 1
        self._show(what, -(-done // unit), -(-total // unit), "KiB" if unit > 1 else "")

    def training(self, view: JobView) -> None:
        """Shows a training job's step, state and last loss."""
        note = view.state
        if view.state == "training" and view.step:
            note = f"epoch {view.epoch:.2f}, loss {view.loss:.3f}"
        self._show("train", view.step, view.total_steps, note)

    def _show(self, what: str, done: int, total: int, note: str) -> None:
        if self._lines is not None:
            self._lines.show(what, done, total, note)
            return
        if what not in self._tasks:
            for task in self._tasks.values():
                self.progress.stop_task(task)
            self._tasks[what] = self.progress.add_task(what, total=None, note="")
        self.progress.update(self._tasks[what], completed=done, total=total or None, note=note)


def span(seconds: float) -> str:
    """A duration as text in its two largest units, such as ``4 min 05 s``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def times(elapsed: float, speed: float | None, left: float | None, *, ended: bool) -> str:
    """Text with the time so far, the rate and the time left, without those that are None.

    ``elapsed`` and ``left`` are in seconds, ``speed`` in steps per second.
    """
    parts = [f"took {span(elapsed)}" if ended else f"{span(elapsed)} so far"]
    if speed:
        parts.append(f"{speed:.1f}/s" if speed >= 1 else f"{60 * speed:.1f}/min")
    if left is not None and not ended:
        parts.append(f"about {span(left)} left")
    return ", ".join(parts)


class _TimesColumn(ProgressColumn):
    """The column of a progress bar that shows `times`."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        return Text(times(task.elapsed or 0.0, task.speed, task.time_remaining, ended=task.finished))


@dataclass
class _Work:
    """What was last shown of one kind of work; times are seconds of a monotonic clock."""

    begun: float
    before: int
    """The number of steps done when the work began; work that resumes doesn't begin at 0."""
    done: int
    shown: float


class _Lines:
    """Shows progress as lines of text, for a file or pipe."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._works: dict[str, _Work] = {}

    def show(self, what: str, done: int, total: int, note: str) -> None:
        """Prints a line, unless one about the same work was printed less than 30 seconds ago."""
        now, ended = time.monotonic(), done >= total > 0
        work = self._works.get(what)
        if work is None:
            work = self._works[what] = _Work(now, done, -1, -math.inf)
        if work.done == done if ended else now - work.shown < _EVERY:
            return
        # The same kind of work began again, for instance for another session.
        if done < work.done:
            work.begun, work.before = now, done
        work.done, work.shown = done, now
        counts = " ".join(filter(None, (f"{what}: {done} of {total or '?'}", note)))
        elapsed, more = now - work.begun, done - work.before
        speed = more / elapsed if more > 0 and elapsed > 0 else None
        left = (total - done) / speed if speed and total else None
        clock = times(elapsed, speed, left, ended=ended) if elapsed > 0 else ""
        self._console.print("; ".join(filter(None, (counts, clock))), soft_wrap=True)


@contextmanager
def running(job: Path, folder: Path | None, *, quiet: bool) -> Iterator[Run]:
    """The run of a job file, whose progress is shown inside the ``with`` block, unless ``quiet``. Raises `JobError`."""
    console = plain_console(stderr=True)
    loaded = Job.load(job)
    first_time = not Workspace(folder or loaded.folder / RUN_FOLDER).secrets.exists()
    bars = ProgressBars(console, disable=quiet)
    # Libraries would draw their own bars over ours.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

    def ask() -> bytes:
        # A bar is redrawn all the time and would overwrite the prompt.
        bars.progress.stop()
        try:
            return read_passphrase(confirm=first_time)
        finally:
            bars.progress.start()

    with bars.progress:
        yield Run(loaded, folder, passphrase=ask, progress=bars, on_training=bars.training)
