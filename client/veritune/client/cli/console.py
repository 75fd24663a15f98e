"""The console that everything for people goes through."""

from __future__ import annotations

from rich.console import Console


def plain_console(*, stderr: bool = False) -> Console:
    """A console that prints text as it is.

    Paths, reasons and sections of a job file hold square brackets, which rich would take for markup and drop.
    """
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)
