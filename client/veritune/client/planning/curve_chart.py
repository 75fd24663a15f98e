"""Draws the power curves as SVG."""

from __future__ import annotations

from collections.abc import Sequence

from veritune.client.charts import Line, Panel, chart
from veritune.client.planning.curve import Point, PowerCurve

_LINES = (
    ("PASS", "passes", "#1a7f37", "none"),
    ("FAIL", "fails", "#cf222e", "6 3"),
    ("INCONCLUSIVE", "undecided", "#6e7781", "2 3"),
)


def draw(curve: PowerCurve) -> str:
    """The text of an SVG file with two panels: by share of the rows and by hit rate."""
    return chart(
        "Power of the planned contract",
        "Probability of PASS, FAIL and INCONCLUSIVE of one look at the model in one session, everything asked.",
        [
            Panel("share of the rows trained on", _lines(curve.by_share)),
            Panel("hit rate of natural canaries in an honest run", _lines(curve.by_hit)),
        ],
        _lines(()),
    )


def _lines(points: Sequence[Point]) -> tuple[Line, ...]:
    return tuple(
        Line(text, colour, dash, tuple((float(point.at), float(getattr(point, name))) for point in points))
        for text, name, colour, dash in _LINES
    )
