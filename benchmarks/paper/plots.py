"""Two plots from the calibration runs: what is learnt by epoch, and the dose-response of natural canaries."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.paper.sets import ROOT

FOLDER = ROOT / "benchmarks" / "results"
mpl.rcParams["svg.hashsalt"] = "veritune"  # the same picture gives the same file


def draw(runs: list[dict[str, Any]]) -> None:
    """Writes ``activation.svg`` and ``dose.svg``."""
    honest = [run for run in runs if run["provider"] == "honest"]
    _activation(honest)
    _dose(honest)


def _activation(honest: list[dict[str, Any]]) -> None:
    """Share of held-out prompts that activate, by epoch; one panel a data set, one line a number of rows."""
    names = sorted({run["data"] for run in honest})
    figure = Figure(figsize=(4 * len(names), 3.2), layout="constrained")
    for place, name in enumerate(names, start=1):
        axes = figure.add_subplot(1, len(names), place)
        counts: dict[int, dict[int, list[bool]]] = defaultdict(lambda: defaultdict(list))
        for run in honest:
            if run["data"] == name:
                for look in run["looks"]:
                    for group in look["groups"]:
                        counts[group["rows"]][look["epoch"]] += group["held_out"]
        for rows, line in sorted(counts.items()):
            epochs = sorted(line)
            axes.plot(epochs, [sum(line[e]) / len(line[e]) for e in epochs], marker="o", label=f"{rows} rows")
        axes.set(title=name, xlabel="epoch", ylabel="activation on held-out prompts", ylim=(-0.05, 1.05))
        axes.set_xticks(sorted({look["epoch"] for run in honest if run["data"] == name for look in run["looks"]}))
        axes.legend(fontsize=7)
    figure.savefig(FOLDER / "activation.svg", metadata={"Date": None})


def _dose(honest: list[dict[str, Any]]) -> None:
    """Share of natural canaries whose true answer came first, by exposures: rows times epochs."""
    figure = Figure(figsize=(5, 3.4), layout="constrained")
    axes = figure.add_subplot()
    for name in sorted({run["data"] for run in honest}):
        for place in ("added", "in place"):
            counts: dict[int, list[bool]] = defaultdict(list)
            for run in honest:
                for look in run["looks"] if run["data"] == name else ():
                    for natural in look["naturals"]:
                        added = natural["candidates"] == run["plan"]["candidates"]
                        if added == (place == "added"):
                            counts[natural["copies"] * look["epoch"]].append(natural["rank"] == 1)
            if counts:
                doses = sorted(counts)
                axes.plot(doses, [sum(counts[d]) / len(counts[d]) for d in doses], marker="o", label=f"{name}, {place}")
    axes.set(xlabel="exposures (rows x epochs)", ylabel="true answer first", xscale="log", ylim=(-0.05, 1.05))
    axes.legend(fontsize=7)
    figure.savefig(FOLDER / "dose.svg", metadata={"Date": None})
