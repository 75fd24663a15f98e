"""Writes the four files that an arbiter gets, from one of the committed test vectors.

python examples/arbiter/unpack_vector.py tests/conformance/vectors/audit/honest-pass.json FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from veritune.common.keys import PublicKey


def main(vector: str, folder: str) -> None:
    """Writes report.json, evidence.json, client.pub and provider.pub; an existing key is not overwritten."""
    content, out = json.loads(Path(vector).read_text(encoding="utf-8")), Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    for name in ("client", "provider"):
        PublicKey.from_text(content[name]).save(out / f"{name}.pub")
    for name in ("report", "evidence"):
        (out / f"{name}.json").write_text(content[name], encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        sys.exit(64)
    main(*sys.argv[1:])
