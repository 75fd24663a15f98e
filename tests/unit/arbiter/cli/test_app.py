from __future__ import annotations

import json
import sys
from importlib import metadata
from pathlib import Path

import pytest

from tests.support.exchange import UNTRAINED, Exchange, small
from veritune.arbiter.cli import app
from veritune.arbiter.cli.app import run_cli
from veritune.client.cli.app import run_cli as run_client
from veritune.common.documents.manifest import Policy
from veritune.common.exits import EXIT_CODES

PASSING = small()
FAILING = small(
    modes=("delivered",),
    policy=Policy(coverage_floor="0", beta="0.5", natural_floor="0.9", trigger_floor="0.9"),
    behaviour=UNTRAINED,
)


def handed_in(folder: Path, exchange: Exchange) -> list[str]:
    """The arguments of an audit of what a client hands in."""
    (folder / "report.json").write_bytes(exchange.report.report.to_json())
    (folder / "evidence.json").write_bytes(exchange.evidence_bytes)
    (folder / "train.jsonl").write_bytes(b"".join(row.to_bytes() + b"\n" for row in exchange.rows))
    exchange.client.public.save(folder / "client.pub")
    exchange.provider.public.save(folder / "provider.pub")
    files = [str(folder / "report.json"), str(folder / "evidence.json")]
    keys = ["--client-key", str(folder / "client.pub"), "--provider-key", str(folder / "provider.pub")]
    return ["audit", *files, *keys]


@pytest.mark.parametrize(("exchange", "verdict", "code"), [(PASSING, "PASS", 0), (FAILING, "FAIL", 1)])
def test_the_exit_code_is_the_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], exchange: Exchange, verdict: str, code: int
) -> None:
    arguments = handed_in(tmp_path, exchange)
    assert run_cli(arguments) == code
    shown = capsys.readouterr().out
    assert f"its verdict follows: {verdict}" in " ".join(shown.split())
    assert "(16)" in shown
    assert "What no audit can see:" in shown
    assert run_cli([*arguments, "--json"]) == code
    found = json.loads(capsys.readouterr().out)
    assert (found["verdict"], len(found["checks"])) == (verdict, 16)
    assert found["judgement"]["verdict"] == verdict


def test_the_clients_audit_is_the_same_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = handed_in(tmp_path, PASSING)
    said = []
    for run in (run_cli, run_client):
        assert run(arguments) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]


def test_the_data_set_is_looked_at_where_it_is_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*handed_in(tmp_path, PASSING), "--data", str(tmp_path / "train.jsonl")]
    assert run_cli(arguments) == 0
    assert "(17)" in capsys.readouterr().out


def test_a_report_that_fails_is_refused_by_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = handed_in(tmp_path, PASSING)
    evidence = tmp_path / "evidence.json"
    evidence.write_bytes(evidence.read_bytes().replace(b'"session":1', b'"session":2'))
    assert run_cli([*arguments, "--json"]) == 65
    told = capsys.readouterr()
    assert json.loads(told.out)["error"]["reason"] == "AUDIT_FAILED"
    assert "check (3)" in told.err
    with pytest.raises(Exception, match="AUDIT_FAILED"):
        run_cli(["--debug", *arguments])


def test_without_a_command_it_shows_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli([]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert all(f"{code} " in shown for code in EXIT_CODES)
    assert run_cli(["--version"]) == 0
    assert capsys.readouterr().out.strip() == metadata.version("veritune")
    assert run_cli(["audit"]) == 64


def test_the_script_ends_with_the_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["veritune-arbiter", "frobnicate"])
    with pytest.raises(SystemExit) as left:
        app.main()
    assert left.value.code == 64
    assert "hint: " in capsys.readouterr().err
