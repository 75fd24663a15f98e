"""Progress of long work, on standard error, so that standard output stays for results.

Bars on a terminal. In a file or a pipe, a log of a nightly job for one, a line as each kind of work begins and ends and
now and then between. Both say for how long the work has run, how fast it goes and for how long yet.
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
"""Seconds between two lines about the same work."""
_REMEMBERED = 600.0
"""Seconds of the past from which a bar takes its rate: some steps take minutes."""


class ProgressBars:
    """One bar a kind of work; a new kind ends the one before."""

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
        unit = 1024 if what in _BYTES else 1
        self._show(what, -(-done // unit), -(-total // unit), "KiB" if unit > 1 else "")

    def training(self, view: JobView) -> None:
        """Shows a job's state and its last loss."""
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
    """A length of time in its two largest units, such as ``4 min 05 s``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def times(elapsed: float, speed: float | None, left: float | None, *, ended: bool) -> str:
    """Time so far, rate and time left, as far as they are known. ``speed`` is in steps a second."""
    parts = [f"took {span(elapsed)}" if ended else f"{span(elapsed)} so far"]
    if speed:
        parts.append(f"{speed:.1f}/s" if speed >= 1 else f"{60 * speed:.1f}/min")
    if left is not None and not ended:
        parts.append(f"about {span(left)} left")
    return ", ".join(parts)


class _TimesColumn(ProgressColumn):
    """`times` behind a bar."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        return Text(times(task.elapsed or 0.0, task.speed, task.time_remaining, ended=task.finished))


@dataclass
class _Work:
    """What was shown of one kind of work, by a monotonic clock."""

    begun: float
    before: int
    """How much was done when it was first heard of: work that goes on does not begin at 0."""
    done: int
    shown: float


class _Lines:
    """The same as lines of text."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._works: dict[str, _Work] = {}

    def show(self, what: str, done: int, total: int, note: str) -> None:
        """Says it, unless it was said a moment ago."""
        now, ended = time.monotonic(), done >= total > 0
        work = self._works.get(what)
        if work is None:
            work = self._works[what] = _Work(now, done, -1, -math.inf)
        if work.done == done if ended else now - work.shown < _EVERY:
            return
        # The same kind of work from its beginning, for another session for one.
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
    """A run whose work is shown while the block lasts."""
    console = plain_console(stderr=True)
    loaded = Job.load(job)
    first_time = not Workspace(folder or loaded.folder / RUN_FOLDER).secrets.exists()
    bars = ProgressBars(console, disable=quiet)
    # Libraries draw bars of their own over ours.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

    def ask() -> bytes:
        # A bar that is drawn again and again would overwrite the prompt.
        bars.progress.stop()
        try:
            return read_passphrase(confirm=first_time)
        finally:
            bars.progress.start()

    with bars.progress:
        yield Run(loaded, folder, passphrase=ask, progress=bars, on_training=bars.training)
