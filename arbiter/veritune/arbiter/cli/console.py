"""Shared by all command lines: a result as text or JSON, one line for an error, one exit code."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from veritune.arbiter.cli.errors import describe

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, for machines.")]


def say(as_json: bool, value: dict[str, Any], text: str | Callable[[], Any]) -> None:
    """Prints ``value`` as one JSON object, or else ``text``: a line, or a function that returns a `rich` renderable."""
    if as_json:
        typer.echo(json.dumps(value, ensure_ascii=False))
    elif isinstance(text, str):
        typer.echo(text)
    else:
        from rich.console import Console

        Console(highlight=False).print(text())


def show_version() -> None:
    """Prints the installed version. Raises ``typer.Exit``."""
    from importlib import metadata

    typer.echo(metadata.version("veritune"))
    raise typer.Exit


def run_app(app: typer.Typer, name: str, arguments: Sequence[str]) -> int:
    """Runs a command of ``app``, called ``name``; returns its exit code. Errors print one line on standard error."""
    try:
        code = app(args=list(arguments), prog_name=name, standalone_mode=False)
    except (Exception, KeyboardInterrupt) as error:
        if "--debug" in arguments:
            raise
        code, reason, message, hint = describe(error)
        if "--json" in arguments:
            typer.echo(json.dumps({"error": {"reason": reason, "message": message, "hint": hint}}))
        typer.echo(f"error [{reason}] {message}", err=True)
        if hint:
            typer.echo(f"hint: {hint}", err=True)
        return code
    return code if isinstance(code, int) else 0
