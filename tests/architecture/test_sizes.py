"""How long a file and a function may be, and how many files a folder may hold."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.support.source_tree import ROOT, WINGS, module_name, rooms, sources

FILE_LINES, FOLDER_FILES, FUNCTION_LINES = 400, 14, 60

LONG_FUNCTIONS = {
    "veritune.arbiter.verdict.judge._decide": "one rule after the other, in the order that decides between them",
    "veritune.arbiter.verdict.judge._judge_mode": "every figure of one mode's judgement, each named once",
}
"""The functions that may be longer, each with its reason."""


def functions(path: Path) -> list[tuple[str, int]]:
    """Every function of a file with its lines, docstring included."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno is not None:
            found.append((f"{module_name(path)}.{node.name}", node.end_lineno - node.lineno + 1))
    return found


FILES = [path for wing in WINGS for path in sources(wing)]


def test_files_are_short() -> None:
    lines = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {path: count for path, count in lines.items() if count > FILE_LINES} == {}


def test_folders_hold_few_files() -> None:
    files = {str(folder.relative_to(ROOT)): len(list(folder.glob("*.py"))) for folder in rooms()}
    assert {folder: count for folder, count in files.items() if count > FOLDER_FILES} == {}


def test_every_folder_of_sources_is_a_room() -> None:
    """A folder without an ``__init__.py`` would escape the import contracts and has no door."""
    assert {path.parent for path in FILES} == set(rooms())


def test_functions_are_short() -> None:
    long = {name: lines for path in FILES for name, lines in functions(path) if lines > FUNCTION_LINES}
    assert {name: lines for name, lines in long.items() if name not in LONG_FUNCTIONS} == {}
    assert sorted(LONG_FUNCTIONS) == sorted(long), "a function that is short again leaves the list"
