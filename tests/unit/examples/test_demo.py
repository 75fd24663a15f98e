"""The demo's jobs can be read, and its clock says how long yet."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from veritune.client.job.file import parse_job
from veritune.common.documents.manifest import Policy

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def demo() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "examples" / "demo.py"), run_name="veritune_demo")


def test_every_job_has_rows_enough_and_the_small_one_asks_for_less(demo: dict[str, Any]) -> None:
    policies: list[Policy] = []
    for deal in demo["EXCHANGES"]:
        job = parse_job((ROOT / "examples" / "tickets" / deal.job).read_bytes(), deal.job)
        trained = deal.tickets - job.canaries.held_out
        assert job.canaries.in_place <= trained // 4
        assert job.challenge.task_rows <= job.canaries.held_out
        policies.append(job.policy)
    assert float(policies[0].alpha) > float(policies[1].alpha)
    assert float(policies[0].coverage_floor) < float(policies[1].coverage_floor)
    assert [deal.expected for deal in demo["EXCHANGES"]] == ["PASS", "PASS", "FAIL"]


def test_the_clock_forecasts_by_the_pace_so_far(demo: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    now, said = [1000.0], list[str]()
    monkeypatch.setattr("time.time", lambda: now[0])
    monkeypatch.setattr(type(demo["console"]), "print", lambda _, *parts, **__: said.append(" ".join(map(str, parts))))
    clock, exchanges = demo["Clock"](1000.0), demo["EXCHANGES"]
    now[0] += 90  # set-up, which is no exchange
    clock.announce(exchanges)
    now[0] += 2 * 60 * exchanges[0].minutes  # half as quick as expected
    clock.announce(exchanges[1:], exchanges[:1])
    forecast = [float(number) for number in re.findall(r"([0-9.]+) minutes", said[-1])]
    left = sum(deal.minutes for deal in exchanges[1:])
    assert forecast == [pytest.approx(2 * exchanges[1].minutes, abs=0.06), pytest.approx(2 * left, abs=0.06)]
    clock.tell(exchanges[0], "PASS")
    assert f"{1.5 + 2 * exchanges[0].minutes:.1f} minutes after the command began" in said[-1]
