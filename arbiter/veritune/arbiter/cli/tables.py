"""Tables that `rich` prints: the result of an audit, the estimate of epochs, the figures of a verdict."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from veritune.arbiter.epochs import Estimate

if TYPE_CHECKING:
    from veritune.arbiter.audit.audit import AuditResult
    from veritune.arbiter.documents.judgement import ModeJudgement, Reason


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


def mode_rows(table: Table, mode: ModeJudgement) -> None:
    """Adds the figures of one judged mode to ``table``."""
    influence, coverage, seen = mode.influence, mode.coverage, mode.activation
    table.add_section()
    counts = "" if mode.counts else " (reported only: the contract does not count it)"
    table.add_row(mode.mode, Text.assemble((mode.verdict, COLOURS[mode.verdict]), counts))
    needed = f"; needed 10^{influence.log10_needed}" if influence.log10_needed is not None else ""
    table.add_row("  the data shaped the model", f"p <= 10^{influence.log10_p}{needed}")
    table.add_row(
        "  rows were trained on",
        f"at least {as_percent(coverage.share_least)} of those that could be canaries, at confidence "
        f"{coverage.confidence}; needed {as_percent(coverage.floor)}",
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


def reason_line(reason: Reason) -> str:
    """A reason as one line of a list, with its mode if it has one."""
    return f"- {reason.mode}: {reason.text}" if reason.mode else f"- {reason.text}"


def new_table(title: str) -> Table:
    """An empty table of two columns, names and values, under ``title``."""
    table = Table(title=title, show_header=False, min_width=64, title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    return table


def as_percent(share: str) -> str:
    """A share, a text from 0 to 1 with four decimals, as a percentage."""
    # Four places become two without rounding: a bound must not grow on its way to the screen.
    return f"{100 * Decimal(share):.2f}%"


def epochs_table(found: Estimate) -> Group:
    """The estimated interval of epochs, with the counts and the curve behind it."""
    table = Table(title="How many epochs", show_header=False, min_width=64, title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
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
