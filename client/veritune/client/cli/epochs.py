"""`veritune epochs`: the dose-response estimate from a report that passes its audit."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table

from veritune.arbiter.audit.audit import audit_files
from veritune.arbiter.epochs import Curve, Dose, Epochs, doses_in, estimate_epochs
from veritune.arbiter.statistics.exact import parse_probability
from veritune.common.errors import NotFoundError, PlanError


@dataclass(frozen=True)
class Estimate:
    """What was counted, and what it says of the number of epochs."""

    mode: str
    doses: tuple[Dose, ...]
    epochs: Epochs
    confidence: str
    declared: int
    """Epochs that the contract asks for."""
    measured_on: str

    def as_json(self) -> dict[str, Any]:
        """Epochs as decimals, quarters exactly; ``most`` null where no upper end was found. Where ``fits`` is false the
        numbers mean nothing."""
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
    """Audits, counts, estimates. Raises `AuditError` and what `audit_files` and `Curve.load` raise, `NotFoundError`
    where the mode was not asked or no canary is of the curve's kind, and `PlanError` for a confidence that is none."""
    level, shape = parse_probability(confidence), Curve.load(curve)
    if not 0 < level < 1:
        raise PlanError("a confidence lies between 0 and 1")
    result = audit_files(report, evidence, client_key, provider_key)
    if all(seen.mode != mode for seen in result.evidence.observations):
        raise NotFoundError(f"the evidence has no answers of the mode {mode!r}")
    doses = doses_in(result.evidence, mode, shape)
    if not doses:
        kind = "drawn answers" if shape.canaries == "answers" else "wordings"
        raise NotFoundError(f"the evidence opens no canary of {shape.candidates} {kind}, which the curve speaks of")
    return Estimate(
        mode=mode,
        doses=doses,
        epochs=estimate_epochs(doses, shape, level),
        confidence=confidence,
        declared=result.manifest.training.epochs,
        measured_on=shape.measured_on,
    )


def epochs_table(found: Estimate) -> Group:
    """For people."""
    table = Table(title="How many epochs", show_header=False, min_width=64, title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    epochs = found.epochs
    most = "no upper end found" if epochs.most is None else f"at most {float(epochs.most):g}"
    table.add_row("the contract asks for", f"{found.declared}")
    if epochs.fits:
        table.add_row(f"with confidence {found.confidence}", f"at least {float(epochs.least):g}, {most}")
        table.add_row("likeliest", "none fits" if epochs.likeliest is None else f"{float(epochs.likeliest):g}")
    else:
        table.add_row("the curve does not fit", "no number of epochs gives so many, or so few: it is another recipe's")
    for dose in found.doses:
        rows = "row" if dose.copies == 1 else "rows"
        table.add_row(f"canaries of {dose.copies} {rows}", f"{dose.hits} of {dose.asked} found ({found.mode})")
    table.add_row("curve measured on", found.measured_on)
    return Group(table, "This rests on the curve, which is no part of the contract; no verdict uses it.")


def _number(value: Fraction | None) -> float | None:
    return None if value is None else float(value)
