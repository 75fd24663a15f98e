"""A command that needs a library which is not installed says which extra brings it, without a traceback."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.source_tree import ROOT, WINGS
from veritune.common.exits import EXTRAS
from veritune.common.keys import PrivateKey

DISTRIBUTIONS = {
    "google": "protobuf",
    "grpc": "grpcio",
    "grpc_health": "grpcio-health-checking",
    "grpc_reflection": "grpcio-reflection",
    "grpc_status": "grpcio-status",
    "sklearn": "scikit-learn",
}
"""Distributions that have another name than the module they bring."""

_RUN = """
import sys
sys.path[:0] = {paths!r}
for name in {missing!r}:
    sys.modules[name] = None
from {module} import {main}
sys.argv = {argv!r}
{main}()
"""


def test_each_library_stands_in_the_extra_that_is_named() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for library, extra in EXTRAS.items():
        wanted = DISTRIBUTIONS.get(library, library)
        assert any(line.startswith((f"{wanted}>", f"{wanted}=")) for line in extras[extra]), (library, extra)


JOB = """
[data]
file = "rows.jsonl"
[provider]
address = "127.0.0.1:1"
public_key = "provider.pub"
[model]
name = "tiny"
folder = "model"
[canaries]
groups = 1
naturals = 2
held_out = 4
"""


@pytest.mark.parametrize(
    ("module", "arguments", "extra"),
    [
        ("veritune.client.cli.app", ["prepare", "{folder}"], "model"),
        ("veritune.provider.cli", ["serve", "--keys", "{folder}", "--models", "{folder}"], "provider"),
    ],
)
def test_a_command_names_the_extra_it_lacks(tmp_path: Path, module: str, arguments: list[str], extra: str) -> None:
    (tmp_path / "veritune.toml").write_text(JOB, encoding="utf-8")
    rows = "".join(f'{{"prompt": "p {n}", "completion": "c {n}"}}\n' for n in range(40))
    (tmp_path / "rows.jsonl").write_text(rows, encoding="utf-8")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}", encoding="utf-8")
    PrivateKey.generate().public.save(tmp_path / "provider.pub")
    argv = ["command", *(item.format(folder=tmp_path) for item in arguments)]
    paths = [str(ROOT / wing) for wing in (*WINGS, "proto")]
    code = _RUN.format(paths=paths, missing=sorted(EXTRAS), module=module, main="main", argv=argv)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"VERITUNE_PASSPHRASE": "x"}, check=False
    )
    assert done.returncode == 78, done.stderr
    assert f"pip install 'veritune[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr
