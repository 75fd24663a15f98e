"""The power curve as a picture: plain SVG, no library."""

from __future__ import annotations

from collections.abc import Sequence
from string import Template

from veritune.client.plan_curve import Curve, Point

_WIDTH, _HEIGHT, _LEFT, _TOP, _APART = 300, 200, 60, 50, 380
_LINES = (
    ("PASS", "passes", "#1a7f37", "none"),
    ("FAIL", "fails", "#cf222e", "6 3"),
    ("INCONCLUSIVE", "undecided", "#6e7781", "2 3"),
)
_PICTURE = Template("""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 320" width="760" height="320" \
font-family="sans-serif" font-size="12" role="img">
<title>Power of the planned contract</title>
<desc>Probability of PASS, FAIL and INCONCLUSIVE of one look at the model in one session, everything asked.</desc>
<rect width="760" height="320" fill="white"/>
$panels$legend</svg>
""")
_PANEL = Template("""\
<g transform="translate($left $top)">
<rect width="$width" height="$height" fill="none" stroke="#57606a"/>
$ticks$lines<text x="150" y="238" text-anchor="middle">$title</text>
</g>
""")


def draw(curve: Curve) -> str:
    """The whole file: two panels, by share of the rows and by hit rate."""
    panels = _panel(0, "share of the rows trained on", curve.by_share)
    panels += _panel(1, "hit rate of natural canaries in an honest run", curve.by_hit)
    return _PICTURE.substitute(panels=panels, legend=_legend())


def _panel(number: int, title: str, points: Sequence[Point]) -> str:
    ticks = "".join(
        f'<text x="-8" y="{_HEIGHT * (4 - n) // 4 + 4}" text-anchor="end">{n / 4:g}</text>'
        f'<text x="{_WIDTH * n // 4}" y="{_HEIGHT + 16}" text-anchor="middle">{n / 4:g}</text>\n'
        for n in range(5)
    )
    lines = "".join(_line(points, name, colour, dash) for _, name, colour, dash in _LINES)
    left = _LEFT + number * _APART
    return _PANEL.substitute(left=left, top=_TOP, width=_WIDTH, height=_HEIGHT, ticks=ticks, lines=lines, title=title)


def _line(points: Sequence[Point], name: str, colour: str, dash: str) -> str:
    places = " ".join(
        f"{_WIDTH * float(point.at):.1f},{_HEIGHT * (1 - float(getattr(point, name))):.1f}" for point in points
    )
    return f'<polyline fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}" points="{places}"/>\n'


def _legend() -> str:
    return "".join(
        f'<line x1="{60 + 120 * n}" x2="{90 + 120 * n}" y1="24" y2="24" stroke="{colour}" stroke-width="2" '
        f'stroke-dasharray="{dash}"/><text x="{96 + 120 * n}" y="28">{text}</text>\n'
        for n, (text, _, colour, dash) in enumerate(_LINES)
    )
