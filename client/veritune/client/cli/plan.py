"""The output of `veritune plan`: the planner's answer to a job file, as a table and a chart."""

from __future__ import annotations

from pathlib import Path

from rich.console import Group
from rich.table import Table

from veritune.client.cli.tables import share_warning
from veritune.client.planning.curve import PowerCurve
from veritune.client.planning.curve_chart import draw
from veritune.client.planning.for_job import PlanAnswer
from veritune.client.planning.wish import CHOSEN
from veritune.common.errors import PlanError

_SHOWN_EVERY = 4
"""The terminal shows one of every four points of the curve."""


def write_curve(curve: PowerCurve, path: Path) -> None:
    """Writes the power curve to an SVG file. Raises `PlanError` unless its name ends in ``.svg``."""
    if path.suffix.lower() != ".svg":
        raise PlanError(f"the curve is drawn as SVG; call the file {path.with_suffix('.svg').name}")
    path.write_text(draw(curve), encoding="utf-8")


def plan_table(found: PlanAnswer) -> Group:
    """The table of a plan for the terminal, the power curve if there is one, and what to do next."""
    canaries, figures, policy = found.planned.plan, found.planned.figures, found.planned.policy
    table = Table(title="What the policy needs", show_header=False, min_width=64, title_justify="left")
    session = "" if policy.sessions == 1 else f", each of {policy.sessions} sessions"
    most = "at most " if policy.stopping == "sequential" else ""
    for name, value in (
        ("rows of your file", str(found.wish.rows)),
        ("trigger groups x rows each", f"{canaries.groups} x {canaries.rows_per_group}"),
        ("bits of a signature", str(canaries.signature_bits)),
        ("queries of each group", str(canaries.queries_per_group)),
        ("natural canaries", f"{canaries.naturals}, each among {canaries.candidates} candidates"),
        ("canaries in place", f"{canaries.in_place}, each among {canaries.wordings} wordings"),
        ("canary rows", f"{figures.canary_rows} ({100 * figures.canary_rows / figures.dataset_rows:.1f}%)"),
        ("extra rows", f"{figures.extra_rows} ({100 * figures.extra_rows / figures.dataset_rows:.1f}%)"),
        ("extra tokens", f"about {figures.estimated_extra_tokens_percent}% (an estimate; prepare counts them)"),
        ("answers and scores to ask for", f"{most}{figures.calls}"),
        ("an honest provider passes", f"with probability {figures.honest_pass} at least{session}"),
        ("the untouched base model fails", f"with probability {figures.untrained_fail} at least{session}"),
        ("chance of a full success by luck", f"10^{figures.log10_p_all}"),
    ):
        if name != "canaries in place" or canaries.in_place:
            table.add_row(name, value)
    parts = [] if found.curve is None else [curve_table(found.curve)]
    return Group(table, *parts, *share_warning(figures.canary_rows, figures.dataset_rows), *_next_steps(found))


def curve_table(curve: PowerCurve) -> Table:
    """A table of a few points of the power curve: the probability of each verdict, in percent."""
    table = Table(title="How likely each verdict is, in percent", min_width=64, title_justify="left")
    table.add_column()
    for name in ("PASS", "FAIL", "INCONCLUSIVE"):
        table.add_column(name, justify="right")
    for title, points in (("rows trained on", curve.by_share), ("honest hit rate", curve.by_hit)):
        for point in points[::_SHOWN_EVERY]:
            chances = (f"{100 * float(text):.1f}" for text in (point.passes, point.fails, point.undecided))
            table.add_row(f"{title} {100 * float(point.at):.0f}%", *chances)
        table.add_section()
    return table


def _next_steps(found: PlanAnswer) -> list[str]:
    old, new = found.job.file.canaries, found.planned.plan
    changed = [f"{name} = {getattr(new, name)}" for name in CHOSEN if getattr(new, name) != getattr(old, name)]
    places = [f"{', '.join(changed)} under [canaries]"] if changed else []
    if found.planned.policy.queries_per_group != found.job.file.policy.queries_per_group:
        places.append(f"queries_per_group = {new.queries_per_group} under [policy]")
    name = found.job.path.name
    if not places:
        return [f"{name} says all of this already. Next: veritune run"]
    return [f"In {name} put {', and '.join(places)}. Then: veritune run"]
