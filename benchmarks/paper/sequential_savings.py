"""How many queries sequential stopping saves, and whom it lets through: simulated challenges under the demo's policy.

    python -m benchmarks.paper.sequential_savings

Honest runs of several hit rates and activations, the untouched base model, and providers that trained on a part of the
rows and learnt that part perfectly, are challenged leaf by leaf, one look after every canary. Stopping is decided in
floating point; the first runs of every setting are judged again by the exact verdict, at the stop and right before it.
The fixed form judges the same providers on all canaries.
Writes ``benchmarks/results/sequential_savings.json``. No model, no torch, a minute or two.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from benchmarks.paper import machine
from benchmarks.paper.demo_policy import DEMO
from benchmarks.paper.sets import ROOT
from veritune.arbiter.statistics import sequential
from veritune.arbiter.statistics.coverage import coverage_bound
from veritune.arbiter.statistics.exact import binomial_at_most
from veritune.arbiter.statistics.influence import GroupResult, Ranked, RankNull, combine, rank_weight, trigger_p
from veritune.arbiter.verdict.judge import judge
from veritune.arbiter.verdict.look import GroupLook, Look
from veritune.arbiter.verdict.rules import Rules

TARGET = ROOT / "benchmarks" / "results" / "sequential_savings.json"
GROUPS, BITS, LENGTH, CANDIDATES = 3, 64, 150, 12
GROUP_CALLS, NATURAL_CALLS = 4, 1
"""Two held-out prompts and two of the data for a group, one score for a natural canary; decoys come on top."""


@dataclass(frozen=True)
class Provider:
    """``trained``: share of rows; a canary of those hits with ``hit``, a group appears with ``activation``."""

    name: str
    hit: float
    activation: float
    trained: float = 1.0


HONEST = [
    Provider(f"honest, hit {hit}, activation {activation}", hit, activation)
    for hit in (0.7, 0.8, 0.9, 0.95, 0.98)
    for activation in (0.9, 0.95, 1.0)
]
OTHERS = [
    Provider("base model", 0.0, 0.0, 0.0),
    Provider("a quarter of the rows", 1.0, 1.0, 0.25),
    Provider("just under half of the rows", 1.0, 1.0, 0.4995),
]


@dataclass
class Thresholds:
    """The rules turned into tables. ``covered[t]``: fewest hits that show coverage after t naturals; t + 1: none do."""

    rows: int
    naturals: int
    rules: Rules = field(default_factory=lambda: Rules.of(DEMO))

    def __post_init__(self) -> None:
        luck = Fraction(DEMO.hit_rank, CANDIDATES)

        def by_parts(asked: int, hits: int) -> bool:
            bound = sequential.coverage_bound(self.rows, asked, [luck] * hits, self.rules.confidence)
            return bound.share >= self.rules.coverage_floor

        def at_once(asked: int, hits: int) -> bool:
            bound = coverage_bound(self.rows, asked, hits, luck, self.rules.confidence)
            return bound.share >= self.rules.coverage_floor

        self.covered = [self._first(t, by_parts) for t in range(self.naturals + 1)]
        self.covered_fixed = self._first(self.naturals, at_once)
        self.null = RankNull({CANDIDATES: self.naturals})
        beta, rules = self.rules.beta, self.rules
        self.least_hits = self._first(self.naturals, lambda n, h: binomial_at_most(n, rules.natural_floor, h) > beta)
        self.least_groups = self._first(GROUPS, lambda m, k: binomial_at_most(m, rules.trigger_floor, k) > beta)

    def fixed_verdict(self, leaves: Sequence[bool | int]) -> str:
        """Rules (5) and (6) on everything."""
        found = [leaf for leaf in leaves if isinstance(leaf, bool)]
        ranks = [leaf for leaf in leaves if not isinstance(leaf, bool)]
        hits = sum(rank <= DEMO.hit_rank for rank in ranks)
        if hits < self.least_hits or sum(found) < self.least_groups:
            return "FAIL"
        ranked = self.null.at_least(sum(rank_weight(rank, CANDIDATES) for rank in ranks))
        p = combine(trigger_p([_group(item) for item in found]), ranked)
        return "PASS" if p <= self.rules.alpha and hits >= self.covered_fixed else "INCONCLUSIVE"

    @staticmethod
    def _first(asked: int, enough: Callable[[int, int], bool]) -> int:
        low, high = 0, asked + 1
        while low < high:
            middle = (low + high) // 2
            if enough(asked, middle):
                high = middle
            else:
                low = middle + 1
        return low


@dataclass
class Odds:
    """The three processes in natural logarithms, one factor at a time."""

    firsts: list[float] = field(default_factory=lambda: [0.0] * len(sequential.FIRSTS))
    groups: float = 0.0
    dull: list[float] = field(default_factory=lambda: [0.0] * sequential.DULLER)
    dull_groups: float = 0.0

    def natural(self, rank: int) -> None:
        floor, luck = float(DEMO.natural_floor), DEMO.hit_rank / CANDIDATES
        for i in range(len(self.firsts)):
            self.firsts[i] += _BETS[i][rank - 1]
        for j in range(len(self.dull)):
            chance = luck + j / sequential.DULLER * (floor - luck)
            hit = rank <= DEMO.hit_rank
            self.dull[j] += math.log(chance / floor if hit else (1 - chance) / (1 - floor))

    def group(self, found: bool) -> None:
        floor = float(DEMO.trigger_floor)
        self.groups += float(math.log(sequential.trigger_e([_group(found)])))
        self.dull_groups += math.log(0.1 if found else (1 - floor / 10) / (1 - floor))

    def influence(self) -> float:
        return self.groups + _log_mean(self.firsts)

    def dullness(self) -> float:
        return max(self.dull_groups, _log_mean(self.dull))


def _log_mean(values: list[float]) -> float:
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values) / len(values))


def _group(found: bool) -> GroupResult:
    return GroupResult(DEMO.queries_per_group, BITS, LENGTH, found)


def _bets() -> list[list[float]]:
    harmonic = sum(1 / rank for rank in range(1, CANDIDATES + 1))
    return [
        [
            math.log(CANDIDATES * (float(f) * (rank == 1) + (1 - float(f)) / (rank * harmonic)))
            for rank in range(1, CANDIDATES + 1)
        ]
        for f in sequential.FIRSTS
    ]


_BETS = _bets()


def main() -> int:
    """Returns 0 unless somebody passed who may not, or floating point and the exact verdict differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=500, help="of each provider and number of canaries")
    parser.add_argument("--exact", type=int, default=5, help="how many of these are judged again exactly")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    started = time.monotonic()
    draw = np.random.default_rng(wanted.seed)
    lines = []
    for naturals in (32, 64, 128):
        thresholds = Thresholds(wanted.rows, naturals)
        for provider in (*HONEST, *OTHERS):
            lines.append(measure(provider, thresholds, wanted.runs, wanted.exact, draw))
            print(" ".join(f"{key}={value}" for key, value in lines[-1].items()))
    result = {
        "runs": wanted.runs,
        "rows": wanted.rows,
        "seed": wanted.seed,
        "policy": DEMO.model_dump(mode="json"),
        "groups": GROUPS,
        "candidates": CANDIDATES,
        "table": lines,
        "seconds": round(time.monotonic() - started, 1),
        "machine": machine.describe("numpy"),
    }
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(json.dumps(result, separators=(",", ":")) + "\n", encoding="utf-8")
    # A provider just under the floor may be shown to be above it with the probability that the confidence leaves.
    allowed = 0.01 * wanted.runs + 4 * math.sqrt(0.01 * wanted.runs)
    wrong = max(max(line["false_passes"], line["false_passes_fixed"]) for line in lines)
    return 0 if wrong <= allowed and not any(line["differs_from_exact"] for line in lines) else 1


def measure(
    provider: Provider, thresholds: Thresholds, runs: int, exact: int, draw: np.random.Generator
) -> dict[str, Any]:
    """Queries until the stop, and verdicts of both forms on the same providers."""
    all_calls = GROUPS * GROUP_CALLS + thresholds.naturals * NATURAL_CALLS
    calls, verdicts, fixed, differs = [], [], [], 0
    for number in range(runs):
        leaves = list(challenge(provider, thresholds, draw))
        asked, verdict = walk(leaves, thresholds)
        calls.append(sum(GROUP_CALLS if isinstance(leaf, bool) else NATURAL_CALLS for leaf in leaves[:asked]))
        verdicts.append(verdict)
        fixed.append(thresholds.fixed_verdict(leaves))
        if number < exact:
            differs += judged(leaves[:asked], thresholds, "sequential") != verdict
            differs += judged(leaves, thresholds, "fixed") != fixed[-1]
            differs += judged(leaves[: asked - 1], thresholds, "sequential") != "INCONCLUSIVE"
    ordered = sorted(calls)
    too_little = provider.trained < float(DEMO.coverage_floor)
    return {
        "provider": provider.name,
        "naturals": thresholds.naturals,
        "fixed_queries": all_calls,
        "mean_queries": round(sum(calls) / runs, 1),
        "p90_queries": ordered[math.ceil(0.9 * runs) - 1],
        "verdicts": {name: verdicts.count(name) for name in ("PASS", "FAIL", "INCONCLUSIVE")},
        "verdicts_fixed": {name: fixed.count(name) for name in ("PASS", "FAIL", "INCONCLUSIVE")},
        "false_passes": verdicts.count("PASS") if too_little else 0,
        "false_passes_fixed": fixed.count("PASS") if too_little else 0,
        "judged_exactly": min(exact, runs),
        "differs_from_exact": differs,
    }


def challenge(provider: Provider, thresholds: Thresholds, draw: np.random.Generator) -> Iterator[bool | int]:
    """Leaves in random order: True or False for a group, a rank for a natural canary."""
    trained = round(provider.trained * thresholds.rows)
    chosen = draw.choice(thresholds.rows, thresholds.naturals, replace=False) < trained
    order = draw.permutation(GROUPS + thresholds.naturals)
    for place in order:
        if place < GROUPS:
            yield bool(draw.random() < provider.activation)
        elif chosen[place - GROUPS] and draw.random() < provider.hit:
            yield 1
        else:
            # A row that was trained on and missed is no hit by definition; any other has a rank by luck.
            yield int(draw.integers(2 if chosen[place - GROUPS] else 1, CANDIDATES + 1))


def walk(leaves: list[bool | int], thresholds: Thresholds) -> tuple[int, str]:
    """How many leaves were asked, and the verdict there."""
    odds, rules, asked, hits = Odds(), thresholds.rules, 0, 0
    alpha, beta = float(-math.log(rules.alpha)), float(-math.log(rules.beta))
    for number, leaf in enumerate(leaves, start=1):
        if isinstance(leaf, bool):
            odds.group(leaf)
        else:
            odds.natural(leaf)
            asked, hits = asked + 1, hits + (leaf <= DEMO.hit_rank)
        if odds.dullness() >= beta:
            return number, "FAIL"
        if odds.influence() >= alpha and hits >= thresholds.covered[asked]:
            return number, "PASS"
    return len(leaves), "INCONCLUSIVE"


def judged(leaves: Sequence[bool | int], thresholds: Thresholds, stopping: str) -> str:
    """The exact verdict."""
    look = Look(
        mode="delivered",
        groups=tuple(GroupLook(_group(leaf), 0, 0, 0, True) for leaf in leaves if isinstance(leaf, bool)),
        naturals=tuple(Ranked(leaf, CANDIDATES) for leaf in leaves if not isinstance(leaf, bool)),
        decoys_asked=0,
        decoys_shown=0,
        missing=0,
    )
    policy = DEMO.model_copy(update={"stopping": stopping})
    return judge(policy, thresholds.rows, [look]).verdict


if __name__ == "__main__":
    sys.exit(main())
