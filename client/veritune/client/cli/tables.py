"""The tables that commands print after `prepare`, `train` and `report`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from veritune.arbiter.cli.tables import COLOURS, as_percent, mode_rows, new_table, reason_line

if TYPE_CHECKING:
    from veritune.arbiter.documents.statement import ReportPredicate
    from veritune.client.job.file import Job
    from veritune.client.sowing.prepared import PreparedFigures
    from veritune.client.workspace.folder import Workspace
    from veritune.common.documents.receipts import TrainingReceipt

_NEXT = {
    "PASS": "Settle the contract; give the report, its evidence and both public keys to whoever wants to check it.",
    "FAIL": "Send the report and its evidence to the arbiter of your contract; keep the run's folder.",
    "INCONCLUSIVE": "Nothing is proven either way: see the reasons above; a missing mode can still be asked.",
}


def prepared_table(figures: PreparedFigures, space: Workspace) -> Group:
    """The table of a prepared training set, and what to do next."""
    table = new_table("Prepared")
    table.add_row("rows to train on", str(figures.rows))
    table.add_row("of them canary rows", str(figures.canary_rows))
    table.add_row("extra rows", f"{figures.extra_rows} ({100 * figures.extra_rows / figures.rows:.1f}%)")
    if figures.extra_tokens_percent is not None:
        table.add_row("extra tokens", f"{figures.extra_tokens_percent}%")
    table.add_row("rows held out", str(figures.held_out_rows))
    table.add_row("leaves of the commitment", str(figures.leaves))
    table.add_row("training set", str(space.train))
    table.add_row("sealed secrets", str(space.secrets))
    return Group(table, "Next: veritune train (or veritune run for all that is left)")


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
        mode_rows(table, mode)
    table.add_section()
    if predicate.overhead is not None:
        extra, percent = predicate.overhead.extra_rows, predicate.overhead.extra_tokens_percent
        table.add_row("cost of the canaries", f"{extra} extra rows" + (f", {percent}% extra tokens" if percent else ""))
    if predicate.task is not None:
        task = predicate.task
        table.add_row(
            "task, before and after", f"{as_percent(task.before)} and {as_percent(task.after)} of {task.rows} rows"
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
