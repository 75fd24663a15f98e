"""Draws small line charts as SVG without a library: two panels in a row, and a legend above them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from string import Template

_WIDTH, _HEIGHT, _LEFT, _TOP, _APART, _BELOW = 300, 200, 60, 50, 380, 270
_COLUMNS = 2
_LEGEND_LINE = 20
QUARTERS = tuple((n / 4, f"{n / 4:g}") for n in range(5))
"""Ticks of an axis from 0 to 1: (place, label)."""
_PICTURE = Template("""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 $width $height" width="$width" height="$height" \
font-family="sans-serif" font-size="12" role="img">
<title>$title</title>
<desc>$description</desc>
<rect width="$width" height="$height" fill="white"/>
$panels$legend</svg>
""")
_PANEL = Template("""\
<g transform="translate($left $top)">
<rect width="$width" height="$height" fill="none" stroke="#57606a"/>
$ticks$lines<text x="150" y="238" text-anchor="middle">$title</text>
</g>
""")


@dataclass(frozen=True)
class Line:
    """One line of a panel and its entry in the legend.

    ``points`` are (x, y) from 0 to 1, with (0, 0) at the lower left; ``dash`` is SVG's ``stroke-dasharray``.
    """

    name: str
    colour: str
    dash: str = "none"
    points: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Panel:
    """One coordinate system with its lines.

    ``ticks`` are (place from 0 to 1, label) on the horizontal axis; the vertical axis always runs from 0 to 1.
    """

    title: str
    lines: tuple[Line, ...]
    ticks: tuple[tuple[float, str], ...] = QUARTERS


def chart(
    title: str, description: str, panels: Sequence[Panel], legend: Sequence[Line], legend_width: int = 120
) -> str:
    """The text of an SVG file with the panels and a legend.

    ``legend`` holds the lines to name (their points are not drawn); each entry is ``legend_width`` SVG units wide.
    """
    width = 2 * _APART
    in_a_row = (width - _LEFT) // legend_width
    top = _TOP + _LEGEND_LINE * max(0, -(-len(legend) // in_a_row) - 1)
    return _PICTURE.substitute(
        width=width,
        height=top + _BELOW * max(1, -(-len(panels) // _COLUMNS)),
        title=escape(title),
        description=escape(description),
        panels="".join(_panel(number, panel, top) for number, panel in enumerate(panels)),
        legend="".join(_legend(number, line, in_a_row, legend_width) for number, line in enumerate(legend)),
    )


def _panel(number: int, panel: Panel, top: int) -> str:
    row, column = divmod(number, _COLUMNS)
    vertical = [
        f'<text x="-8" y="{_HEIGHT * (4 - n) // 4 + 4}" text-anchor="end">{text}</text>'
        for n, (_, text) in enumerate(QUARTERS)
    ]
    horizontal = [
        f'<text x="{_WIDTH * place:g}" y="{_HEIGHT + 16}" text-anchor="middle">{escape(text)}</text>'
        for place, text in panel.ticks
    ]
    return _PANEL.substitute(
        left=_LEFT + column * _APART,
        top=top + row * _BELOW,
        width=_WIDTH,
        height=_HEIGHT,
        ticks="\n".join([*vertical, *horizontal, ""]),
        lines="".join(_polyline(line) for line in panel.lines),
        title=escape(panel.title),
    )


def _polyline(line: Line) -> str:
    places = " ".join(f"{_WIDTH * x:.1f},{_HEIGHT * (1 - y):.1f}" for x, y in line.points)
    return (
        f'<polyline fill="none" stroke="{line.colour}" stroke-width="2" stroke-dasharray="{line.dash}" '
        f'points="{places}"/>\n'
    )


def _legend(number: int, line: Line, in_a_row: int, width: int) -> str:
    row, column = divmod(number, in_a_row)
    x, y = _LEFT + column * width, 24 + _LEGEND_LINE * row
    return (
        f'<line x1="{x}" x2="{x + 30}" y1="{y}" y2="{y}" stroke="{line.colour}" stroke-width="2" '
        f'stroke-dasharray="{line.dash}"/><text x="{x + 36}" y="{y + 4}">{escape(line.name)}</text>\n'
    )
