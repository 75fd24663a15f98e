"""Shared by all command lines: a result as text or JSON, one line for an error, one exit code."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from veritune.arbiter.cli.errors import describe

if TYPE_CHECKING:
    from rich.console import Console

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, for machines.")]


_INTERRUPTED = 130


def say(as_json: bool, value: dict[str, Any], text: str | Callable[[], Any]) -> None:
    """Prints ``value`` as one JSON object, or else ``text``: a line, or a function that returns a `rich` renderable."""
    if as_json:
        typer.echo(json.dumps(value, ensure_ascii=False))
    elif isinstance(text, str):
        typer.echo(text)
    else:
        # Uncropped: a line that is longer than the terminal is wide, such as a command to copy, comes out whole.
        plain_console().print(text(), crop=False)


def plain_console(*, stderr: bool = False) -> Console:
    """A console that prints text as it is.

    Paths, reasons and sections of a job file hold square brackets, which rich would take for markup and drop.
    """
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def start(
    context: typer.Context,
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Show the version and leave.")] = False,
) -> None:
    """What stands before any command; without a command it shows the help."""
    context.ensure_object(dict)["debug"] = debug
    if version:
        from importlib import metadata

        typer.echo(metadata.version("veritune"))
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit


def join_help_lines(app: typer.Typer) -> None:
    """Makes each paragraph of the commands' help texts one line, for the terminal to wrap.

    Typer wraps a docstring's first paragraph alone, and keeps the line breaks of those that follow.
    """
    for command in app.registered_commands:
        text = command.help or inspect.getdoc(command.callback) or ""
        command.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def run_app(app: typer.Typer, name: str, arguments: Sequence[str]) -> int:
    """Runs a command of ``app``, called ``name``; returns its exit code. Errors print one line on standard error."""
    try:
        code = app(args=list(arguments), prog_name=name, standalone_mode=False)
    except (Exception, KeyboardInterrupt) as error:
        if "--debug" in arguments:
            raise
        return _tell(error, "--json" in arguments)
    if code == _INTERRUPTED:  # typer takes an interrupt for an exit with this code
        return _tell(KeyboardInterrupt(), "--json" in arguments)
    return code if isinstance(code, int) else 0


def _tell(error: BaseException, as_json: bool) -> int:
    """Prints what to know about an error, and returns the exit code."""
    ending = describe(error)
    if as_json:
        found = ending._asdict()
        del found["code"]
        typer.echo(json.dumps({"error": found}))
    typer.echo(f"error [{ending.reason}] {ending.message}", err=True)
    if ending.hint:
        typer.echo(f"hint: {ending.hint}", err=True)
    return ending.code
