"""Long work in a log: lines where a terminal would show bars."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from veritune.client.cli.progress import ProgressBars
from veritune.client.exchange.provider_client import JobView


def lines_of(*steps: tuple[str, int, int], disable: bool = False) -> list[str]:
    text = io.StringIO()
    bars = ProgressBars(Console(file=text, width=40), disable=disable)
    with bars.progress:
        for step in steps:
            bars(*step)
    return text.getvalue().splitlines()


def test_a_line_as_each_work_begins_and_ends() -> None:
    steps = [("candidates", done, 5) for done in range(6)]
    told = lines_of(*steps, ("upload", 0, 4096), ("upload", 4000, 4096), ("upload", 4096, 4096))
    assert told == ["candidates: 0 of 5", "candidates: 5 of 5", "upload: 0 of 4 KiB", "upload: 4 of 4 KiB"]


def test_a_line_now_and_then_between(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 20))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    told = lines_of(*(("candidates", done, 100) for done in range(1, 6)))
    assert told[0] == "candidates: 1 of 100"
    assert 1 < len(told) < 5


def test_training_says_its_loss() -> None:
    text = io.StringIO()
    bars = ProgressBars(Console(file=text, width=40), disable=False)
    bars.training(JobView("queued", 0, 0, 0.0, 0.0, 0))
    bars.training(JobView("training", 30, 30, 1.5, 0.25, 900))
    assert text.getvalue().splitlines() == ["train: 0 of ? queued", "train: 30 of 30 epoch 1.50, loss 0.250"]


def test_quiet_is_quiet() -> None:
    assert lines_of(("candidates", 0, 5), disable=True) == []


def test_a_terminal_gets_bars() -> None:
    text = io.StringIO()
    bars = ProgressBars(Console(file=text, force_terminal=True, width=100), disable=False)
    with bars.progress:
        bars("candidates", 5, 5)
    assert "5/5" in text.getvalue()
    assert "5 of 5" not in text.getvalue()
