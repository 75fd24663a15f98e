"""Plots from the calibration runs: activation, dose and response, p-values, coverage, the score of the task."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.paper.sets import ROOT
from benchmarks.paper.tables import bound_of, is_in_place

USUAL_MODEL = "SmolLM2-135M-Instruct"
FOLDER = ROOT / "benchmarks" / "results"
mpl.rcParams["svg.hashsalt"] = "veritune"  # the same picture gives the same file


def save(figure: Figure, target: Path) -> None:
    """As SVG, without a date: the same picture gives the same file."""
    figure.savefig(target, metadata={"Date": None})


def draw(runs: list[dict[str, Any]]) -> None:
    """Writes an SVG of each."""
    honest = [run for run in runs if run["provider"] == "honest"]
    _activation(honest)
    _dose(honest)
    _by_run("p-values", honest, "log10 p of influence", -40, _influence)
    # The plan "dose" has too few canaries of one row to show much.
    _by_run(
        "coverage-bounds",
        [run for run in runs if run.get("sown_as", "dose") != "dose"],
        "rows trained on, at least (99 %)",
        0.8,
        lambda run: bound_of(run, run["looks"][-1])[2],
    )
    _by_run("task-score", runs, "exact match after training", None, lambda run: float(run["task"]["after"]))


def set_of(run: dict[str, Any]) -> str:
    """What runs are drawn together: the data, and the model where it is not the usual one."""
    return str(run["data"]) if run["model"] == USUAL_MODEL else f"{run['data']}, {run['model']}"


def _influence(run: dict[str, Any]) -> float:
    return float(run["looks"][-1]["log10_p"]["influence"])


def _by_run(
    name: str, runs: list[dict[str, Any]], label: str, bar: float | None, value: Callable[[dict[str, Any]], float]
) -> None:
    """A point a run, in columns by data and by kind of provider; ``bar`` is where it should be, or beyond."""
    columns = sorted({(set_of(run), run["provider"]) for run in runs})
    figure = Figure(figsize=(1.5 + 1.1 * len(columns), 3.4), layout="constrained")
    axes = figure.add_subplot()
    for place, column in enumerate(columns):
        found = [value(run) for run in runs if (set_of(run), run["provider"]) == column]
        axes.plot([place] * len(found), found, "o", alpha=0.6)
    axes.set_xticks(range(len(columns)), [f"{data}\n{provider}" for data, provider in columns], fontsize=6)
    if bar is not None:
        axes.axhline(bar, linestyle="--", color="grey", linewidth=1)
    axes.set(ylabel=label)
    save(figure, FOLDER / f"{name}.svg")


def _activation(honest: list[dict[str, Any]]) -> None:
    """Share of held-out prompts that activate, by epoch; one panel a data set, one line a number of rows."""
    names = sorted({set_of(run) for run in honest})
    figure = Figure(figsize=(4 * len(names), 3.2), layout="constrained")
    for place, name in enumerate(names, start=1):
        axes = figure.add_subplot(1, len(names), place)
        counts: dict[int, dict[int, list[bool]]] = defaultdict(lambda: defaultdict(list))
        for run in honest:
            if set_of(run) == name:
                for look in run["looks"]:
                    for group in look["groups"]:
                        counts[group["rows"]][look["epoch"]] += group["held_out"]
        for rows, line in sorted(counts.items()):
            epochs = sorted(line)
            axes.plot(epochs, [sum(line[e]) / len(line[e]) for e in epochs], marker="o", label=f"{rows} rows")
        axes.set(title=name, xlabel="epoch", ylabel="activation on held-out prompts", ylim=(-0.05, 1.05))
        axes.set_xticks(sorted({look["epoch"] for run in honest if set_of(run) == name for look in run["looks"]}))
        axes.legend(fontsize=7)
    save(figure, FOLDER / "activation.svg")


def _dose(honest: list[dict[str, Any]]) -> None:
    """Share of natural canaries whose true answer came first, by exposures: rows times epochs."""
    figure = Figure(figsize=(5, 3.4), layout="constrained")
    axes = figure.add_subplot()
    for name in sorted({set_of(run) for run in honest}):
        for place in ("added", "in place"):
            counts: dict[int, list[bool]] = defaultdict(list)
            for run in honest:
                for look in run["looks"] if set_of(run) == name else ():
                    for natural in look["naturals"]:
                        if is_in_place(run, natural) == (place == "in place"):
                            counts[natural["copies"] * look["epoch"]].append(natural["rank"] == 1)
            if counts:
                doses = sorted(counts)
                axes.plot(doses, [sum(counts[d]) / len(counts[d]) for d in doses], marker="o", label=f"{name}, {place}")
    axes.set(xlabel="exposures (rows x epochs)", ylabel="true answer first", xscale="log", ylim=(-0.05, 1.05))
    axes.legend(fontsize=7)
    save(figure, FOLDER / "dose.svg")
