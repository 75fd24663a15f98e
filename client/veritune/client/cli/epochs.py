"""`veritune epochs`: the dose-response estimate from a report that passes its audit."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table

from veritune.arbiter.epochs import Estimate


def epochs_table(found: Estimate) -> Group:
    """For people."""
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
