"""Tables that `rich` prints: the result of an audit, the estimate of epochs, the figures of a verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from veritune.arbiter.epochs import Estimate

if TYPE_CHECKING:
    from veritune.arbiter.audit.audit import AuditResult
    from veritune.arbiter.documents.judgement import Reason


COLOURS = {"PASS": "bold green", "FAIL": "bold red", "INCONCLUSIVE": "bold yellow"}


def audit_table(result: AuditResult) -> Group:
    """The checks, verdict and reasons of an audit that passed, and what it could not verify."""
    table = new_table("Audit passed")
    for check in result.checks:
        number, _, text = check.partition(" ")
        table.add_row(number, text)
    verdict = Text.assemble(
        "The report is genuine and its verdict follows: ", (result.verdict, COLOURS[result.verdict])
    )
    return Group(
        table,
        verdict,
        *(reason_line(reason) for reason in result.judgement.reasons),
        "What no audit can see:",
        *(f"- {text}" for text in result.trust),
    )


def reason_line(reason: Reason) -> str:
    """A reason as one line of a list, with its mode if it has one."""
    return f"- {reason.mode}: {reason.text}" if reason.mode else f"- {reason.text}"


def new_table(title: str) -> Table:
    """An empty table of two columns, names and values, under ``title``."""
    table = Table(title=title, show_header=False, min_width=64, title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    return table


def epochs_table(found: Estimate) -> Group:
    """The estimated interval of epochs, with the counts and the curve behind it."""
    table = new_table("How many epochs")
    epochs = found.epochs
    most = "no upper end found" if epochs.most is None else f"at most {float(epochs.most):g}"
    table.add_row("the contract asks for", f"{found.declared}")
    if epochs.fits:
        table.add_row(f"with confidence {found.confidence}", f"at least {float(epochs.least):g}, {most}")
        table.add_row("likeliest", "none fits" if epochs.likeliest is None else f"{float(epochs.likeliest):g}")
    else:
        table.add_row("the curve does not fit", "no number of epochs gives so many, or so few: it is another recipe's")
    for dose in found.doses:
        rows = "row" if dose.copies == 1 else "rows"
        table.add_row(f"canaries of {dose.copies} {rows}", f"{dose.hits} of {dose.asked} found ({found.mode})")
    table.add_row("curve measured on", found.measured_on)
    return Group(table, "This rests on the curve, which is no part of the contract; no verdict uses it.")
