"""What the pages for people say to type, and where they point to, exists: targets, commands, options, paths, rooms."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from veritune.arbiter.cli.app import app as arbiter
from veritune.client.cli.app import app as client
from veritune.provider.cli import build_app

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    *(ROOT / f"{name}.md" for name in ("README", "ARCHITECTURE", "CONTRIBUTING")),
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("docs/adr/*.md")),
    *sorted(ROOT.glob("examples/*/README.md")),
)
WINGS = ("common", "arbiter", "client", "provider")
COMMANDS: dict[str, Any] = {
    "veritune": get_command(client),
    "veritune-arbiter": get_command(arbiter),
    "veritune-provider": get_command(build_app()),
}
MADE_ELSEWHERE = {"docs/errors.md"}
"""Pages that a program writes; its own test says when they are missing."""

pages = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())


def in_code(text: str) -> Iterator[str]:
    """Lines of code blocks, those that go on joined, and what stands between backticks."""
    for language, block in re.findall(r"^```([a-z]*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if language in ("", "sh"):
            yield from block.replace("\\\n", " ").splitlines()
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


def commands(text: str) -> Iterator[list[str]]:
    """Each line of code that calls one of `COMMANDS` with a subcommand, in words."""
    for line in in_code(text):
        command = line.removeprefix(".venv/bin/").partition(" #")[0]
        if re.match(rf"({'|'.join(COMMANDS)}) [a-z]", command):
            yield shlex.split(command)


@pages
def test_links_lead_to_files(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    links = [link for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) if "://" not in link]
    targets = {(page.parent / link).resolve().relative_to(ROOT).as_posix(): link for link in links}
    assert [link for path, link in targets.items() if path not in MADE_ELSEWHERE and not (ROOT / path).exists()] == []


@pages
def test_make_has_the_targets_that_are_named(page: Path) -> None:
    named = {name for line in in_code(page.read_text("utf-8")) for name in re.findall(r"^make ([a-z-]+)", line)}
    assert named - targets().keys() == set()


@pages
def test_commands_and_their_options_exist(page: Path) -> None:
    for program, name, *words in commands(page.read_text(encoding="utf-8")):
        subcommands = COMMANDS[program].commands
        assert name in subcommands, f"{program} {name}"
        known = {option for parameter in subcommands[name].params for option in parameter.opts}
        given = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert given - known - {"--help"} == set(), f"{program} {name}"


def test_the_search_for_commands_finds_some_and_refuses_others() -> None:
    readme = [words[:2] for words in commands((ROOT / "README.md").read_text(encoding="utf-8"))]
    for wanted in (["veritune", "run"], ["veritune-arbiter", "audit"], ["veritune-provider", "serve"]):
        assert wanted in readme
    block = "```sh\n.venv/bin/veritune dance --with x \\\n    --slowly # now\n```\n`veritune-arbiter sing`"
    assert list(commands(block)) == [
        ["veritune", "dance", "--with", "x", "--slowly"],
        ["veritune-arbiter", "sing"],
    ]


def targets() -> dict[str, str]:
    """The Makefile's targets that a person calls, each with its description."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert phony is not None
    described = dict(re.findall(r"^([a-z-]+):.*?## (.+)$", text, re.MULTILINE))
    return {name: described.get(name, "") for name in phony[1].split()}


def test_make_help_shows_every_target() -> None:
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert [line.split(maxsplit=1) for line in shown.stdout.splitlines()] == [list(item) for item in targets().items()]
    assert all(targets().values())


def test_the_extras_of_the_table_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    named = re.findall(r"pip install '\.\[([a-z,]+)\]'", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert {extra for group in named for extra in group.split(",")} >= {"client", "model", "provider", "vllm"}
    assert {extra for group in named for extra in group.split(",")} <= extras.keys()


@pytest.mark.parametrize("wing", WINGS)
def test_the_architecture_lists_every_room(wing: str) -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    section = re.search(rf"^### {wing}:.*?(?=^##)", text, re.MULTILINE | re.DOTALL)
    assert section is not None
    listed = set(re.findall(r"`([a-z/]+)`", " ".join(re.findall(r"^\| (`[^|]*)\|", section[0], re.MULTILINE))))
    folder = ROOT / wing / "veritune" / wing
    rooms = {f"{path.parent.name}/" for path in folder.glob("*/__init__.py")}
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert (rooms | modules) - listed == set()


def test_the_glossary_says_where_a_word_is_defined() -> None:
    rows = re.findall(r"^\|.*\|([^|]+)\|$", (ROOT / "docs" / "glossary.md").read_text("utf-8"), re.MULTILINE)
    named = {path for row in rows for path in re.findall(r"`([^`]+)`", row)}
    assert len(named) > 20
    wings = "|".join(WINGS)
    places = {path: re.sub(rf"^({wings})/", r"\1/veritune/\1/", path) for path in named}
    assert [path for path, place in places.items() if not (ROOT / path).exists() and not (ROOT / place).exists()] == []


def test_every_decision_stands_in_the_index_and_on_the_site() -> None:
    index = (ROOT / "docs" / "adr" / "README.md").read_text(encoding="utf-8")
    site = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    decisions = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
    assert [path.name for path in decisions if f"]({path.name}) |" not in index] == []
    assert [path.name for path in decisions if f"adr/{path.name}\n" not in site] == []
