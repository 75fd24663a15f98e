"""What people read comes out as it was written: no word in square brackets is taken for rich's markup."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from rich.markup import escape
from typer.main import get_command
from typer.testing import CliRunner

from veritune.arbiter.cli.app import app as arbiter
from veritune.client.cli.app import app
from veritune.provider.cli import build_app

ROOT = Path(__file__).resolve().parents[2]
APPS = {"veritune": app, "veritune-arbiter": arbiter, "veritune-provider": build_app()}


def commands() -> Iterator[tuple[str, str]]:
    for name, program in APPS.items():
        yield name, ""
        command = get_command(program)
        for sub in getattr(command, "commands", {}):
            yield name, sub


def written(program: typer.Typer, name: str) -> list[str]:
    """The texts of a command as the source has them, without the escapes that keep rich from dropping brackets."""
    command = get_command(program)
    if name:
        command = command.commands[name]  # type: ignore[attr-defined]  # a group
    texts = [command.help, command.epilog, *(getattr(parameter, "help", None) for parameter in command.params)]
    return [text.replace("\\[", "[") for text in texts if text]


@pytest.mark.parametrize(("program", "name"), list(commands()))
def test_help_keeps_every_word(program: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 4000)
    done = CliRunner().invoke(APPS[program], [name, "--help"] if name else ["--help"])
    assert done.exit_code == 0
    shown = " ".join(done.output.split())
    for text in written(APPS[program], name):
        for paragraph in text.split("\n\n"):
            assert " ".join(paragraph.split()) in shown, f"{program} {name}"


@pytest.mark.parametrize(("program", "name"), list(commands()))
def test_help_has_no_line_break_within_a_paragraph(program: str, name: str) -> None:
    command = get_command(APPS[program])
    command = command.commands[name] if name else command  # type: ignore[attr-defined]  # a group
    # Typer itself wraps the first paragraph, and shows the others line by line.
    _, *others = (command.help or "").split("\n\n")
    assert not [paragraph for paragraph in others if "\n" in paragraph.strip()]


def test_escapes_are_those_of_rich() -> None:
    plan = written(app, "plan")
    assert any("[canaries]" in text for text in plan)
    assert escape("[canaries]") == "\\[canaries]"


def calls(path: Path, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == name:
            yield node


SOURCES = sorted(
    path
    for part in ("client", "provider", "arbiter", "examples")
    for path in (ROOT / part).rglob("*.py")
    if "rich" in path.read_text(encoding="utf-8")
)


def test_sources_that_print_by_rich_are_found() -> None:
    assert {"console.py", "progress.py", "cli.py", "demo.py"} <= {path.name for path in SOURCES}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_printed_through_markup(path: Path) -> None:
    for name, off in (("Console", {"markup", "emoji"}), ("TextColumn", {"markup"})):
        for call in calls(path, name):
            given = {word.arg for word in call.keywords if ast.unparse(word.value) == "False"}
            assert off <= given, f"line {call.lineno}: {name} without {', '.join(sorted(off - given))}=False"
    assert not list(calls(path, "from_markup"))
