"""What somebody reads to trust an audit: few files, none of the client's or provider's, no torch and no gRPC."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.source_tree import ROOT, WINGS, module_name

FILES, LINES = 36, 4_600

VECTORS = ROOT / "tests" / "conformance" / "vectors" / "audit"

_AUDIT = """
import json, sys
from veritune.arbiter.audit.audit import audit
from veritune.arbiter.audit.dataset import check_data
from veritune.common.keys import PublicKey
vector = json.loads(open(sys.argv[1], encoding="utf-8").read())
keys = PublicKey.from_text(vector["client"]), PublicKey.from_text(vector["provider"])
result = audit(vector["report"].encode(), vector["evidence"].encode(), *keys)
assert result.verdict == vector["expect"] and vector["check"] is None
print(json.dumps({name: module.__file__ for name, module in sys.modules.items() if getattr(module, "__file__", None)}))
"""


@pytest.fixture(scope="module")
def loaded() -> dict[str, Path]:
    """Module by module the file that a process has read once it has audited one vector."""
    vector = next(path for path in sorted(VECTORS.glob("*.json")) if _passes(path))
    paths = [str(ROOT / wing) for wing in (*WINGS, "proto")]
    command = [sys.executable, "-c", f"import sys\nsys.path[:0] = {paths!r}\n{_AUDIT}", str(vector)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return {name: Path(file) for name, file in json.loads(done.stdout).items()}


def _passes(vector: Path) -> bool:
    return bool(json.loads(vector.read_text(encoding="utf-8"))["expect"] == "PASS")


def test_an_audit_loads_neither_side_nor_what_is_heavy(loaded: dict[str, Path]) -> None:
    sides = [name for name in loaded if name.startswith(("veritune.client", "veritune.provider", "veritune.v1"))]
    assert sides == []
    assert not {"torch", "grpc", "google.protobuf", "numpy", "transformers", "typer", "rich"} & set(loaded)


def test_an_audit_is_little_to_read(loaded: dict[str, Path]) -> None:
    """Doors are not counted: they hold a docstring, and no code that a verdict could rest on."""
    ours = {n: p for n, p in loaded.items() if n.startswith("veritune.") and p.name != "__init__.py"}
    assert all(module_name(path) == name for name, path in ours.items()), "this is not the tree that was asked for"
    lines = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in ours.items()}
    print(f"\nto audit loads {len(lines)} files of ours with {sum(lines.values())} lines")
    assert len(lines) <= FILES, sorted(lines)
    assert sum(lines.values()) <= LINES, lines
