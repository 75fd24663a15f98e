"""Long work in a log: lines where a terminal would show bars."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from veritune.client.cli.progress import ProgressBars, span, times
from veritune.client.exchange.provider_client import JobView


class Clock:
    """Seconds that pass when told to, in place of the monotonic clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("veritune.client.cli.progress.time.monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def lines_of(*steps: tuple[str, int, int], disable: bool = False) -> list[str]:
    text = io.StringIO()
    bars = ProgressBars(Console(file=text, width=40), disable=disable)
    with bars.progress:
        for step in steps:
            bars(*step)
    return text.getvalue().splitlines()


def test_a_line_as_each_work_begins_and_ends(clock: Clock) -> None:
    steps = [("candidates", done, 5) for done in range(6)]
    told = lines_of(*steps, ("upload", 0, 4096), ("upload", 4000, 4096), ("upload", 4096, 4096))
    assert told == ["candidates: 0 of 5", "candidates: 5 of 5", "upload: 0 of 4 KiB", "upload: 4 of 4 KiB"]


def told_at(clock: Clock, *steps: tuple[float, int, int], what: str = "candidates") -> list[str]:
    """The lines about steps at these seconds."""
    text = io.StringIO()
    bars = ProgressBars(Console(file=text, width=40), disable=False)
    for seconds, done, total in steps:
        clock.now = 1000.0 + seconds
        bars(what, done, total)
    return text.getvalue().splitlines()


def test_a_line_now_and_then_between_says_how_long_how_fast_and_for_how_long_yet(clock: Clock) -> None:
    steps = [(0, 0, 100), (20, 4, 100), (40, 10, 100), (60, 15, 100), (80, 20, 100), (400, 100, 100)]
    assert told_at(clock, *steps) == [
        "candidates: 0 of 100",
        "candidates: 10 of 100; 40 s so far, 15.0/min, about 6 min 00 s left",
        "candidates: 20 of 100; 1 min 20 s so far, 15.0/min, about 5 min 20 s left",
        "candidates: 100 of 100; took 6 min 40 s, 15.0/min",
    ]


def test_work_that_goes_on_has_the_rate_of_what_was_done_now(clock: Clock) -> None:
    assert told_at(clock, (0, 90, 100), (50, 95, 100)) == [
        "candidates: 90 of 100",
        "candidates: 95 of 100; 50 s so far, 6.0/min, about 50 s left",
    ]
    assert told_at(clock, (0, 0, 2**20), (4, 2**20, 2**20), what="upload")[1] == (
        "upload: 1024 of 1024 KiB; took 4 s, 256.0/s"
    )


def test_the_same_work_again_is_timed_again(clock: Clock) -> None:
    assert told_at(clock, (0, 0, 4), (10, 4, 4), (100, 0, 4), (110, 4, 4))[2:] == [
        "candidates: 0 of 4",
        "candidates: 4 of 4; took 10 s, 24.0/min",
    ]


def test_what_is_not_known_is_left_out(clock: Clock) -> None:
    assert told_at(clock, (0, 0, 0), (60, 0, 0), (120, 7, 0), what="train") == [
        "train: 0 of ?",
        "train: 0 of ?; 1 min 00 s so far",
        "train: 7 of ?; 2 min 00 s so far, 3.5/min",
    ]


def test_spans_and_times() -> None:
    assert [span(x) for x in (0.2, 59.4, 59.6, 3599, 3600, 90_000)] == [
        "0 s",
        "59 s",
        "1 min 00 s",
        "59 min 59 s",
        "1 h 00 min",
        "25 h 00 min",
    ]
    assert times(5, None, None, ended=False) == "5 s so far"
    assert times(5, 2.0, 0.0, ended=True) == "took 5 s, 2.0/s"


def test_training_says_its_loss(clock: Clock) -> None:
    text = io.StringIO()
    bars = ProgressBars(Console(file=text, width=40), disable=False)
    bars.training(JobView("queued", 0, 0, 0.0, 0.0, 0))
    clock.now += 60
    bars.training(JobView("training", 30, 30, 1.5, 0.25, 900))
    assert text.getvalue().splitlines() == [
        "train: 0 of ? queued",
        "train: 30 of 30 epoch 1.50, loss 0.250; took 1 min 00 s, 30.0/min",
    ]


def test_quiet_is_quiet() -> None:
    assert lines_of(("candidates", 0, 5), disable=True) == []


def test_a_terminal_gets_bars_with_the_same_times() -> None:
    text, now = io.StringIO(), [0.0]
    console = Console(file=text, force_terminal=True, width=140, get_time=lambda: now[0])
    bars = ProgressBars(console, disable=False)
    bars.progress.get_time = lambda: now[0]
    with bars.progress:
        bars("candidates", 0, 100)
        for step in range(1, 4):
            # Slower than the half minute that rich looks back by default.
            now[0] += 100
            bars("candidates", 10 * step, 100)
        bars.progress.refresh()
        assert "30/100" in text.getvalue()
        assert "5 min 00 s so far, 6.0/min, about 11 min 40 s left" in text.getvalue()
        now[0] += 700
        bars("candidates", 100, 100)
    assert "100/100" in text.getvalue()
    assert "took 16 min 40 s" in text.getvalue()
    assert "30 of 100" not in text.getvalue()
