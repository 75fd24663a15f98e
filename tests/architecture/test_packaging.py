"""What is installed: the source roots, one namespace package, type information, and commands that exist."""

from __future__ import annotations

import importlib
import re
import tomllib
from typing import Any

import pytest

from tests.support.source_tree import ROOT, WINGS

ROOTS = ("proto", *WINGS)
PACKAGES = {root: f"{root}/veritune/{'v1' if root == 'proto' else root}" for root in ROOTS}


def settings() -> dict[str, Any]:
    """``pyproject.toml``."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("root", ROOTS)
def test_nothing_hides_the_namespace_package(root: str) -> None:
    """With a ``veritune/__init__.py`` in one root, Python would find none of the others."""
    assert not (ROOT / root / "veritune" / "__init__.py").exists()
    assert [path.name for path in (ROOT / root / "veritune").glob("[!_]*")] == [PACKAGES[root].rpartition("/")[2]]


@pytest.mark.parametrize("root", ROOTS)
def test_each_package_says_that_it_is_typed(root: str) -> None:
    """A namespace package has no place of its own for the marker of PEP 561: each portion carries one."""
    assert (ROOT / PACKAGES[root] / "py.typed").is_file()


def test_the_wheel_holds_every_root() -> None:
    found = settings()
    wheel = found["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert sorted(wheel["packages"]) == sorted(f"{root}/veritune" for root in ROOTS)
    assert sorted(wheel["dev-mode-dirs"]) == sorted(ROOTS)
    assert sorted(found["tool"]["pytest"]["ini_options"]["pythonpath"]) == sorted(ROOTS)
    assert sorted(found["tool"]["mypy"]["mypy_path"].split(":")) == sorted(ROOTS)
    assert sorted(found["tool"]["coverage"]["run"]["source"]) == sorted(f"{wing}/veritune" for wing in WINGS)
    assert sorted(found["tool"]["importlinter"]["root_packages"]) == sorted(f"veritune.{wing}" for wing in WINGS)


@pytest.mark.parametrize(("command", "target"), sorted(settings()["project"]["scripts"].items()))
def test_a_command_leads_to_a_function(command: str, target: str) -> None:
    module, _, name = target.partition(":")
    assert callable(getattr(importlib.import_module(module), name)), command


def test_the_readme_draws_the_tree_that_there_is() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    tree = re.search(r"^## The tree\n+```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert tree is not None, "README.md has no section 'The tree' with a drawing"
    drawn = re.findall(r"^([a-z]+)/", tree[1], re.MULTILINE)
    assert sorted(drawn) == sorted({*ROOTS, "examples", "tests", "benchmarks", "docs"})
    assert [name for name in drawn if not (ROOT / name).is_dir()] == []
    tests = re.search(r"^tests/ +(.*)$", tree[1], re.MULTILINE)
    assert tests is not None
    listed = [item for item in tests[1].split(", ") if re.fullmatch(r"[a-z]+", item)]
    assert [name for name in listed if not (ROOT / "tests" / name).is_dir()] == []
