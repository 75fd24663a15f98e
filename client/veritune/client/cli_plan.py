"""`veritune plan`: the planner's answer to a job file."""

from __future__ import annotations

from pathlib import Path

from rich.console import Group
from rich.table import Table

from veritune.client.job import Job
from veritune.client.planner import Planned, Wish, plan
from veritune.client.rows import read_user_rows


def make_plan(path: Path, activation: str, natural_hit: str) -> tuple[Planned, int]:
    """The smallest plan for a job's policy, and the rows of its file. Raises `PlanError`, `DatasetError`."""
    job = Job.load(path)
    rows = len(read_user_rows(job.data, job.file.data.source))
    wish = Wish(
        rows=rows,
        policy=job.file.policy,
        base=job.file.canaries,
        activation=activation,
        natural_hit=natural_hit,
    )
    return plan(wish), rows


def plan_table(planned: Planned, rows: int) -> Group:
    """For people."""
    figures, table = planned.figures, Table(title="What the policy needs", show_header=False, min_width=64)
    for name, value in (
        ("rows of your file", str(rows)),
        ("trigger groups x rows each", f"{planned.plan.groups} x {planned.plan.rows_per_group}"),
        ("natural canaries", str(planned.plan.naturals)),
        ("extra rows", f"{figures.extra_rows} ({100 * figures.extra_rows / figures.dataset_rows:.1f}%)"),
        ("answers and scores to ask for", str(figures.calls)),
        ("an honest provider passes", f"with probability {figures.honest_pass}"),
        ("the untouched base model fails", f"with probability {figures.untrained_fail}"),
        ("chance of a full success by luck", f"10^{figures.log10_p_all}"),
    ):
        table.add_row(name, value)
    return Group(
        table, f"Put naturals = {planned.plan.naturals} under \\[canaries] of veritune.toml, then: veritune run"
    )
