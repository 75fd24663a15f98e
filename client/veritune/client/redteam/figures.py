"""``redteam.json``: how well each detector found each kind of canary. Shares alone: no text and no place of a row.

Even so it is the user's own: it says which attack works best on this data set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from veritune.client.redteam.detectors.detector import Need
from veritune.client.redteam.kinds import KINDS, Kind
from veritune.client.redteam.scoring import Roc
from veritune.common.documents.base import Count, DecimalString, Document, HexDigest, Name, ShortText

RATES = ("0.001", "0.01", "0.05", "0.1")
"""False-alarm rates that recall is given at."""
STEPS_PER_DECADE = 8
CURVE_RATES = tuple(10 ** (step / STEPS_PER_DECADE - 3) for step in range(3 * STEPS_PER_DECADE + 1))
"""Of the picture: from 0.1 % to 100 %."""


class Ranking(Document):
    """One way to sort the rows."""

    auc: DecimalString
    recall: dict[DecimalString, DecimalString]
    """By rate of false alarms over plain rows."""
    curve: Annotated[tuple[DecimalString, ...], Field(min_length=len(CURVE_RATES), max_length=len(CURVE_RATES))]
    """Recall at `CURVE_RATES`."""


class Found(Document):
    """One kind of canary, as one detector ranks it: ``odd`` by falling suspicion, ``usual`` by rising suspicion."""

    odd: Ranking
    usual: Ranking

    @property
    def auc(self) -> float:
        """The better of both directions: nobody says which way a provider looks."""
        return max(float(self.odd.auc), float(self.usual.auc))

    def recall(self, rate: str) -> float:
        """The better of both directions at this rate of false alarms."""
        return max(float(self.odd.recall[rate]), float(self.usual.recall[rate]))

    @property
    def curve(self) -> tuple[float, ...]:
        """The better of both directions, rate by rate."""
        return tuple(max(map(float, pair)) for pair in zip(self.odd.curve, self.usual.curve, strict=True))


class DetectorFigures(Document):
    """One detector's result."""

    needs: Need
    basis: ShortText
    """Digest of the base model, or name of the model that was asked; empty where the rows were enough."""
    seconds: DecimalString
    kinds: dict[Kind, Found]


class RedTeamFigures(Document):
    """The whole file."""

    version: Literal[1] = 1
    train_sha256: HexDigest
    sampled: Count | None
    """Most plain rows that were looked at; None for all."""
    plain_rows: Count
    canary_rows: dict[Kind, Count]
    detectors: dict[Name, DetectorFigures]

    def with_detector(self, name: str, found: DetectorFigures) -> RedTeamFigures:
        """The same with one more result."""
        return self.model_copy(update={"detectors": {**self.detectors, name: found}})


def measure(suspicion: Sequence[float], kinds: Sequence[Kind | None]) -> dict[Kind, Found]:
    """One result for each kind that has rows; None marks plain rows. Raises `ValueError` where all are canaries."""
    plain = [value for value, kind in zip(suspicion, kinds, strict=True) if kind is None]
    found: dict[Kind, Found] = {}
    for wanted in KINDS:
        canaries = [value for value, kind in zip(suspicion, kinds, strict=True) if kind == wanted]
        if canaries:
            odd, usual = Roc.of(plain, canaries), Roc.of([-v for v in plain], [-v for v in canaries])
            found[wanted] = Found(odd=_ranking(odd), usual=_ranking(usual))
    return found


def _ranking(roc: Roc) -> Ranking:
    return Ranking(
        auc=f"{roc.area:.4f}",
        recall={rate: f"{roc.recall(float(rate)):.4f}" for rate in RATES},
        curve=tuple(f"{roc.recall(rate):.4f}" for rate in CURVE_RATES),
    )
