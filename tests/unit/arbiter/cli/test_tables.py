"""`veritune epochs`: audited first, then estimated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.exchange import Exchange
from veritune.arbiter.epochs import CurvePoint, DoseCurve
from veritune.client.cli.app import run_cli

EXCHANGE = Exchange(naturals=24, repetitions=(1, 1, 2), leaves=32)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Arguments that give an estimate."""
    (tmp_path / "report.json").write_bytes(EXCHANGE.report.report.to_json())
    (tmp_path / "evidence.json").write_bytes(EXCHANGE.evidence.to_bytes())
    EXCHANGE.client.public.save(tmp_path / "client.pub")
    EXCHANGE.provider.public.save(tmp_path / "provider.pub")
    save(tmp_path / "curve.json")
    names = ("report.json", "evidence.json", "curve.json", "--client-key", "client.pub", "--provider-key")
    return [
        "epochs",
        *(name if name.startswith("--") else str(tmp_path / name) for name in names),
        str(tmp_path / "provider.pub"),
    ]


def save(path: Path, candidates: int = 16, **changes: object) -> None:
    points = tuple(CurvePoint(exposures=x, probability=p) for x, p in ((0, "0.0625"), (2, "0.5"), (4, "0.99")))
    curve = DoseCurve.model_validate(
        {
            "canaries": "answers",
            "candidates": candidates,
            "hit_rank": 1,
            "base_weight": "0.25",
            "measured_on": "a toy",
            "points": points,
            **changes,
        }
    )
    path.write_text(curve.model_dump_json(), encoding="utf-8")


def test_counts_and_interval(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli([*files, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(dose["copies"], dose["asked"]) for dose in found["doses"]] == [(1, 16), (2, 8)]
    assert found["declared"] == EXCHANGE.manifest.training.epochs
    assert found["least"] > 2
    assert found["most"] is None
    assert run_cli([*files, "--confidence", "0.5"]) == 0
    shown = capsys.readouterr().out
    assert "canaries of 2 rows" in shown
    assert "no verdict uses it" in shown


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--mode", "served"], "no answers of the mode"),
        (["--confidence", "1"], "between 0 and 1"),
        (["--confidence", "much"], "not a decimal"),
    ],
)
def test_odd_questions(files: list[str], capsys: pytest.CaptureFixture[str], more: list[str], says: str) -> None:
    assert run_cli([*files, *more]) not in (0, 1, 2)
    assert says in capsys.readouterr().err


def test_a_curve_for_other_canaries_says_nothing(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for changes in ({"candidates": 12}, {"canaries": "wordings"}):
        save(tmp_path / "curve.json", **changes)
        assert run_cli(files) not in (0, 1, 2)
        assert "opens no canary of" in capsys.readouterr().err


def test_what_fails_its_audit_is_not_estimated(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evidence = (tmp_path / "evidence.json").read_bytes()
    (tmp_path / "evidence.json").write_bytes(evidence.replace(b'"session":1', b'"session":2'))
    assert run_cli(files) not in (0, 1, 2)
    assert "AUDIT_FAILED" in capsys.readouterr().err
