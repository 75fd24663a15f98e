"""A hint that tells to set something names a setting of veritune.toml, or an option of a command, that exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from pydantic import BaseModel
from typer.main import get_command

from veritune.client.cli.app import app
from veritune.client.job.file import JobFile
from veritune.client.redteam.table import _ADVICE
from veritune.common.exits import EXITS

ROOT = Path(__file__).resolve().parents[2]
FILES = {("client", "key"), ("client", "pub"), ("provider", "pub"), ("provider", "toml")}
"""Names of files that look like settings."""
ERRORS = ("PlanError", "JobError", "RowsError", "UsageError", "ChangedError", "SecretsError", "StepError", "ValueError")


def sections() -> dict[str, set[str]]:
    """The keys of each section of a job."""
    found = {}
    for name, field in JobFile.model_fields.items():
        kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if isinstance(kind, type)]
        found[name] = {key for kind in kinds if issubclass(kind, BaseModel) for key in kind.model_fields}
    return found


SECTIONS = sections()
OPTIONS = {
    option
    for command in get_command(app).commands.values()  # type: ignore[attr-defined]  # a group
    for parameter in command.params
    for option in parameter.opts
} | {"--debug", "--help", "--database", "--engine"}


def text_of(node: ast.expr) -> str:
    """The constant parts of a message; ``{}`` stands for what is filled in."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) for part in node.values)
    if isinstance(node, ast.BinOp):
        return text_of(node.left) + text_of(node.right)
    return "{}"


def messages() -> Iterator[tuple[str, str]]:
    """Every text that may hold a hint, and where it is."""
    for path in sorted((ROOT / "client" / "veritune").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ERRORS and node.args:
                yield f"{path.relative_to(ROOT)}:{node.lineno}", text_of(node.args[0])
            elif isinstance(node, ast.Return) and isinstance(node.value, ast.JoinedStr):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", text_of(node.value)
    yield from ((reason, ending.remedy) for reason, ending in EXITS.items())
    yield from _ADVICE.items()


MESSAGES = list(messages())
_DOTTED = re.compile(r"(?<![\w./{}])([a-z]+)\.([a-z_]+)(?![\w(/])")
_TO_SET = re.compile(r"(?:; |, or |, |: )(?:raise|lower|set|allow|sow|ask for) ([^;]*)")


def settings_in(text: str) -> list[tuple[str, str]]:
    return [(section, key) for section, key in _DOTTED.findall(text) if section in SECTIONS]


def test_the_hints_are_found() -> None:
    assert len(MESSAGES) > 150
    assert sum(bool(settings_in(text)) for _, text in MESSAGES) > 30
    assert SECTIONS["canaries"] >= {"naturals", "held_out"}
    assert SECTIONS["rewording"] >= {"rules", "frames"}


def test_what_is_named_exists() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]  # a group
    wrong: list[tuple[str, object]] = []
    for where, text in MESSAGES:
        wrong += [(where, name) for name in settings_in(text) if name not in FILES and name[1] not in SECTIONS[name[0]]]
        wrong += [(where, option) for option in set(re.findall(r"(?<!\w)--[a-z-]+\b", text)) - OPTIONS]
        wrong += [(where, name) for name in set(re.findall(r"`veritune ([a-z]+)", text)) - set(commands)]
    assert not wrong


def test_a_setting_is_named_with_its_section() -> None:
    keys = {key for keys in SECTIONS.values() for key in keys if "_" in key}
    bare = [
        (where, word)
        for where, text in MESSAGES
        for word in re.findall(r"(?<![\w.-])[a-z]+(?:_[a-z]+)+\b", text)
        if word in keys
    ]
    assert not bare, "without their sections"


def test_whoever_is_told_to_set_something_is_told_what() -> None:
    vague = [
        (where, told)
        for where, text in MESSAGES
        for told in _TO_SET.findall(text)
        if not (settings_in(text) or "--" in text or re.search(r"[a-z]+\.\{\}", told) or told == "{}")
    ]
    assert not [(where, told) for where, told in vague if "VERITUNE_" not in told]
