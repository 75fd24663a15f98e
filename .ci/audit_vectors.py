"""Audits every vector with whatever veritune is installed: ``python audit_vectors.py FOLDER``. Standard library only.

Each vector goes through the library and through the command ``veritune-arbiter audit``, as an arbiter would use them.
"""

from __future__ import annotations

import base64
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import wrap

from veritune.arbiter import audit_files
from veritune.arbiter.cli.app import run_cli
from veritune.common.errors import AuditError

EXITS = {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 2, "AUDIT_FAILED": 65}


def main() -> int:
    """0 where every vector gives what it says."""
    present = [name for name in ("veritune.client", "veritune.provider", "torch", "grpc") if _is_there(name)]
    if present:
        print(f"this is no install of the arbiter alone: it has {', '.join(present)}")
        return 1
    vectors = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(Path(sys.argv[1]).glob("*.json"))]
    wrong = [vector["name"] for vector in vectors if not _is_right(vector)]
    passed = len(vectors) - len(wrong)
    print(f"{passed} passed, {len(wrong)} failed", *wrong, sep="\n")
    return 1 if wrong or not vectors else 0


def _is_there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _is_right(vector: dict[str, str]) -> bool:
    with TemporaryDirectory() as folder:
        names = ("report", "evidence", "client", "provider")
        report, evidence, client, provider = (Path(folder, name) for name in names)
        report.write_text(vector["report"], encoding="utf-8")
        evidence.write_text(vector["evidence"], encoding="utf-8")
        client.write_text(_pem(vector["client"]), encoding="ascii")
        provider.write_text(_pem(vector["provider"]), encoding="ascii")
        try:
            found: tuple[str, str | int | None] = (audit_files(report, evidence, client, provider).verdict, None)
        except AuditError as error:
            found = (error.reason, error.check)
        keys = ["--client-key", str(client), "--provider-key", str(provider)]
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            code = run_cli(["audit", str(report), str(evidence), *keys, "--json"])
    return found == (vector["expect"], vector["check"]) and code == EXITS[vector["expect"]]


def _pem(key: str) -> str:
    body = "\n".join(wrap(base64.b64encode(base64.b64decode(key)).decode("ascii"), 64))
    return f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n"


if __name__ == "__main__":
    sys.exit(main())
