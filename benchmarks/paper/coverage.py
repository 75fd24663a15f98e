"""How often the coverage bound claims too much: 10,000 simulated providers at each share of rows trained on.

    python -m benchmarks.paper.coverage

Equation (4) of docs/statistics.md. The worst case for a lower bound is simulated: canaries that were trained on always
hit. Beside it a usual one, where they hit nine times in ten: the bound then says less. Writes
``benchmarks/results/coverage.json``; takes seconds, and no model.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import time
from fractions import Fraction
from typing import Any

import numpy as np

from benchmarks.paper import machine
from benchmarks.paper.sets import ROOT
from veritune.arbiter.statistics.coverage import coverage_bound

SHARES = ("0.1", "0.3", "0.5", "0.8", "1.0")
TARGET = ROOT / "benchmarks" / "results" / "coverage.json"


def main() -> int:
    """Writes the table; returns 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--providers", type=int, default=10_000, help="simulated at each share")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    started = time.monotonic()
    table = [
        simulate(wanted.rows, canaries, candidates, share, hit, wanted.providers, wanted.seed)
        for canaries in (24, 64, 256)
        for candidates in (12, 32)
        for hit in ("1.0", "0.9")
        for share in SHARES
    ]
    result = {
        "providers": wanted.providers,
        "rows": wanted.rows,
        "confidence": "0.99",
        "table": table,
        "seconds": round(time.monotonic() - started, 1),
        "machine": machine.describe("numpy"),
    }
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(json.dumps(result, separators=(",", ":")) + "\n", encoding="utf-8")
    for line in table:
        print(" ".join(f"{key}={value}" for key, value in line.items()))
    return 0


def simulate(
    rows: int, canaries: int, candidates: int, share: str, hit: str, providers: int, seed: int
) -> dict[str, Any]:
    """One setting: how often the 99 % bound lies above the true share, and where it lies."""
    draw = np.random.default_rng([seed, canaries, candidates, int(float(share) * 100), int(float(hit) * 100)])
    trained = round(rows * float(share))
    kept = draw.hypergeometric(trained, rows - trained, canaries, providers)
    # A canary that was not learnt, kept or not, is first by luck.
    learnt = draw.binomial(kept, float(hit))
    hits = learnt + draw.binomial(canaries - learnt, 1 / candidates)

    @functools.cache
    def bound(count: int) -> Fraction:
        return coverage_bound(rows, canaries, count, Fraction(1, candidates), Fraction(99, 100)).share

    shares = sorted(bound(int(count)) for count in hits)
    true = Fraction(trained, rows)
    return {
        "canaries": canaries,
        "candidates": candidates,
        "share": share,
        "hit": hit,
        "too_large": sum(value > true for value in shares),
        "median": f"{float(shares[providers // 2]):.4f}",
        "largest": f"{float(shares[-1]):.4f}",
    }


if __name__ == "__main__":
    sys.exit(main())
