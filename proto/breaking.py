"""Compares the wire with the newest release: `buf breaking` against its tag, else against the commit before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def baseline() -> str | None:
    """The newest version tag, else the commit before this one that holds a proto file; None in a first commit."""
    tags = _git("tag", "--list", "v*", "--sort=-version:refname").split()
    if tags:
        return tags[0]
    commits = _git("log", "--format=%H", "-2", "--", "proto/veritune/v1/*.proto", "buf.yaml").split()
    return commits[-1] if commits else None


def main() -> int:
    """Returns buf's exit status; 0 with a message where there is nothing to compare with."""
    against = baseline()
    if against is None:
        sys.stdout.write("buf breaking: no history to compare with\n")
        return 0
    buf = Path(sys.executable).parent / "buf"
    return subprocess.run([buf, "breaking", "--against", f".git#ref={against}"], cwd=ROOT, check=False).returncode


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=False, capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else ""


if __name__ == "__main__":
    raise SystemExit(main())
