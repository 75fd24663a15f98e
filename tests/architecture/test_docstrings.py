"""A public docstring says something: it is never three words or fewer. That there is one, ruff holds (D100 to D103)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.source_tree import WINGS, module_name, sources

FILES = [path for wing in WINGS for path in sources(wing)]
FEWEST_WORDS = 4

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def docstrings(node: Documented, name: str) -> Iterator[tuple[str, str]]:
    """Name and docstring of a module and of every public class, method and function in it."""
    text = ast.get_docstring(node)
    if text is not None:
        yield name, text
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if not child.name.startswith("_") or child.name.endswith("__"):
            yield from docstrings(child, f"{name}.{child.name}")


def too_short(source: str, name: str) -> list[str]:
    return [where for where, text in docstrings(ast.parse(source), name) if len(text.split()) < FEWEST_WORDS]


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_no_public_docstring_has_three_words_or_fewer(path: Path) -> None:
    assert too_short(path.read_text(encoding="utf-8"), module_name(path)) == []


def test_a_short_docstring_is_found_wherever_it_is_public() -> None:
    source = '''"""Exactly."""
class Public:
    """For people."""
    def method(self): """Certified at once."""
    async def waits(self): """What comes back when it ends."""
    def __init__(self): """Made."""
    def _own(self): """Own."""
class _Private:
    def method(self): """Short."""
'''
    assert too_short(source, "m") == ["m", "m.Public", "m.Public.method", "m.Public.__init__"]
