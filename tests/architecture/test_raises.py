"""A docstring that says what a function raises names errors of the tree, or of its own room."""

from __future__ import annotations

import ast
import builtins
import re
from pathlib import Path

import pytest

from tests.support.source_tree import WINGS, module_name, sources

NAMED = re.compile(r"`([A-Z]\w*Error)`")
FILES = [path for wing in WINGS for path in sources(wing)]
DEFINED = {
    node.name
    for path in FILES
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    if isinstance(node, ast.ClassDef)
}


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_errors_that_docstrings_name_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    unknown = set(NAMED.findall(text)) - DEFINED - set(vars(builtins))
    assert not {name for name in unknown if not re.search(rf"import .*\b{name}\b", text)}
