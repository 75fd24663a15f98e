"""Ways to combine the ranks of natural canaries, compared for power: which one should a verdict use?

    python -m benchmarks.paper.combining            # measures, prints, writes the JSON
    python -m benchmarks.paper.combining --write    # the same, and the tables between the marks in docs/results.md

Every rule takes ranks that are uniform under the null hypothesis (docs/statistics.md, section 2) to a p-value that is
exact or too large; that is checked here by enumeration of small cases. Power is measured on simulated models that
learnt to different degrees, and on the ranks of the honest calibration runs, whole and drawn again with replacement.
Writes ``benchmarks/results/combining.json``. No model; a minute or two.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from benchmarks.files import put_between
from benchmarks.paper import machine
from benchmarks.paper.sets import ROOT
from benchmarks.paper.tables import table
from veritune.arbiter.statistics import sequential
from veritune.arbiter.statistics.exact import binomial_at_least, log10, poisson_binomial_at_least
from veritune.arbiter.statistics.influence import WEIGHT_SCALE, Ranked, RankNull, rank_sum

RESULTS = ROOT / "benchmarks" / "results"
TARGET = RESULTS / "combining.json"
DOCUMENT = ROOT / "docs" / "results.md"
BEGIN, END = "<!-- combining: begin -->", "<!-- combining: end -->"
CANARIES, CANDIDATES = (24, 48, 96), (12, 16, 32)
LEVELS = (Fraction(1, 10**10), Fraction(1, 10**20))
SPIKE = Fraction(1, 2)
"""How much of a bet is on the first place, for the rule that scores ranks by one bet of equation (8)."""
Sizes = tuple[tuple[int, int], ...]
"""Of each number of candidates, how many canaries have it."""


def sizes_of(ranked: Sequence[Ranked]) -> Sizes:
    """What a null distribution depends on."""
    return tuple(sorted(Counter(item.candidates for item in ranked).items()))


# --- the rules -----------------------------------------------------------------------------------------------------


def log_ranks(ranked: Sequence[Ranked]) -> Fraction:
    """Equation (2), the default: the sum of floor(8 log2(N / r)). Fisher's method for discrete p-values, exactly."""
    return _log_rank_tail(sizes_of(ranked), rank_sum(ranked))


def first_places(ranked: Sequence[Ranked]) -> Fraction:
    """How many came first."""
    return within(ranked, 1)


def plain_ranks(ranked: Sequence[Ranked]) -> Fraction:
    """The sum of ranks."""
    return scored(ranked, _plain)


def mixture(ranked: Sequence[Ranked]) -> Fraction:
    """1 / E of equation (8): good at every moment, not just at the end."""
    return sequential.p_value(sequential.rank_e(ranked))


def best_threshold(ranked: Sequence[Ranked]) -> Fraction:
    """The best of the counts within rank 1, 2, 4, 8 ..., times the number of these."""
    thresholds = [1 << power for power in range((max(item.candidates for item in ranked) - 1).bit_length())]
    return min(Fraction(1), len(thresholds) * min(within(ranked, most) for most in thresholds))


def spiked_ranks(ranked: Sequence[Ranked]) -> Fraction:
    """The sum of floor(8 log2 e_f(r)) for one bet of equation (8): f = 1/2 on the first place, the rest as 1/r."""
    return scored(ranked, _spiked)


def simes(ranked: Sequence[Ranked]) -> Fraction:
    """The least n p_(k) / k over the ordered p-values r / N: right for independent ones."""
    ordered = sorted(Fraction(item.rank, item.candidates) for item in ranked)
    return min(value * len(ordered) / place for place, value in enumerate(ordered, start=1))


RULES: dict[str, Callable[[Sequence[Ranked]], Fraction]] = {
    "log ranks": log_ranks,
    "first places": first_places,
    "plain ranks": plain_ranks,
    "mixture 1/E": mixture,
    "best threshold": best_threshold,
    "spiked ranks": spiked_ranks,
    "Simes": simes,
}


@functools.cache
def _log_rank_null(sizes: Sizes) -> RankNull:
    return RankNull(dict(sizes))


@functools.cache
def _log_rank_tail(sizes: Sizes, seen: int) -> Fraction:
    return _log_rank_null(sizes).at_least(seen)


def within(ranked: Sequence[Ranked], most: int) -> Fraction:
    """P(as many ranks of at most ``most``)."""
    return _count_tail(sizes_of(ranked), most, sum(item.rank <= most for item in ranked))


@functools.cache
def _count_tail(sizes: Sizes, most: int, seen: int) -> Fraction:
    chances = [min(Fraction(1), Fraction(most, candidates)) for candidates, _ in sizes]
    if len(sizes) == 1:
        return binomial_at_least(sizes[0][1], chances[0], seen)
    each = [chance for chance, (_, count) in zip(chances, sizes, strict=True) for _ in range(count)]
    return poisson_binomial_at_least(each, seen)


def scored(ranked: Sequence[Ranked], score: Callable[[int, int], int]) -> Fraction:
    """P(as large a sum of scores), for scores from 0 on that do not rise with the rank."""
    return _score_tails(sizes_of(ranked), score)[sum(score(item.rank, item.candidates) for item in ranked)]


def _plain(rank: int, candidates: int) -> int:
    return candidates - rank


@functools.cache
def _spiked(rank: int, candidates: int) -> int:
    """Above the score of the last rank, so that it is never negative."""
    return _eighths(rank, candidates) - _eighths(candidates, candidates)


def _eighths(rank: int, candidates: int) -> int:
    """floor(8 log2 e_f(rank))."""
    harmonic = sum((Fraction(1, place) for place in range(1, candidates + 1)), start=Fraction(0))
    bet = candidates * (SPIKE * (rank == 1) + (1 - SPIKE) / (rank * harmonic))
    power = bet**WEIGHT_SCALE
    eighths = power.numerator.bit_length() - power.denominator.bit_length()
    return eighths if power >= Fraction(2) ** eighths else eighths - 1


@functools.cache
def _score_tails(sizes: Sizes, score: Callable[[int, int], int]) -> list[Fraction]:
    """P(sum >= s) for s = 0, 1, ...: the polynomial of one canary's scores, at a power of 256 that no digit reaches."""
    total, product = 1, 1
    for candidates, count in sizes:
        total *= candidates**count
    width = total.bit_length() // 8 + 1
    for candidates, count in sizes:
        product *= sum(1 << 8 * width * score(rank, candidates) for rank in range(1, candidates + 1)) ** count
    digits = product.to_bytes((product.bit_length() + 7) // 8 + width, "little")
    ways = [int.from_bytes(digits[at : at + width], "little") for at in range(0, len(digits), width)]
    return [Fraction(tail, total) for tail in list(itertools.accumulate(reversed(ways)))[::-1]]


def too_small() -> int:
    """How many p-values x of small cases have P(p <= x) > x under uniform ranks; 0 where every rule is right."""
    wrong = 0
    for sizes in ((4, 4, 4, 4), (5, 5, 5), (3, 5, 4), (2, 6, 6)):
        outcomes = list(itertools.product(*(range(1, size + 1) for size in sizes)))
        for rule in RULES.values():
            seen = Counter(rule([Ranked(r, n) for r, n in zip(ranks, sizes, strict=True)]) for ranks in outcomes)
            below = 0
            for value in sorted(seen):
                below += seen[value]
                wrong += Fraction(below, len(outcomes)) > value
    return wrong


# --- power ---------------------------------------------------------------------------------------------------------


def models(candidates: int) -> Iterator[tuple[str, list[float]]]:
    """Simulated models: the probability of each rank."""
    for hit in (0.3, 0.6, 0.9):
        yield f"first {hit}, rest uniform", [hit, *[(1 - hit) / (candidates - 1)] * (candidates - 1)]
    for ratio in (0.8, 0.5, 0.2):
        weights = [ratio**place for place in range(candidates)]
        yield f"geometric, ratio {ratio}", [weight / sum(weights) for weight in weights]


def power(draws: Sequence[Sequence[int]], candidates: int) -> dict[str, list[float]]:
    """Of every rule, in the order of `RULES`, over draws of ranks: the median log10 p, and shares of small p-values."""
    found: dict[str, list[float]] = {"median": [], "p_1e-10": [], "p_1e-20": []}
    for rule in RULES.values():
        values = [rule([Ranked(int(rank), candidates) for rank in ranks]) for ranks in draws]
        found["median"].append(round(statistics.median(map(log10, values)), 2))
        for level, key in zip(LEVELS, ("p_1e-10", "p_1e-20"), strict=True):
            found[key].append(round(sum(value <= level for value in values) / len(values), 3))
    return found


def simulated(runs: int, seed: int) -> Iterator[dict[str, Any]]:
    """Every model, number of candidates and of canaries."""
    for candidates in CANDIDATES:
        for number, (name, chances) in enumerate(models(candidates)):
            for canaries in CANARIES:
                draw = np.random.default_rng([seed, candidates, number, canaries])
                draws = draw.choice(np.arange(1, candidates + 1), (runs, canaries), p=chances)
                setting = {"learnt": name, "candidates": candidates, "canaries": canaries}
                yield {**setting, **power(draws.tolist(), candidates)}


def honest_runs() -> list[dict[str, Any]]:
    """What the calibration measured so far."""
    return [json.loads(path.read_bytes()) for path in sorted((RESULTS / "calibration").glob("*-honest.json"))]


def resampled(honest: Sequence[dict[str, Any]], runs: int, seed: int) -> Iterator[dict[str, Any]]:
    """Canaries drawn with replacement from one epoch and number of candidates, all runs of a setting together."""
    pools: dict[tuple[str, str, str, int, int], list[int]] = {}
    for run in honest:
        for look in run["looks"]:
            for natural in look["naturals"]:
                key = run["data"], run["model"], run["learning_rate"], natural["candidates"], look["epoch"]
                pools.setdefault(key, []).append(natural["rank"])
    for number, (key, pool) in enumerate(sorted(pools.items())):
        for canaries in CANARIES:
            draw = np.random.default_rng([seed, number, canaries])
            setting = dict(zip(("data", "model", "learning_rate", "candidates", "epoch"), key, strict=True))
            draws = draw.choice(np.array(pool), (runs, canaries)).tolist()
            yield {**setting, "pool": len(pool), "canaries": canaries, **power(draws, key[3])}


def whole(honest: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The log10 p-value of all natural canaries of a run, epoch by epoch."""
    for run in honest:
        for look in run["looks"]:
            ranked = [Ranked(natural["rank"], natural["candidates"]) for natural in look["naturals"]]
            values = [round(log10(rule(ranked)), 2) for rule in RULES.values()]
            setting = {name: run[name] for name in ("data", "model", "learning_rate", "seed")}
            yield {**setting, "epoch": look["epoch"], "canaries": len(ranked), "median": values}


def behind(lines: Sequence[dict[str, Any]]) -> list[tuple[float, float]]:
    """Of every rule, how many decades its median p lies above the best rule's: on average and at worst."""
    losses = [[value - min(line["median"]) for value in line["median"]] for line in lines]
    return [(round(statistics.mean(column), 2), round(max(column), 2)) for column in zip(*losses, strict=True)]


def families(result: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Settings of one kind."""
    return {
        "simulated: first or uniform": [line for line in result["simulated"] if line["learnt"].startswith("first")],
        "simulated: geometric": [line for line in result["simulated"] if line["learnt"].startswith("geometric")],
        "honest runs, drawn again": result["resampled"],
        "honest runs, whole": result["whole"],
    }


# --- what is written -----------------------------------------------------------------------------------------------


def main() -> int:
    """Returns 0 unless a rule gives a p-value that is too small."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=300, help="of each setting")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="into docs/results.md")
    wanted = parser.parse_args()
    started, honest = time.monotonic(), honest_runs()
    result: dict[str, Any] = {
        "runs": wanted.runs,
        "seed": wanted.seed,
        "rules": list(RULES),
        "p_values_too_small": too_small(),
        "simulated": list(simulated(wanted.runs, wanted.seed)),
        "resampled": list(resampled(honest, wanted.runs, wanted.seed)),
        "whole": list(whole(honest)),
    }
    result["decades_behind_mean_and_worst"] = {name: behind(lines) for name, lines in families(result).items() if lines}
    result["seconds"] = round(time.monotonic() - started, 1)
    result["machine"] = machine.describe("numpy")
    TARGET.write_text(json.dumps(result, separators=(",", ":")) + "\n", encoding="utf-8")
    for line in (*result["simulated"], *result["resampled"], *result["whole"]):
        print(" ".join(f"{key}={value}" for key, value in line.items()))
    text = "\n".join(report(result))
    print(text)
    if wanted.write:
        put_between(DOCUMENT, BEGIN, END, text)
    return 1 if result["p_values_too_small"] else 0


def report(result: dict[str, Any]) -> Iterator[str]:
    """Markdown, line by line."""
    rules = result["rules"]
    yield "### How far each rule is behind the best one: decades of the median p-value, on average (at worst)\n"
    yield from table(
        ("settings", "how many", *rules),
        [
            (name, len(lines), *(f"{mean:.1f} ({worst:.1f})" for mean, worst in behind(lines)))
            for name, lines in families(result).items()
            if lines
        ],
    )
    yield f"\n### Simulated models: median log10 p of {result['runs']} runs, and the share of runs with p <= 1e-20\n"
    # The other settings stand in the JSON.
    chosen = [line for line in result["simulated"] if line["candidates"] == 16 or line["canaries"] == 48]
    chosen.sort(key=lambda line: not line["learnt"].startswith("first"))
    yield from table(
        ("learnt", "candidates", "canaries", *rules),
        [(line["learnt"], line["candidates"], line["canaries"], *_cells(line)) for line in chosen],
    )
    yield "\n### Honest runs, 48 canaries drawn with replacement from those of one epoch: the same\n"
    yield from table(
        ("data", "candidates", "epoch", "drawn from", *rules),
        [
            (line["data"], line["candidates"], line["epoch"], line["pool"], *_cells(line))
            for line in result["resampled"]
            if line["canaries"] == 48
        ],
    )
    yield "\n### Honest runs, all natural canaries: log10 p by epoch\n"
    yield from table(
        ("data", "seed", "canaries", "epoch", *rules),
        [
            (line["data"], line["seed"], line["canaries"], line["epoch"], *(f"{value:.1f}" for value in line["median"]))
            for line in result["whole"]
        ],
    )


def _cells(line: dict[str, Any]) -> Iterator[str]:
    for median, share in zip(line["median"], line["p_1e-20"], strict=True):
        yield f"{median:.1f}, {100 * share:.0f} %"


if __name__ == "__main__":
    sys.exit(main())
