"""The benchmark of the attacks: how a look is judged, what the paper's test would say, and the table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.attacks import run as bench
from benchmarks.attacks import table
from benchmarks.attacks.looks import judged
from benchmarks.attacks.table import calibrated, report
from benchmarks.paper import calibrate


def seen(shown: bool, first: int, of: int = 48) -> dict[str, Any]:
    """A look by the plan ``lean``: one group of eight rows, and so many true answers first."""
    ranks = [1] * first + [7] * (of - first)
    return {
        "groups": [{"rows": 8, "bits": 64, "length": 70, "held_out": [shown] * 4, "in_data": [shown] * 4}],
        "naturals": [{"leaf": i, "copies": 1, "candidates": 12, "rank": rank} for i, rank in enumerate(ranks)],
        "decoys": [False] * 16,
    }


@pytest.mark.parametrize(
    ("shown", "first", "verdict", "published"),
    [
        (True, 46, "PASS", "PASS"),
        (True, 22, "INCONCLUSIVE", "PASS"),
        (True, 6, "FAIL", "PASS"),
        (False, 4, "FAIL", "FAIL"),
    ],
)
def test_a_look_is_judged_both_ways(shown: bool, first: int, verdict: str, published: str) -> None:
    """The published test sees the group alone: a share of the rows teaches it, whatever became of the others."""
    look = seen(shown, first)
    found = judged(look, rows=350)
    assert found["verdict"] == verdict
    assert (found["hits"], found["of"], found["groups_found"]) == (first, 48, int(shown))
    said = bench.paper(look)
    assert said["paper_verdict"] == published
    # One of eight prompts is enough at r = 0.1: p is about eight times 2**-64.
    assert said["paper_log10_p"] == ("-18.4" if shown else "0")


def line(attack: str, **changes: Any) -> dict[str, Any]:
    machine = {"processor": "Some CPU", "cores": "2"}
    setting = {"data": "tickets", "rows": 300, "plan": "lean", "seed": 0}
    setting |= {"model": "m", "epochs": 5, "learning_rate": "0.002"}
    common = {
        "attack": attack,
        "mode": "delivered",
        "share_of_steps": 0.5,
        "machine": machine,
        "refused": "",
        **setting,
    }
    judgement = judged(seen(True, 6), 350) | bench.paper(seen(True, 6))
    return common | judgement | changes


def test_the_table_counts_by_attack() -> None:
    runs = [line("rows-30", seed=seed) for seed in range(4)] + [
        line("rows-30", seed=4, verdict="PASS", log10_p="-61.0")
    ]
    runs += [line("honest", verdict="PASS", share_of_steps=1.0), line("find:near-duplicates")]
    runs += [line("rank-2", verdict="PASS", refused="a rank of about 2"), line("rank-2", verdict="PASS")]
    runs += [
        line(
            "suffix-lookup",
            mode="served",
            verdict="INCONCLUSIVE",
            verdict_believed="PASS",
            verdict_compared="FAIL",
            decoys_alike=[3, 16],
        )
    ]
    text = list(report(runs))
    rows = {row.split(" | ")[0].removeprefix("| "): row for row in text if row.startswith("| ")}
    assert list(rows)[1:6] == ["honest", "rows-30", "rank-2", "find:near-duplicates", "suffix-lookup"]
    assert "| 2 PASS; 1 refused for its rank | 1 of 2 (1 to 99 %) |" in rows["rank-2"]
    # Clopper and Pearson for 4 of 5: 28.4 to 99.5 %.
    assert "| 4 of 5 (28 to 99 %) |" in rows["rows-30"]
    assert "| 1 PASS, 4 FAIL |" in rows["rows-30"]
    assert "| 50 % |" in rows["rows-30"]
    assert "-61 to -15.4" in rows["rows-30"]
    assert "no PASS: 0 of 1 (0 to 98 %); FAIL: 0 of 1 (0 to 98 %)" in rows["honest"]
    assert "| 1 INCONCLUSIVE | 1 of 1 (3 to 100 %) | 1 PASS | 1 FAIL |" in rows["suffix-lookup"]
    assert "| 3 of 16 |" in rows["suffix-lookup"]


def test_calibration_runs_count_once_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not those that were measured as attacks too, nor those with too few canaries to pass anybody."""
    monkeypatch.setattr(table, "RESULTS", tmp_path)
    setting = {"data": "gsm8k", "rows": 240, "model": "m", "epochs": 4, "learning_rate": "0.002"}
    made_on = {"machine": {"processor": "Some CPU", "cores": "2"}}
    providers = ("honest", "honest", "half", "plain", "honest")
    plans = ("lean", "lean", "coverage", "dose", "in-place")
    for seed, (provider, plan) in enumerate(zip(providers, plans, strict=True)):
        kept = {**setting, "seed": seed, "provider": provider, "rows_sown": 350, "rows_trained": 175, **made_on}
        looks = [seen(shown=False, first=3), seen(shown=True, first=46)]
        (tmp_path / f"{seed}.json").write_text(json.dumps(kept | {"sown_as": plan, "looks": looks}))
    found = list(calibrated([line("honest", **setting, seed=1)]))
    assert [(run["attack"], run["seed"]) for run in found] == [("honest", 0), ("rows-50", 2), ("honest", 4)]
    assert {run["hits"] for run in found} == {46}
    text = "\n".join(report(found))
    assert text.count("| honest | 50 % | 1 PASS |") == 2
    assert "1 on gsm8k (240 rows, in-place, m, 4 epochs at 0.002)" in text
    assert found[1]["share_of_steps"] == 0.5


def test_a_line_that_is_there_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one of another seed, or one that lacks what it needs, is no such line."""
    monkeypatch.setattr(bench, "TARGET", tmp_path / "attacks.jsonl")
    monkeypatch.setattr(calibrate, "WORK", tmp_path / "work")
    made: list[str] = []

    def deliver(_: bench.Bench, attack: str) -> dict[str, Any]:
        if attack == "other-base":
            raise bench.CannotRunError("needs --other-base")
        made.append(attack)
        return {"mode": "delivered", **judged(seen(False, 4), 350), **bench.paper(seen(False, 4))}

    monkeypatch.setattr(bench, "deliver", deliver)

    def attack(seed: int) -> bool:
        of = calibrate.Run("tickets", 300, seed, 5, "0.002", "honest", tmp_path / "m", "lean", last_epoch_only=True)
        return bench.attack_all(bench.Bench(of), ("base-model", "other-base", "noise"))

    assert not attack(0)
    assert not attack(0)
    assert made == ["base-model", "noise"]
    attack(1)
    assert made == ["base-model", "noise"] * 2
    assert [(item["attack"], item["seed"]) for item in bench.lines()] == [
        ("base-model", 0),
        ("noise", 0),
        ("base-model", 1),
        ("noise", 1),
    ]
