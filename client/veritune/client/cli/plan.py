"""`veritune plan`: the planner's answer to a job file, as a table, a curve and numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table

from veritune.client.data.own_answers import own_answers, usual_count
from veritune.client.data.user_rows import read_user_rows
from veritune.client.job.file import Job
from veritune.client.planning.curve import Curve, power_curve
from veritune.client.planning.curve_chart import draw
from veritune.client.planning.planner import plan
from veritune.client.planning.wish import CHOSEN, Planned, Wish
from veritune.common.errors import PlanError

CHARACTERS_PER_TOKEN = 4
"""Of usual English text; only for the estimate of extra tokens."""
_SHOWN_EVERY = 4
"""Points of the curve between two that a terminal shows."""


@dataclass(frozen=True)
class PlanAnswer:
    """What was planned for a job, and how much it can tell."""

    job: Job
    wish: Wish
    planned: Planned
    curve: Curve | None

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        found: dict[str, Any] = {
            "plan": self.planned.plan.model_dump(mode="json"),
            "queries_per_group": self.planned.policy.queries_per_group,
            "figures": vars(self.planned.figures),
            "rows": self.wish.rows,
            "row_tokens_estimate": self.wish.row_tokens,
        }
        if self.curve is not None:
            found["curve"] = {name: [vars(point) for point in points] for name, points in vars(self.curve).items()}
        return found


def answer(
    path: Path,
    keep: Iterable[str],
    *,
    with_curve: bool,
    activation: str,
    natural_hit: str,
    in_place_hit: str | None,
) -> PlanAnswer:
    """The cheapest plan for a job's policy; the chances are as in `Wish`. Raises `PlanError`, `DatasetError`.

    Reads the user's rows, to count them and their characters.
    """
    job = Job.load(path)
    rows = read_user_rows(job.data, job.file.data.source)
    base, fixed = job.file.canaries, frozenset(keep)
    given = own_answers(rows) if base.own_answers and base.naturals else None
    if given is not None and usual_count(given) < base.candidates:
        # So many the data have, and no plan can ask for more.
        base, fixed = base.model_copy(update={"candidates": usual_count(given)}), fixed | {"candidates"}
    characters = sum(len(message.content) for row in rows for message in row.messages)
    wish = Wish(
        rows=len(rows),
        policy=job.file.policy,
        base=base,
        fixed=fixed,
        row_tokens=max(1, characters // (CHARACTERS_PER_TOKEN * len(rows))),
        activation=activation,
        natural_hit=natural_hit,
        in_place_hit=in_place_hit,
    )
    planned = plan(wish)
    return PlanAnswer(job, wish, planned, power_curve(wish, planned) if with_curve else None)


def write_curve(curve: Curve, path: Path) -> None:
    """As SVG. Raises `PlanError` for a name that is no SVG file's."""
    if path.suffix.lower() != ".svg":
        raise PlanError(f"the curve is drawn as SVG; call the file {path.with_suffix('.svg').name}")
    path.write_text(draw(curve), encoding="utf-8")


def plan_table(found: PlanAnswer) -> Group:
    """For people."""
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
    return Group(table, *parts, *_next_steps(found))


def curve_table(curve: Curve) -> Table:
    """A few points of the power curve."""
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
    places = [f"{', '.join(changed)} under \\[canaries]"] if changed else []
    if found.planned.policy.queries_per_group != found.job.file.policy.queries_per_group:
        places.append(f"queries_per_group = {new.queries_per_group} under \\[policy]")
    name = found.job.path.name
    if not places:
        return [f"{name} says all of this already. Next: veritune run"]
    return [f"In {name} put {', and '.join(places)}. Then: veritune run"]
