"""The tables that commands print after `prepare`, `train` and `report`."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from veritune.arbiter.cli.tables import COLOURS, new_table, reason_line

if TYPE_CHECKING:
    from veritune.arbiter.documents.judgement import ModeJudgement
    from veritune.arbiter.documents.statement import ReportPredicate
    from veritune.client.job.file import Job
    from veritune.client.sowing.prepared import PreparedFigures
    from veritune.client.workspace.folder import Workspace
    from veritune.common.documents.receipts import TrainingReceipt

USUAL_CANARY_SHARE = Decimal("0.35")
"""The largest share of canary rows that a provider signs by default (its setting ``max_canary_share``)."""

_NEXT = {
    "PASS": "Settle the contract; give the report, its evidence and both public keys to whoever wants to check it.",
    "FAIL": "Send the report and its evidence to the arbiter of your contract; keep the run's folder.",
    "INCONCLUSIVE": "Nothing is proven either way: see the reasons above; a missing mode can still be asked.",
}


def prepared_table(figures: PreparedFigures, space: Workspace) -> Group:
    """The table of a prepared training set, and what to do next."""
    table = new_table("Prepared")
    table.add_row("rows to train on", str(figures.rows))
    share = 100 * figures.canary_rows / figures.rows
    table.add_row("of them canary rows", f"{figures.canary_rows} ({share:.1f}%)")
    table.add_row("extra rows", f"{figures.extra_rows} ({100 * figures.extra_rows / figures.rows:.1f}%)")
    if figures.extra_tokens_percent is not None:
        table.add_row("extra tokens", f"{figures.extra_tokens_percent}%")
    table.add_row("rows held out", str(figures.held_out_rows))
    table.add_row("leaves of the commitment", str(figures.leaves))
    table.add_row("training set", str(space.train))
    table.add_row("sealed secrets", str(space.secrets))
    warning = share_warning(figures.canary_rows, figures.rows)
    return Group(table, *warning, "Next: veritune train (or veritune run for all that is left)")


def share_warning(canary_rows: int, rows: int) -> list[str]:
    """A warning where more of the rows carry canaries than providers sign by default, else nothing."""
    if canary_rows <= int(USUAL_CANARY_SHARE * rows):
        return []
    most = f"{100 * USUAL_CANARY_SHARE:.0f}%"
    return [
        f"Careful: {canary_rows} of {rows} rows carry canaries, and a provider signs at most {most} unless it is set "
        "otherwise. To have fewer, lower in_place, naturals or groups under [canaries], or bring more rows."
    ]


def trained_table(receipt: TrainingReceipt, space: Workspace) -> Group:
    """The table of a training receipt, and what to do next."""
    table = new_table("Trained")
    table.add_row("job", receipt.job_id)
    table.add_row("steps", str(receipt.steps))
    table.add_row("tokens seen", str(receipt.tokens))
    table.add_row("rows trained, dropped, cut", f"{receipt.rows_trained}, {receipt.rows_dropped}, {receipt.rows_cut}")
    table.add_row("from, to", f"{receipt.started}, {receipt.finished}")
    table.add_row("adapter", str(space.adapter))
    return Group(table, "Next: veritune challenge, then veritune report")


def report_table(predicate: ReportPredicate, files: dict[str, str], job: Job) -> Group:
    """The table of a report (verdict, claims in each mode, cost, task score, files), the reasons, and what to do next.

    ``files`` has paths by name; it must have ``report`` and ``evidence``.
    """
    table = new_table("Verification report")
    table.add_row("verdict", Text(predicate.verdict, style=COLOURS[predicate.verdict]))
    for mode in predicate.judgement.modes:
        _mode_rows(table, mode)
    table.add_section()
    if predicate.overhead is not None:
        extra, percent = predicate.overhead.extra_rows, predicate.overhead.extra_tokens_percent
        table.add_row("cost of the canaries", f"{extra} extra rows" + (f", {percent}% extra tokens" if percent else ""))
    if predicate.task is not None:
        task = predicate.task
        table.add_row(
            "task, before and after", f"{_percent(task.before)} and {_percent(task.after)} of {task.rows} rows"
        )
    table.add_section()
    for name, path in files.items():
        table.add_row(name, path)
    reasons = [reason_line(reason) for reason in predicate.judgement.reasons]
    audit = f"veritune audit {files['report']} {files['evidence']} --client-key {job.client_key.with_suffix('.pub')}"
    return Group(
        table,
        "Why:",
        *reasons,
        f"Next: {_NEXT[predicate.verdict]}",
        "Anybody can check it:",
        # The command stays on one line, whatever the terminal's width, so that it can be copied.
        Text(f"{audit} --provider-key {job.provider_key}", no_wrap=True, overflow="ignore"),
    )


def _mode_rows(table: Table, mode: ModeJudgement) -> None:
    """Adds the figures of one judged mode to ``table``."""
    influence, coverage, seen = mode.influence, mode.coverage, mode.activation
    table.add_section()
    counts = "" if mode.counts else " (reported only: the contract does not count it)"
    table.add_row(mode.mode, Text.assemble((mode.verdict, COLOURS[mode.verdict]), counts))
    needed = f"; needed 10^{influence.log10_needed}" if influence.log10_needed is not None else ""
    table.add_row("  the data shaped the model", f"p <= 10^{influence.log10_p}{needed}")
    table.add_row(
        "  rows were trained on",
        f"at least {_percent(coverage.share_least)} of those that could be canaries, at confidence "
        f"{coverage.confidence}; needed {_percent(coverage.floor)}",
    )
    table.add_row("  signatures found", f"{influence.groups_found} of {influence.groups} groups")
    table.add_row(
        "  by prompts",
        f"held-out {seen.held_out_shown}/{seen.held_out_asked}, in the data {seen.in_data_shown}/{seen.in_data_asked}, "
        f"decoys {seen.decoys_shown}/{seen.decoys_asked}",
    )
    if mode.agreement is not None:
        agreement = mode.agreement
        table.add_row("  answers as the adapter does", f"{agreement.equal} of {agreement.asked} decoys")
    hits, asked = sum(dose.hits for dose in mode.doses), sum(dose.asked for dose in mode.doses)
    table.add_row("  natural canaries", f"{hits} of {asked} within rank {coverage.hit_rank}")
    if mode.recital is not None:
        recital = mode.recital
        row = f"{recital.recited} of {recital.asked} within {recital.nats} nats; an honest run shows {recital.floor}"
        table.add_row("  known by heart", row)
    if mode.extent.leaves < mode.extent.available:
        table.add_row("  leaves asked", f"{mode.extent.leaves} of {mode.extent.available}; the rest was not needed")
    if mode.missing:
        table.add_row("  missing answers", str(mode.missing))


def _percent(share: str) -> str:
    """A share, a text from 0 to 1 with four decimals, as a percentage."""
    # Four places become two without rounding: a bound must not grow on its way to the screen.
    return f"{100 * Decimal(share):.2f}%"
