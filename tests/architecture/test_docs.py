"""The documents name modules and functions that exist: a move that forgets them is found here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.source_tree import ROOT

DOCS = [*sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("*.md"))]
SUFFIXES = {
    "py",
    "md",
    "toml",
    "json",
    "jsonl",
    "key",
    "pub",
    "crt",
    "svg",
    "safetensors",
    "jinja",
    "txt",
    "yml",
    "yaml",
}
DOTTED = re.compile(r"`((?:[a-z_]+\.)+[A-Za-z_]+)`")
PATHS = re.compile(r"`((?:common|arbiter|client|provider|proto|tests|benchmarks|examples)/[\w./-]+\.\w+)`")


def sources() -> dict[str, str]:
    """Text of every module by its dotted name within the roots and benchmarks."""
    found = {}
    for root in ("common", "arbiter", "client", "provider", "benchmarks", "examples"):
        for path in (ROOT / root).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(part for part in parts if part != "__init__")] = path.read_text(encoding="utf-8")
    return found


SOURCES = sources()
EVERYTHING = "\n".join([*SOURCES.values(), (ROOT / "pyproject.toml").read_text(encoding="utf-8")])


@pytest.mark.parametrize("document", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_and_their_names_exist(document: Path) -> None:
    if document.name == "CHANGELOG.md":
        pytest.skip("it tells of what was")
    missing = [
        dotted
        for dotted in DOTTED.findall(document.read_text(encoding="utf-8"))
        if dotted.rpartition(".")[2] not in SUFFIXES and not exists(dotted)
    ]
    assert not missing


@pytest.mark.parametrize("document", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_paths_exist(document: Path) -> None:
    if document.name == "CHANGELOG.md":
        pytest.skip("it tells of what was")
    named = PATHS.findall(document.read_text(encoding="utf-8"))
    assert not [path for path in named if "*" not in path and not is_there(path)]


def is_there(path: str) -> bool:
    """True for a path from the root, or one that leaves out a wing's package: `common/keys.py`."""
    wing, _, rest = path.partition("/")
    return (ROOT / path).exists() or (ROOT / wing / "veritune" / wing / rest).exists()


def exists(dotted: str) -> bool:
    """True for a module, a name in a module, or any other dotted name (a setting, a library's) of words that we use."""
    *owner, name = dotted.removeprefix("veritune.").split(".")
    tail = ".".join(owner)
    inside = [text for module, text in SOURCES.items() if module == tail or module.endswith(f".{tail}")]
    if any(re.search(rf"\b{name}\b", text) for text in inside):
        return True
    return all(re.search(rf"\b{part}\b", EVERYTHING) for part in (*owner, name))
