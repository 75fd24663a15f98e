"""A cheating provider: the real daemon with another trainer or another engine in it.

    python -m tests.adversary.provider serve --cheat NAME [--cheat-data PATH ...] OPTIONS OF veritune-provider serve
    python -m tests.adversary.provider --cheat list

No installed package knows of it. Where a cheat looks things up in the data, ``--cheat-data`` may name the daemon's own
store of uploads (``STATE/blobs``).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.adversary.registry import CheatError, find, listed
from veritune.provider.cli import build_app
from veritune.provider.engines.base import InferenceEngine

ROOT = Path(__file__).resolve().parent.parent.parent


def main(argv: Sequence[str]) -> int:
    """Serves until it is told to stop; 2 for a cheat that can't be done."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--cheat")
    parser.add_argument("--cheat-data", action="append", type=Path, default=[])
    own, rest = parser.parse_known_args(argv)
    if own.cheat == "list":
        print(listed())
        return 0
    if "--help" in rest:
        print(f"{__doc__}\nCheats:\n{listed()}\n")
    if own.cheat is None:
        build_app()(rest)
        return 0
    files = [path.absolute() for path in own.cheat_data]
    try:
        cheat = find(own.cheat, files)
    except CheatError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    # The worker runs in the job's folder, where Python would not find the tests.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    command = (sys.executable, "-m", "tests.adversary.worker", own.cheat, *map(str, files))
    make = cheat.engine

    def engine(folder: Path) -> InferenceEngine:
        from veritune.provider.engines.transformers_engine import TransformersEngine

        honest = TransformersEngine(folder)
        return make(honest, files) if make else honest

    build_app(trainer_command=command, engine_factory=engine if make else None)(rest)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
