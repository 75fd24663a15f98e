"""Progress of long work, on standard error, so that standard output stays for results.

Bars on a terminal. In a file or a pipe, a log of a nightly job for one, a line as each kind of work begins and ends and
now and then between.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from veritune.client.cli.passphrase import read_passphrase
from veritune.client.job.file import Job
from veritune.client.run.run import RUN_FOLDER, Run
from veritune.client.workspace.folder import Workspace

if TYPE_CHECKING:
    from veritune.client.exchange.provider_client import JobView

_BYTES = {"upload", "download"}
_EVERY = 30.0
"""Seconds between two lines about the same work."""


class ProgressBars:
    """One bar a kind of work; a new kind ends the one before."""

    def __init__(self, console: Console, *, disable: bool) -> None:
        self.progress = Progress(
            TextColumn("{task.description:<24}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=disable or not console.is_terminal,
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


class _Lines:
    """The same as lines of text."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told: dict[str, tuple[int, float]] = {}

    def show(self, what: str, done: int, total: int, note: str) -> None:
        """Says it, unless it was said a moment ago."""
        before, when = self._told.get(what, (-1, -math.inf))
        if before == done if done >= total > 0 else time.monotonic() - when < _EVERY:
            return
        self._told[what] = done, time.monotonic()
        self._console.print(" ".join(filter(None, (f"{what}: {done} of {total or '?'}", note))), soft_wrap=True)


@contextmanager
def running(job: Path, folder: Path | None, *, quiet: bool) -> Iterator[Run]:
    """A run whose work is shown while the block lasts."""
    console = Console(stderr=True, highlight=False)
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
