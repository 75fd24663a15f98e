"""Who may import whom: import-linter's contracts in ``pyproject.toml``, and what it can't say (docs/adr/0001)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.source_tree import ROOT, WINGS, imports, module_name, sources

GRPC = ("veritune.client.exchange", "veritune.provider.rpc", "veritune.provider.daemon")
TORCH = (
    "veritune.arbiter.measure",
    "veritune.client.generation",
    "veritune.client.redteam",
    "veritune.provider.engines",
    "veritune.provider.hardware",
    "veritune.provider.training",
)
ONLY_IN = {
    "grpc": GRPC,
    "grpc_health": GRPC,
    "grpc_reflection": GRPC,
    "grpc_status": GRPC,
    "sqlalchemy": ("veritune.provider.storage",),
    "torch": TORCH,
    "veritune.v1": ("veritune.common.wire", *GRPC),
}
"""Library or stubs to the rooms that may import them, for type checking too. import-linter can forbid a library to
rooms that it lists; a room that is added later would not be among them."""


def strays(root: Path = ROOT) -> list[str]:
    """Every import of a library outside the rooms that may have it."""
    found = []
    for path in (path for wing in WINGS for path in sources(wing, root)):
        module = module_name(path, root)
        for name in sorted(imports(path)):
            for library, homes in ONLY_IN.items():
                if _is_within(name, library) and not any(_is_within(module, home) for home in homes):
                    found.append(f"{module} imports {name}")
    return found


def _is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def lint(root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """import-linter over a tree, in a process of its own: this one has imported the modules of another tree."""
    paths = os.pathsep.join(str(root / wing) for wing in (*WINGS, "proto"))
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()", "--no-cache"]
    environment = os.environ | {"PYTHONPATH": paths, "NO_COLOR": "1", "COLUMNS": "400"}
    return subprocess.run(command, cwd=root, env=environment, check=False, capture_output=True, text=True)


def broken(result: subprocess.CompletedProcess[str]) -> list[str]:
    """The names of the contracts that are broken."""
    return [line.removesuffix(" BROKEN") for line in result.stdout.splitlines() if line.endswith(" BROKEN")]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the sources and of the contracts, to break."""
    for wing in WINGS:
        shutil.copytree(ROOT / wing, tmp_path / wing, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def add(tree: Path, module: str, line: str) -> None:
    """Puts an import at the end of a module."""
    path = tree.joinpath(module.split(".")[1], *module.split(".")).with_suffix(".py")
    assert path.is_file()
    path.write_text(f"{path.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")


def test_every_contract_is_kept() -> None:
    result = lint()
    assert result.returncode == 0, result.stdout + result.stderr
    assert " 0 broken." in result.stdout


def test_libraries_and_stubs_stay_in_their_rooms() -> None:
    assert strays() == []


def test_a_copy_of_the_tree_keeps_every_contract(tree: Path) -> None:
    """So what breaks below is broken by the import that was added."""
    result = lint(tree)
    assert (result.returncode, broken(result)) == (0, []), result.stdout + result.stderr
    assert strays(tree) == strays()


@pytest.mark.parametrize(
    ("module", "imported", "contract"),
    [
        ("veritune.arbiter.documents.canary", "veritune.client.wording.draw", "Wings"),
        ("veritune.arbiter.audit.audit", "torch", "To judge takes no torch"),
        ("veritune.client.sowing.sow", "veritune.client.redteam.scoring", "Client's floors"),
        (
            "veritune.provider.engines.base",
            "veritune.arbiter.verdict.judge",
            "Only provider.settlement reads the arbiter",
        ),
        ("veritune.provider.rpc.status", "veritune.client.charts", "Wings"),
        ("veritune.common.merkle", "numpy", "Common is light"),
        ("veritune.common.errors", "veritune.common.envelope", "No circles among siblings"),
    ],
)
def test_an_import_that_is_not_allowed_is_caught(tree: Path, module: str, imported: str, contract: str) -> None:
    add(tree, module, f"import {imported}")
    result = lint(tree)
    assert result.returncode == 1, result.stdout + result.stderr
    assert any(name.startswith(contract) for name in broken(result)), result.stdout
    # A circle is told by names that are relative to the package that has it.
    assert re.search(rf"{module}|\.{module.rpartition('.')[2]} -> \.", result.stdout), result.stdout


@pytest.mark.parametrize("wing", ["arbiter", "client", "provider"])
def test_a_room_that_no_contract_names_is_caught(tree: Path, wing: str) -> None:
    room = tree / wing / "veritune" / wing / "attic"
    room.mkdir()
    (room / "__init__.py").touch()
    result = lint(tree)
    assert [name.partition("'")[0].lower() for name in broken(result)] == [wing], result.stdout
    assert "attic" in result.stdout


@pytest.mark.parametrize(
    ("module", "line", "imported"),
    [
        ("veritune.client.run.run", "from grpc import RpcError", "grpc"),
        ("veritune.provider.jobs.jobs", "def late():\n    import grpc_status.rpc_status", "grpc_status.rpc_status"),
        ("veritune.provider.contracts.policy", "import sqlalchemy.orm", "sqlalchemy.orm"),
        ("veritune.client.sowing.sow", "if TYPE_CHECKING:\n    import torch", "torch"),
        ("veritune.common.keys", "from veritune.v1 import envelope_pb2", "veritune.v1"),
    ],
)
def test_a_library_outside_its_rooms_is_caught(tree: Path, module: str, line: str, imported: str) -> None:
    add(tree, module, line)
    assert set(strays(tree)) - set(strays()) == {f"{module} imports {imported}"}
