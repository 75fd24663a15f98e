"""`examples/arbiter`: an outsider audits files, and loads no model library and no gRPC for it."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
EXAMPLE = ROOT / "examples" / "arbiter"
VECTORS = ROOT / "tests" / "conformance" / "vectors" / "audit"


def unpack(vector: str, folder: Path) -> list[str]:
    runpy.run_path(str(EXAMPLE / "unpack_vector.py"))["main"](str(VECTORS / vector), str(folder))
    return [str(folder / name) for name in ("report.json", "evidence.json", "client.pub", "provider.pub")]


def test_an_honest_report_passes_without_torch_and_grpc(tmp_path: Path) -> None:
    files = unpack("honest-pass.json", tmp_path)
    code = (
        "import runpy, sys\n"
        f"status = runpy.run_path({str(EXAMPLE / 'audit_report.py')!r})['main'](*sys.argv[1:])\n"
        "print(status, sorted({'torch', 'grpc', 'transformers', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, *files], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("PASS for ")
    assert lines[-1] == "0 []"
    assert sum(line.startswith("- (") for line in lines) >= 16


@pytest.mark.parametrize(
    ("vector", "status"),
    [
        ("honest-parties-untrained-model-fail.json", 1),
        ("honest-served-without-assumption-inconclusive.json", 2),
        ("evidence-with-a-flipped-bit.json", 65),
    ],
)
def test_verdicts_and_refusals_have_a_status(
    vector: str, status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main = runpy.run_path(str(EXAMPLE / "audit_report.py"))["main"]
    assert main(*unpack(vector, tmp_path)) == status
    assert ("check (3)" in capsys.readouterr().err) == (status == 65)
