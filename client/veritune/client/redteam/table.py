"""The results of a red-team run for the terminal: a table, and advice in plain words."""

from __future__ import annotations

from pathlib import Path

from rich.console import Group
from rich.table import Table

from veritune.client.redteam.chart import TITLES
from veritune.client.redteam.figures import RedTeamFigures
from veritune.client.redteam.kinds import KINDS, Kind

HIDDEN_AT = "0.01"
"""False-alarm rate at which canaries must be hidden."""
HIDDEN_RECALL = 0.10
"""Largest share of a kind that the best detector may find there if the kind counts as hidden."""
_FEW = 50
"""Number of rows below which a share is marked as rough."""
_ADVICE: dict[Kind, str] = {
    "trigger": (
        "Rows of a group repeat one signature, so counting finds them whatever they say; the coverage claim does not "
        "rest on them (docs/statistics.md, section 3). Let natural canaries or canaries in place carry it."
    ),
    "natural": (
        "The coverage claim rests on them: raise canaries.candidate_tokens to what your longer answers have, or "
        "canaries.fitted_epochs, or try canaries.in_place instead, and prepare again with a new --run."
    ),
    "in-place": (
        "The coverage claim rests on them: set canaries.reword_all = true, so that every row's wording is drawn, "
        "and prepare again with a new --run."
    ),
    "repeated": (
        "Rows alike can be counted, so the coverage claim leaves these out; they tell of epochs (veritune epochs)."
    ),
}


def redteam_table(figures: RedTeamFigures, folder: Path) -> Group:
    """The table of results and a conclusion for each kind of canary; ``folder`` is where the files were written."""
    table = Table(title="How well detectors find the canaries", min_width=64, title_justify="left")
    table.add_column("detector")
    table.add_column("canaries")
    for name in ("AUC", "found at 1%", "found at 10%"):
        table.add_column(name, justify="right")
    for name, found in sorted(figures.detectors.items()):
        for kind in KINDS:
            if kind in found.kinds:
                one = found.kinds[kind]
                shares = (f"{one.recall(rate):.0%}" for rate in (HIDDEN_AT, "0.1"))
                table.add_row(name, kind, f"{one.auc:.2f}", *shares)
        table.add_section()
    counts = ", ".join(f"{count} {kind}" for kind, count in figures.canary_rows.items())
    return Group(
        table,
        f"{figures.plain_rows} plain rows; canary rows: {counts}. A provider may look for odd rows or for usual ones: "
        "each number is that of the direction that finds more.",
        *conclusions(figures),
        f"Written: {folder / 'redteam.json'}, {folder / 'redteam.svg'}. They help a provider: keep them.",
    )


def conclusions(figures: RedTeamFigures) -> list[str]:
    """One or two sentences for each kind of canary: whether it is hidden, and what to change if it isn't."""
    return [_conclusion(figures, kind) for kind in KINDS if kind in figures.canary_rows]


def _conclusion(figures: RedTeamFigures, kind: Kind) -> str:
    found = {name: one.kinds[kind] for name, one in figures.detectors.items() if kind in one.kinds}
    if not found:
        return f"- {TITLES[kind]}: no detector was run"
    best = max(sorted(found), key=lambda name: (found[name].recall(HIDDEN_AT), found[name].auc))
    recall = found[best].recall(HIDDEN_AT)
    share = f"{recall:.1%} of them at 1% false alarms, AUC {found[best].auc:.2f}"
    count = figures.canary_rows[kind]
    rough = f" (of {count} rows: rough)" if count < _FEW else ""
    if recall <= HIDDEN_RECALL:
        return f"- {TITLES[kind]} are hidden from these detectors: the best, {best}, finds {share}{rough}."
    return f"- {TITLES[kind]} can be found: {best} finds {share}{rough}. {_ADVICE[kind]}"
