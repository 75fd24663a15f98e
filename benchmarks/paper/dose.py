"""Dose-response: the curve of hits by exposures, and the number of epochs that it gives back, with its interval.

    python -m benchmarks.paper.dose

Equation (D) of docs/statistics.md. For each setting of the calibration runs (data, model, learning rate, number of
candidates) a curve is fitted to the honest runs by isotonic regression. Where a setting has several runs, each run's
epochs are estimated by the curve of the others; where it has one, by its own, and the result says so. Writes
``benchmarks/results/dose.json``, the curves under ``benchmarks/results/curves/`` and the table in ``docs/results.md``;
takes seconds, and no model.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

from scipy.optimize import isotonic_regression

from benchmarks.files import put_between
from benchmarks.paper.calibrate import RESULTS
from benchmarks.paper.tables import DOCUMENT, grouped, is_in_place, settings, table, weight_of
from veritune.arbiter.epochs import CurvePoint, Dose, DoseCurve, estimate_epochs

FOLDER = RESULTS.parent
BEGIN, END = "<!-- epochs: begin -->", "<!-- epochs: end -->"
CONFIDENCE = Fraction(19, 20)


def main() -> int:
    """Returns 0."""
    runs = [json.loads(path.read_bytes()) for path in sorted(RESULTS.glob("*-honest.json"))]
    # The plan that has canaries of several rows.
    runs = [run for run in runs if run.get("sown_as", "dose") == "dose"]
    lines: list[dict[str, Any]] = []
    for setting, alike in grouped(runs, lambda run: (*settings(run), str(candidates_of(run)))).items():
        for run in alike:
            others = [other for other in alike if other is not run]
            lines += estimates(run, curve(others or alike, " ".join(setting)), bool(others))
        target = FOLDER / "curves" / f"{'-'.join(setting)}.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        fitted = curve(alike, f"{' '.join(setting)}; LoRA rank 32, alpha 64, batch 4")
        target.write_text(fitted.model_dump_json() + "\n", encoding="utf-8")
    FOLDER.joinpath("dose.json").write_text(json.dumps(lines, separators=(",", ":")) + "\n", encoding="utf-8")
    put_between(DOCUMENT, BEGIN, END, "\n".join(report(lines)))
    return 0


def report(lines: Sequence[dict[str, Any]]) -> Iterator[str]:
    """A Markdown table; rows train on what the curve was not fitted to only where it says so."""
    yield from table(
        ("data", "rows", "candidates", "seed", "epochs run", "likeliest", "95 % interval", "curve of"),
        [
            (
                line["data"],
                line["rows"],
                line["candidates"],
                line["seed"],
                line["epochs"],
                "-" if line["likeliest"] is None else line["likeliest"],
                f"{line['least']} to {'any' if line['most'] is None else line['most']}"
                if line["fits"]
                else "none fits: more hit than the curve allows",
                "other runs" if line["curve_of_other_runs"] else "the same run",
            )
            for line in lines
        ],
    )


def added(run: dict[str, Any], look: dict[str, Any]) -> list[dict[str, Any]]:
    """The natural canaries of drawn or listed answers."""
    return [natural for natural in look["naturals"] if not is_in_place(run, natural)]


def candidates_of(run: dict[str, Any]) -> int:
    """Of each of these canaries."""
    (number,) = {natural["candidates"] for natural in added(run, run["looks"][0])}
    return int(number)


def curve(runs: Sequence[dict[str, Any]], measured_on: str) -> DoseCurve:
    """Share of hits by exposures, never falling, from luck at none."""
    asked: Counter[int] = Counter()
    hits: Counter[int] = Counter()
    for run in runs:
        for look in run["looks"]:
            for natural in added(run, look):
                exposures = natural["copies"] * look["epoch"]
                asked[exposures] += 1
                hits[exposures] += natural["rank"] == 1
    candidates = candidates_of(runs[0])
    doses = sorted(asked)
    luck = 1 / candidates
    # One hit and one miss more: a share of 0 or 1 would rule out what one canary more may show.
    shares = [(hits[dose] + luck) / (asked[dose] + 1) for dose in doses]
    rising = isotonic_regression([luck, *shares], weights=[1e9, *(asked[dose] for dose in doses)]).x
    return DoseCurve(
        canaries="answers",
        candidates=candidates,
        hit_rank=1,
        base_weight=weight_of(runs[0]),
        measured_on=measured_on,
        points=tuple(
            CurvePoint(exposures=dose, probability=f"{value:.6f}")
            for dose, value in zip([0, *doses], rising, strict=True)
        ),
    )


def estimates(run: dict[str, Any], fitted: DoseCurve, independent: bool) -> Iterator[dict[str, Any]]:
    """After every epoch: what the canaries of 1, 2, 4 ... rows say of the number of epochs."""
    for look in run["looks"]:
        asked: Counter[int] = Counter()
        hits: Counter[int] = Counter()
        for natural in added(run, look):
            asked[natural["copies"]] += 1
            hits[natural["copies"]] += natural["rank"] == 1
        doses = [Dose(copies, asked[copies], hits[copies]) for copies in sorted(asked)]
        found = estimate_epochs(doses, fitted, CONFIDENCE)
        yield {
            "data": run["data"],
            "rows": run["rows_trained"],
            "candidates": candidates_of(run),
            "seed": run["seed"],
            "epochs": look["epoch"],
            "likeliest": None if found.likeliest is None else float(found.likeliest),
            "least": float(found.least),
            "most": None if found.most is None else float(found.most),
            "curve_of_other_runs": independent,
            "fits": found.fits,
        }


if __name__ == "__main__":
    sys.exit(main())
