"""How long an audit takes, as a process of its own, beside a Python that does nothing.

    python -m benchmarks.audit_time REPORT EVIDENCE CLIENT_KEY PROVIDER_KEY     # of `make demo`, for example

Runs both ten times in turn and prints the medians and their ratio. The command is `veritune audit`, start-up included.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

RUNS = 10


def main() -> int:
    """Returns 0 where every audit came to a verdict, 1 otherwise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("report", "evidence", "client_key", "provider_key"):
        parser.add_argument(name, type=Path)
    files = parser.parse_args()
    keys = ["--client-key", files.client_key, "--provider-key", files.provider_key]
    audit = [sys.executable, "-m", "veritune.client.cli.app", "audit", files.report, files.evidence, *keys, "--json"]
    nothing = [sys.executable, "-c", "pass"]
    audits, idle = [], []
    for _ in range(RUNS):
        seconds, code = timed(audit)
        if code not in (0, 1, 2):
            print("the audit refused these files", file=sys.stderr)
            return 1
        audits.append(seconds)
        idle.append(timed(nothing)[0])
    size = files.evidence.stat().st_size
    print(f"audit of {size:,} bytes of evidence: median {median(audits):.2f} s, slowest {max(audits):.2f} s")
    print(f"Python alone: median {median(idle):.3f} s; ratio {median(audits) / median(idle):.1f}")
    return 0


def timed(command: Sequence[object]) -> tuple[float, int]:
    """Wall time and exit code."""
    begun = time.perf_counter()
    done = subprocess.run([str(word) for word in command], stdout=subprocess.DEVNULL, check=False)
    return time.perf_counter() - begun, done.returncode


if __name__ == "__main__":
    sys.exit(main())
