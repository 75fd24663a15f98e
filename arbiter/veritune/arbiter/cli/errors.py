"""How a command of `veritune` ends after an exception: exit code, reason, message and what to do."""

from __future__ import annotations

from typing import NamedTuple

import typer

from veritune.common.errors import VerituneError
from veritune.common.exits import EXITS, exit_of, missing_extra


class Ending(NamedTuple):
    """What a shell and a person are told. ``message`` and ``hint`` are one line each."""

    code: int
    reason: str
    fault: str
    """Whose fault it is: peer, own, client (the one who wrote a report) or internal."""
    message: str
    hint: str


def exit_code(verdict: str) -> int:
    """The exit code of a verdict: 0 for PASS, 1 for FAIL, 2 for INCONCLUSIVE."""
    return {"PASS": 0, "FAIL": 1}.get(verdict, 2)


def describe(error: BaseException) -> Ending:
    """How a command ends after ``error``, which may be any exception."""
    if isinstance(error, VerituneError):
        ending = exit_of(error)
        message = ("the provider answers: " if error.told else "") + _one_line(error.message)
        return Ending(ending.code, error.reason, error.fault, message, ending.remedy)
    if missing := missing_extra(error):
        return Ending(EXITS["MISSING_EXTRA"].code, "MISSING_EXTRA", "own", *missing)
    if isinstance(error, OSError):
        where = f": {error.filename}" if error.filename else ""
        return Ending(74, "SYSTEM", "own", f"{error.strerror or 'input or output failed'}{where}", "")
    if hasattr(error, "format_message"):
        return Ending(64, "USAGE", "own", _one_line(error.format_message()), EXITS["USAGE"].remedy)
    if not isinstance(error, (KeyboardInterrupt, typer.Abort)):
        hint = "put --debug before the command to see where"
        return Ending(70, "INTERNAL", "internal", f"an unforeseen {type(error).__name__}", hint)
    return Ending(130, "INTERRUPTED", "own", "interrupted", EXITS["TRUNCATED"].remedy)


def _one_line(text: str) -> str:
    """A text on one line without control characters: it may quote names from another party's document."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())
