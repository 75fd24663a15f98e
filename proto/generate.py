"""Makes the committed stubs from the .proto files; ``--check`` only says whether they are up to date."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from grpc_tools import _proto, protoc

ROOT = Path(__file__).resolve().parent


def generate(out: Path) -> list[Path]:
    """Writes every stub under ``out`` and returns their paths relative to it."""
    sources = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("veritune/v1/*.proto"))
    well_known = Path(_proto.__path__[0])
    code = protoc.main(
        [
            "protoc",
            f"-I{ROOT}",
            f"-I{well_known}",
            f"--python_out={out}",
            f"--pyi_out={out}",
            f"--grpc_python_out={out}",
            *sources,
        ]
    )
    if code != 0:
        raise SystemExit(f"protoc ended with {code}")
    # A file without a service yields a service stub without content: leave it out.
    for path in out.glob("veritune/v1/*_pb2_grpc.py"):
        if "_service" not in path.name:
            path.unlink()
    return sorted(path.relative_to(out) for path in out.glob("veritune/v1/*_pb2*"))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 when the committed stubs differ")
    if not parser.parse_args().check:
        generate(ROOT)
        return
    with tempfile.TemporaryDirectory() as folder:
        made = generate(Path(folder))
        stale = [
            str(name)
            for name in made
            if not (ROOT / name).is_file() or (ROOT / name).read_bytes() != (Path(folder) / name).read_bytes()
        ]
    if stale:
        sys.exit("stubs are out of date, run `make proto`: " + ", ".join(stale))


if __name__ == "__main__":
    main()
