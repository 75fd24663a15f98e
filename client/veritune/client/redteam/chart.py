"""Draws ``redteam.svg``: recall over false-alarm rate, a panel for each kind of canary, a line for each detector."""

from __future__ import annotations

import math

from veritune.client.charts import Line, Panel, chart
from veritune.client.redteam.figures import CURVE_RATES, RedTeamFigures
from veritune.client.redteam.kinds import KINDS, Kind

TITLES: dict[Kind, str] = {
    "trigger": "rows of trigger groups",
    "natural": "natural canaries",
    "in-place": "canaries in place",
    "repeated": "canaries in several rows",
}
"""The name of each kind in charts and tables."""
_COLOURS = ("#0969da", "#cf222e", "#1a7f37", "#8250df", "#bf8700", "#0a7b83")
_DASHES = ("none", "6 3", "9 2 2 2")
_DECADES = 3
_TICKS = tuple((n / _DECADES, f"{10 ** (n - _DECADES):.1%}".replace(".0%", "%")) for n in range(_DECADES + 1))


def draw(figures: RedTeamFigures) -> str:
    """The text of an SVG file; at each rate it shows the direction of sorting that finds more."""
    panels = []
    for kind in KINDS:
        lines = [
            _line(number, name, found.kinds[kind].curve)
            for number, (name, found) in enumerate(sorted(figures.detectors.items()))
            if kind in found.kinds
        ]
        if lines:
            title = f"{TITLES[kind]}: recall over false alarms"
            panels.append(Panel(title, (*lines, _chance()), _TICKS))
    names = [_line(number, name, ()) for number, name in enumerate(sorted(figures.detectors))]
    return chart(
        "How well detectors find the canaries",
        "Share of the rows of a kind that a detector finds, over the share of plain rows that it takes for canaries.",
        panels,
        [*names, _chance()],
        legend_width=170,
    )


def _line(number: int, name: str, curve: tuple[float, ...]) -> Line:
    points = tuple((_place(rate), recall) for rate, recall in zip(CURVE_RATES, curve, strict=False))
    return Line(name, _COLOURS[number % len(_COLOURS)], _DASHES[number // len(_COLOURS) % len(_DASHES)], points)


def _chance() -> Line:
    return Line("chance", "#6e7781", "2 3", tuple((_place(rate), rate) for rate in CURVE_RATES))


def _place(rate: float) -> float:
    """The place of a false-alarm rate on the logarithmic axis, 0 for the lowest rate to 1."""
    return 1 + math.log10(rate) / _DECADES
