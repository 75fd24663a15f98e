"""Estimates the number of epochs from canaries of one, two, four ... copies (docs/statistics.md, section 7).

A canary in r rows of a data set that was trained on for E epochs was seen x = r * E times. Given a curve h(x), the
share of hits after x exposures that calibration runs of a recipe showed, the number of hits has a known distribution
for every E, and an exact confidence interval for E follows. The curve is the assumption: a verdict never uses this.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from veritune.arbiter.audit.audit import audit_files
from veritune.arbiter.documents.canary import NaturalCanary, Rewording
from veritune.arbiter.documents.evidence import Evidence
from veritune.arbiter.statistics.exact import parse_probability, poisson_binomial_at_least
from veritune.arbiter.verdict.look import ranked
from veritune.common.canonical import parse_json
from veritune.common.documents.base import Count, DecimalString, Document, Share, ShortText, field_of
from veritune.common.errors import BadFileError, MalformedDocumentError, MissingFileError, UsageError, WrongFileError
from veritune.common.files import own_file, read_limited
from veritune.common.limits import LIMITS

STEP = Fraction(1, 4)
"""Distance between the numbers of epochs that are tried."""
MOST_EPOCHS = 64
"""Largest number of epochs that is tried by default."""


class CurvePoint(Document):
    """One point of the curve: after ``exposures`` exposures a canary hits with this probability."""

    exposures: Count
    probability: DecimalString


class DoseCurve(Document):
    """Hit probability by number of exposures, measured on honest runs of one recipe and one kind of canary."""

    kind: Literal["dose-curve"] = "dose-curve"
    canaries: Literal["answers", "wordings"]
    """The kind of canary: drawn answers of set-aside rows, or wordings of rows in place."""
    candidates: Annotated[int, Field(ge=2, le=256)]
    """Number of candidate answers of each canary, the true one included."""
    hit_rank: Annotated[int, Field(ge=1, le=64)]
    """A canary is a hit where its true answer has this rank or a better one."""
    base_weight: Share
    """The base model's weight in the scores that are ranked; the curve's is used here, whatever the contract's is."""
    measured_on: ShortText
    """Recipe, model and data of the runs, in words."""
    points: Annotated[tuple[CurvePoint, ...], Field(min_length=1, max_length=1024)]
    """Points by rising exposures from 0 on, where luck alone hits; no probability is below the one before it."""

    @model_validator(mode="after")
    def _rises(self) -> Self:
        try:
            chances = [parse_probability(point.probability) for point in self.points]
        except MalformedDocumentError as error:
            raise ValueError(error.message) from error
        places = [point.exposures for point in self.points]
        if places[0] != 0 or places != sorted(set(places)) or chances != sorted(chances):
            raise ValueError("the exposures of a curve must begin at 0 and rise, and its probabilities must not fall")
        return self

    def at(self, exposures: Fraction) -> Fraction:
        """Hit probability h after ``exposures``: linear between two points, constant beyond the last."""
        points = [(point.exposures, parse_probability(point.probability)) for point in self.points]
        for (left, low), (right, high) in pairwise(points):
            if exposures <= right:
                return low + (high - low) * (exposures - left) / (right - left)
        return points[-1][1]

    @classmethod
    def load(cls, path: Path) -> DoseCurve:
        """The curve in any JSON file. Raises `MissingFileError` or `BadFileError`."""
        try:
            data = read_limited(path, LIMITS.document)
        except OSError as error:
            raise MissingFileError(f"can't read {path.name}: {error.strerror}", file=path.name) from error
        with own_file(path):
            parse_json(data)
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "curve"
            raise BadFileError(
                f"{path.name}: {where[:200]}: {first['msg']}", file=path.name, **field_of(first)
            ) from error


@dataclass(frozen=True)
class Dose:
    """How many canaries of ``copies`` rows each were asked, and how many of these hit."""

    copies: int
    asked: int
    hits: int

    def __post_init__(self) -> None:
        if self.copies < 1 or not 0 <= self.hits <= self.asked:
            raise ValueError("copies, canaries asked and hits do not fit together")


@dataclass(frozen=True)
class Epochs:
    """A confidence interval for the number of epochs, ``least`` to ``most``; ``most`` is None without an upper end."""

    least: Fraction
    most: Fraction | None
    likeliest: Fraction | None
    """The number tried under which the hits are most likely, the least of equals; None if all make them impossible."""
    fits: bool = True
    """False if no number of epochs explains the hits, more than the curve ever allows for or fewer than by luck: the
    curve is then another recipe's, and the interval means nothing."""


def doses_in(evidence: Evidence, mode: str, curve: DoseCurve) -> tuple[Dose, ...]:
    """Counts, by copies, of the canaries that the curve applies to. Raises `MalformedDocumentError` for odd scores."""
    wordings = {generator.digest for generator in evidence.generators if isinstance(generator, Rewording)}
    scores = {item.leaf: item for seen in evidence.observations if seen.mode == mode for item in seen.naturals}
    weight = Fraction(curve.base_weight)
    asked: Counter[int] = Counter()
    hits: Counter[int] = Counter()
    for opening in evidence.openings:
        canary, found = opening.canary, scores.get(opening.leaf)
        if not isinstance(canary, NaturalCanary) or found is None:
            continue
        kind = "wordings" if canary.generator_digest in wordings else "answers"
        if (kind, len(canary.candidates)) != (curve.canaries, curve.candidates):
            continue
        item = ranked(canary, found, weight)
        asked[item.copies] += 1
        hits[item.copies] += item.rank <= curve.hit_rank
    return tuple(Dose(copies, asked[copies], hits[copies]) for copies in sorted(asked))


def estimate_epochs(
    doses: Sequence[Dose], curve: DoseCurve, confidence: Fraction = Fraction(19, 20), most_epochs: int = MOST_EPOCHS
) -> Epochs:
    """The interval of every E from 0 to ``most_epochs`` that the number of hits does not rule out: equation (D).

    E is ruled out from below where P(as many hits or more | E) <= (1 - confidence) / 2, and from above where
    P(as many or fewer | E) is. The ends are one quarter outside those that are left, so that the interval also covers
    a true number between two quarters. Raises ``ValueError``.
    """
    if not 0 < confidence < 1 or most_epochs < 1:
        raise ValueError("a confidence lies between 0 and 1, and at least one epoch is tried")
    grid = [STEP * quarter for quarter in range(most_epochs * STEP.denominator + 1)]
    doubt = (1 - confidence) / 2
    hits = sum(dose.hits for dose in doses)

    def too_few(place: int) -> bool:
        return _hits_at_least(doses, curve, grid[place], hits) <= doubt

    def too_many(place: int) -> bool:
        return 1 - _hits_at_least(doses, curve, grid[place], hits + 1) <= doubt

    # h never falls, so that P(hits or more) rises with E: what is too few is a beginning of the grid.
    few = bisect_left(range(len(grid)), True, key=lambda place: not too_few(place))
    many = bisect_left(range(len(grid)), True, key=too_many)
    longest = [curve.at(dose.copies * grid[-1]) for dose in doses]
    risen = all(chance == parse_probability(curve.points[-1].probability) for chance in longest)
    return Epochs(
        fits=many > 0 and not (few == len(grid) and risen),
        least=grid[max(0, few - 1)],
        most=grid[many] if many < len(grid) else None,
        likeliest=_likeliest(doses, curve, grid),
    )


def likelihood(doses: Sequence[Dose], curve: DoseCurve, epochs: Fraction) -> Fraction:
    """Probability of exactly these hits, in one order, after ``epochs`` epochs."""
    value = Fraction(1)
    for dose in doses:
        hit = curve.at(dose.copies * epochs)
        value *= hit**dose.hits * (1 - hit) ** (dose.asked - dose.hits)
    return value


def _hits_at_least(doses: Sequence[Dose], curve: DoseCurve, epochs: Fraction, hits: int) -> Fraction:
    chances = [curve.at(dose.copies * epochs) for dose in doses for _ in range(dose.asked)]
    return poisson_binomial_at_least(chances, hits)


def _likeliest(doses: Sequence[Dose], curve: DoseCurve, grid: Sequence[Fraction]) -> Fraction | None:
    best = max(grid, key=lambda epochs: likelihood(doses, curve, epochs))
    return best if likelihood(doses, curve, best) else None


@dataclass(frozen=True)
class Estimate:
    """The estimate for one mode of a report, with the counts that it is made from."""

    mode: str
    doses: tuple[Dose, ...]
    epochs: Epochs
    confidence: str
    declared: int
    """Number of epochs that the contract asks for."""
    measured_on: str

    def as_json(self) -> dict[str, Any]:
        """The estimate as a JSON object; ``most`` is null without an upper end, and the interval means nothing where
        ``fits`` is false."""
        return {
            "mode": self.mode,
            "declared": self.declared,
            "fits": self.epochs.fits,
            "least": float(self.epochs.least),
            "most": _number(self.epochs.most),
            "likeliest": _number(self.epochs.likeliest),
            "confidence": self.confidence,
            "doses": [vars(dose) for dose in self.doses],
            "curve": self.measured_on,
        }


def estimate(
    report: Path, evidence: Path, curve: Path, client_key: Path, provider_key: Path, mode: str, confidence: str
) -> Estimate:
    """An estimate of the number of epochs, from a report that passes its audit.

    Raises what `audit_files` and `DoseCurve.load` raise, `UsageError` for a mode that was not asked or a confidence
    outside 0 to 1, and `WrongFileError` where no canary is of the curve's kind.
    """
    try:
        level = parse_probability(confidence)
    except MalformedDocumentError as error:
        raise UsageError(f"--confidence {confidence}: {error.message}") from error
    if not 0 < level < 1:
        raise UsageError(f"--confidence {confidence}: a confidence lies between 0 and 1")
    shape = DoseCurve.load(curve)
    result = audit_files(report, evidence, client_key, provider_key)
    if all(seen.mode != mode for seen in result.evidence.observations):
        raise UsageError(f"--mode: the evidence has no answers of the mode {mode!r}")
    doses = doses_in(result.evidence, mode, shape)
    if not doses:
        kind = "drawn answers" if shape.canaries == "answers" else "wordings"
        raise WrongFileError(
            f"the evidence opens no canary of {shape.candidates} {kind}, which the curve speaks of", what="canaries"
        )
    return Estimate(
        mode=mode,
        doses=doses,
        epochs=estimate_epochs(doses, shape, level),
        confidence=confidence,
        declared=result.manifest.training.epochs,
        measured_on=shape.measured_on,
    )


def _number(value: Fraction | None) -> float | None:
    return None if value is None else float(value)
