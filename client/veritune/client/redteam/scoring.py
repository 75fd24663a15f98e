"""ROC curves: how well suspicion tells canaries from plain rows.

A false alarm is a plain row at or above the threshold. If canaries and plain rows have the same score, the attacker
is assumed to draw among them at random, so that a score that says nothing finds as large a share of canaries as of
plain rows. A threshold alone would find none of the tied canaries; counting all of them would make a detector that
gives every row the same score perfect.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise


@dataclass(frozen=True)
class Roc:
    """A receiver operating characteristic: shares of plain rows and of canaries at each threshold, the highest first.

    Both rise from 0 to 1; tied rows make one step of both.
    """

    false: tuple[float, ...]
    """Share of plain rows at or above each threshold (false alarms)."""
    found: tuple[float, ...]
    """Share of canaries at or above each threshold (recall)."""

    @classmethod
    def of(cls, plain: Sequence[float], canaries: Sequence[float]) -> Roc:
        """The curve of two lists of suspicion; a value that isn't finite ranks last.

        Raises `ValueError` if one of the lists is empty.
        """
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
        """Area under the curve: the probability that a canary ranks before a plain row, ties counted half."""
        points = pairwise(zip(self.false, self.found, strict=True))
        return math.fsum((x - x0) * (y + y0) / 2 for (x0, y0), (x, y) in points)

    def recall(self, rate: float) -> float:
        """Share of canaries found with false alarms in at most ``rate`` (0 to 1) of the plain rows.

        Within tied rows it is the average over the attacker's random draw.
        """
        place = bisect_right(self.false, rate) - 1
        if place + 1 == len(self.false):
            return 1.0
        x0, y0, x, y = self.false[place], self.found[place], self.false[place + 1], self.found[place + 1]
        return y0 + (y - y0) * (rate - x0) / (x - x0)


def _ordered(value: float) -> float:
    return value if math.isfinite(value) else -math.inf
