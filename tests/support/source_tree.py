"""The source tree as text: its files, its rooms and what each of them imports, without importing any of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The repository."""

WINGS = ("common", "arbiter", "client", "provider")
"""The source roots of hand-written code; ``proto`` beside them holds generated stubs."""


def wing_folder(wing: str, root: Path = ROOT) -> Path:
    """The package of a wing, such as ``client/veritune/client``."""
    return root / wing / "veritune" / wing


def sources(wing: str, root: Path = ROOT) -> list[Path]:
    """Every Python file of a wing."""
    found = sorted(wing_folder(wing, root).rglob("*.py"))
    assert found, f"{wing} has no source files"
    return found


def rooms(root: Path = ROOT) -> list[Path]:
    """The folder of every package, the wings among them."""
    return [path.parent for wing in WINGS for path in sources(wing, root) if path.name == "__init__.py"]


def module_name(path: Path, root: Path = ROOT) -> str:
    """The dotted name of a file, or of a folder with an ``__init__.py``."""
    parts = path.relative_to(root).with_suffix("").parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def exists(module: str, root: Path = ROOT) -> bool:
    """Whether a dotted name is a module or package of ours."""
    parts = module.split(".")
    path = root.joinpath(parts[1] if parts[1:] else "", *parts)
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def imports(path: Path) -> set[str]:
    """Every module that a file imports, anywhere in it: at its top, in functions and for type checking alone."""
    return {name for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) for name in _imported(node, path)}


def _imported(node: ast.AST, path: Path) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"{path}: relative import"
        module = node.module or ""
        inside = [f"{module}.{alias.name}" for alias in node.names]
        # A package of ours may give a module of its own (``from veritune.client import progress``) or a name.
        modules = [name for name in inside if module.startswith("veritune") and exists(name)]
        yield from modules
        if len(modules) < len(inside):
            yield module
