"""How well suspicion tells canaries from plain rows: area under the curve, and recall at a few false-alarm rates.

A false alarm is a plain row at or above the threshold. Where canaries and plain rows have the same score, the
attacker is taken to draw among them by lot, so that a score that says nothing finds as large a share of canaries as
of plain rows. A threshold alone would find none of the tied canaries; counting all of them would make a detector
that gives every row the same score perfect.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise


@dataclass(frozen=True)
class Roc:
    """Receiver operating characteristic: at each threshold, from the highest, shares of plain rows and of canaries.

    ``false`` and ``found`` rise from 0 to 1; tied rows make one step of both.
    """

    false: tuple[float, ...]
    found: tuple[float, ...]

    @classmethod
    def of(cls, plain: Sequence[float], canaries: Sequence[float]) -> Roc:
        """From the suspicion of both. Raises `ValueError` where one of them is empty. What is no number is last."""
        if not plain or not canaries:
            raise ValueError("a curve takes plain rows and canaries")
        scored = [(_ordered(value), False) for value in plain] + [(_ordered(value), True) for value in canaries]
        scored.sort(key=lambda pair: -pair[0])
        false, found, wrong, right = [0.0], [0.0], 0, 0
        for _, tied in groupby(scored, key=lambda pair: pair[0]):
            for _, is_canary in tied:
                right += is_canary
                wrong += not is_canary
            false.append(wrong / len(plain))
            found.append(right / len(canaries))
        return cls(tuple(false), tuple(found))

    @property
    def area(self) -> float:
        """Probability that a canary ranks before a plain row, ties counted half."""
        points = pairwise(zip(self.false, self.found, strict=True))
        return math.fsum((x - x0) * (y + y0) / 2 for (x0, y0), (x, y) in points)

    def recall(self, rate: float) -> float:
        """Share of canaries found at false alarms in at most ``rate`` of the plain rows, on average over the lot."""
        place = bisect_right(self.false, rate) - 1
        if place + 1 == len(self.false):
            return 1.0
        x0, y0, x, y = self.false[place], self.found[place], self.false[place + 1], self.found[place + 1]
        return y0 + (y - y0) * (rate - x0) / (x - x0)


def _ordered(value: float) -> float:
    return value if math.isfinite(value) else -math.inf
