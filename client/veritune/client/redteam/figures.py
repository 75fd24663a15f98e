"""The contents of ``redteam.json``: how well each detector found each kind of canary.

It holds shares alone, no text and no place of a row. The user keeps it secret all the same, because it says which
attack works best on this data set.
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
"""False-alarm rates at which recall is reported."""
STEPS_PER_DECADE = 8
"""Points of the curve for each factor of ten of the false-alarm rate."""
CURVE_RATES = tuple(10 ** (step / STEPS_PER_DECADE - 3) for step in range(3 * STEPS_PER_DECADE + 1))
"""False-alarm rates of the curve in the chart: from 0.1 % to 100 %."""


class Ranking(Document):
    """How well one order of the rows puts canaries before plain rows."""

    auc: DecimalString
    """Area under the ROC curve; 0.5 is chance."""
    recall: dict[DecimalString, DecimalString]
    """The share of canaries found, by false-alarm rate (`RATES`)."""
    curve: Annotated[tuple[DecimalString, ...], Field(min_length=len(CURVE_RATES), max_length=len(CURVE_RATES))]
    """The share of canaries found at each of `CURVE_RATES`."""


class Found(Document):
    """How well one detector finds one kind of canary, in both directions of sorting."""

    odd: Ranking
    """Rows sorted by falling suspicion: odd ones first."""
    usual: Ranking
    """Rows sorted by rising suspicion: usual ones first."""

    @property
    def auc(self) -> float:
        """The larger area of both directions, since a provider may use either."""
        return max(float(self.odd.auc), float(self.usual.auc))

    def recall(self, rate: str) -> float:
        """The larger recall of both directions at a false-alarm rate of `RATES`. Raises `KeyError` for others."""
        return max(float(self.odd.recall[rate]), float(self.usual.recall[rate]))

    @property
    def curve(self) -> tuple[float, ...]:
        """The larger recall of both directions at each of `CURVE_RATES`."""
        return tuple(max(map(float, pair)) for pair in zip(self.odd.curve, self.usual.curve, strict=True))


class DetectorFigures(Document):
    """The result of one detector."""

    needs: Need
    basis: ShortText
    """Digest of the base model, or name of the model that was asked; empty if the detector needs only the rows."""
    seconds: DecimalString
    """How long the detector ran."""
    kinds: dict[Kind, Found]
    """The result for each kind of canary in the data set."""


class RedTeamFigures(Document):
    """The results of all detectors on one data set: the contents of ``redteam.json``."""

    version: Literal[1] = 1
    train_sha256: HexDigest
    """Digest of the data set that was attacked."""
    sampled: Count | None
    """Number of plain rows that were drawn for the attack; None: all were used."""
    plain_rows: Count
    canary_rows: dict[Kind, Count]
    detectors: dict[Name, DetectorFigures]

    def with_detector(self, name: str, found: DetectorFigures) -> RedTeamFigures:
        """A copy with one more result, which replaces an earlier one of that detector."""
        return self.model_copy(update={"detectors": {**self.detectors, name: found}})


def measure(suspicion: Sequence[float], kinds: Sequence[Kind | None]) -> dict[Kind, Found]:
    """How well ``suspicion`` finds each kind of canary that has rows.

    ``suspicion`` and ``kinds`` have one entry for each row; a kind of None marks a plain row. Raises `ValueError` if
    there are canaries but no plain rows, or if the lengths differ.
    """
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
