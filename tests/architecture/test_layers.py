"""Who may import whom (docs/adr/0001): read from the source, so that no test has to import anything heavy."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("common", "arbiter", "client", "provider")
HEAVY = {"torch", "grpc", "grpc_status", "scipy", "transformers", "peft", "vllm", "numpy", "sqlalchemy"}


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
    return names


def sources(part: str) -> list[Path]:
    found = sorted((ROOT / part / "veritune" / part).rglob("*.py"))
    assert found
    return found


def test_common_is_light_and_only_wire_knows_the_stubs() -> None:
    for path in sources("common"):
        for name in imports(path):
            assert name.split(".")[0] not in HEAVY, f"{path} imports {name}"
            assert not name.startswith(("veritune.client", "veritune.provider")), f"{path} imports {name}"
            assert not name.startswith("veritune.v1") or path.name == "wire.py", f"{path} imports {name}"


@pytest.mark.parametrize(("part", "other"), [("client", "provider"), ("provider", "client")])
def test_the_two_sides_do_not_know_each_other(part: str, other: str) -> None:
    for path in sources(part):
        assert not [name for name in imports(path) if name.startswith(f"veritune.{other}")], path


def test_nothing_hides_the_namespace_package() -> None:
    assert not [part for part in (*PARTS, "proto") if (ROOT / part / "veritune" / "__init__.py").exists()]


def test_modules_stay_small() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {lines}"
        for part in PARTS
        for path in sources(part)
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 420
    ]
    assert not long
