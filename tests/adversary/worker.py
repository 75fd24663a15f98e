"""The child process of a cheating provider: ``python -m tests.adversary.worker NAME [FILE ...] TASK.json``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from veritune.provider.training.base import Trainer
from veritune.provider.training.worker import run


def main(argv: Sequence[str]) -> int:
    """Does the task as the named cheat would; returns the exit status."""
    if len(argv) < 2:
        print("usage: python -m tests.adversary.worker NAME [FILE ...] TASK.json", file=sys.stderr)
        return 2
    name, *files, task = argv

    def make() -> Trainer:
        from tests.adversary.registry import find
        from veritune.provider.training.transformers_trainer import TransformersTrainer

        paths = [Path(file) for file in files]
        cheat = find(name, paths)
        return cheat.trainer(paths) if cheat.trainer else TransformersTrainer()

    return run(make, [task])


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    sys.exit(main(sys.argv[1:]))
