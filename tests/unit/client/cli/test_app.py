"""The command line: exit codes, one-line errors, help, and an audit that starts at once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.exchange import Exchange
from veritune.arbiter.cli.errors import describe
from veritune.client.cli.app import run_cli
from veritune.common.errors import PolicyError
from veritune.common.exits import EXIT_CODES
from veritune.common.keys import PrivateKey


@pytest.fixture
def passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERITUNE_PASSPHRASE", "open sesame")


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, ...]:
    """Arguments of an audit that passes."""
    exchange = Exchange()
    (tmp_path / "report.json").write_bytes(exchange.report.report.to_json())
    (tmp_path / "evidence.json").write_bytes(exchange.evidence.to_bytes())
    exchange.client.public.save(tmp_path / "client.pub")
    exchange.provider.public.save(tmp_path / "provider.pub")
    names = ("report.json", "evidence.json", "--client-key", "client.pub", "--provider-key", "provider.pub")
    return tuple(name if name.startswith("--") else str(tmp_path / name) for name in names)


COMMANDS = ("keygen", "init", "plan", "prepare", "train", "challenge", "report", "run", "audit", "epochs", "redteam")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--json" in shown
    assert "--help" in shown


def test_help_keeps_no_line_break_of_a_docstring(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "600")
    assert run_cli(["audit", "--help"]) == 0
    paragraph = next(line for line in capsys.readouterr().out.splitlines() if "Whoever holds the data set" in line)
    assert paragraph.strip().endswith("sown what no honest run learns.")


def test_help_names_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli([]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert all(f"{code} " in shown for code in EXIT_CODES)
    assert all(command in shown for command in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["frobnicate"], 64),
        (["audit"], 64),
        (["run", "--session", "0"], 64),
        (["challenge", "--mode", "guessed"], 64),
        (["run", "/nowhere"], 78),
        (["init", "/nowhere/data.jsonl"], 66),
        (["audit", "/no", "/no", "--client-key", "/no", "--provider-key", "/no"], 66),
    ],
)
def test_mistakes_are_one_line_with_a_code(arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(arguments) == code
    error = capsys.readouterr().err
    assert error.startswith("error [")
    assert "Traceback" not in error
    assert len(error.splitlines()) <= 2


def test_mistakes_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["run", "/nowhere", "--json"]) == 78
    told = json.loads(capsys.readouterr().out)["error"]
    assert (told["reason"], told["fault"]) == ("BAD_JOB", "own")
    assert set(told) == {"reason", "fault", "message", "hint"}


def test_errors_are_described_in_one_line() -> None:
    error = PolicyError("two\nlines")
    assert describe(error)[:4] == (76, "POLICY_REFUSED", "peer", "two lines")
    error.told = True
    assert describe(error).message == "the provider answers: two lines"
    assert describe(KeyboardInterrupt())[0] == 130
    assert describe(ZeroDivisionError())[:2] == (70, "INTERNAL")
    assert describe(PermissionError(13, "Permission denied", "x"))[0] == 74


def test_keygen(tmp_path: Path, passphrase: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["keygen", str(tmp_path), "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    key = PrivateKey.load(tmp_path / "client.key", b"open sesame")
    assert made["key_id"] == key.public.key_id
    assert (tmp_path / "client.key").stat().st_mode & 0o777 == 0o600
    assert run_cli(["keygen", str(tmp_path)]) == 77
    assert run_cli(["keygen", str(tmp_path / "open"), "--no-passphrase"]) == 0
    assert PrivateKey.load(tmp_path / "open" / "client.key")


def test_keygen_without_a_terminal_needs_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("VERITUNE_PASSPHRASE", raising=False)
    monkeypatch.setattr(sys, "stdin", (tmp_path / "empty").open("w+"))
    assert run_cli(["keygen", str(tmp_path)]) == 77
    assert "VERITUNE_PASSPHRASE" in capsys.readouterr().err
    assert not (tmp_path / "client.key").exists()


def test_init_then_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps({"prompt": f"p {i}", "completion": "c"}) + "\n" for i in range(1500)))
    assert run_cli(["init", str(data)]) == 0
    assert run_cli(["init", str(data)]) == 64
    capsys.readouterr()
    assert run_cli(["plan", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rows"] == 1500
    assert found["plan"]["naturals"] > 0
    assert run_cli(["plan", str(tmp_path)]) == 0
    assert "natural canaries" in capsys.readouterr().out
    data.write_text('{"prompt": "p", "completion": "c"}\n' * 80)
    assert run_cli(["plan", str(tmp_path)]) == 78


def test_plan_asks_for_no_more_candidates_than_questions_list(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "rows.jsonl"
    offered = [f"red {i}, green {i}, blue {i}, grey {i}, pink {i}" for i in range(2500)]
    lines = [{"prompt": f"Which?\n{text}", "completion": text.split(", ")[i % 5]} for i, text in enumerate(offered)]
    data.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert run_cli(["init", str(data)]) == 0
    capsys.readouterr()
    assert run_cli(["plan", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["plan"]["candidates"] == 5


def test_plan_estimates_keeps_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps({"prompt": f"p {i:06}", "completion": "c" * 392}) + "\n" for i in range(1500)))
    assert run_cli(["init", str(data)]) == 0
    job, picture = str(tmp_path), tmp_path / "power.svg"
    capsys.readouterr()
    assert run_cli(["plan", job, "--json", "--keep", "groups", "--keep", "signature_bits"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["plan"]["groups"], found["plan"]["signature_bits"]) == (4, 64)
    assert found["row_tokens_estimate"] == 100
    assert float(found["figures"]["estimated_extra_tokens_percent"]) == round(100 * 32 * 137.6 / (100 * 1436), 2)
    assert len(found["curve"]["by_share"]) == len(found["curve"]["by_hit"]) == 21
    assert found["curve"]["by_share"][-1]["passes"] == found["figures"]["honest_pass"]
    assert run_cli(["plan", job, "--curve", str(picture)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for words in ("an estimate", "rows trained on 100%", "honest hit rate 80%", "groups = 2", "under [policy]"):
        assert words in shown
    assert picture.read_text().startswith("<svg")
    assert run_cli(["plan", job, "--curve", "-"]) == 0
    assert "INCONCLUSIVE" in capsys.readouterr().out
    assert run_cli(["plan", job, "--curve", str(tmp_path / "power.png")]) == 78
    assert "power.svg" in capsys.readouterr().err
    assert run_cli(["plan", job, "--keep", "luck"]) == 78
    capsys.readouterr()
    for chance in ("2", "often"):
        assert run_cli(["plan", job, "--natural-hit", chance]) == 64
        assert f"error [USAGE] --natural-hit {chance}: " in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["power.svg", "rows.jsonl", "veritune.toml"]


def test_plan_loads_no_model_and_no_network(tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps({"prompt": f"p {i}", "completion": "c"}) + "\n" for i in range(1500)))
    code = (
        "import sys\n"
        "from veritune.client.cli.app import run_cli\n"
        f"assert run_cli(['init', {str(data)!r}]) == 0\n"
        f"assert run_cli(['plan', {str(tmp_path)!r}, '--curve', '-']) == 0\n"
        "heavy = {'torch', 'transformers', 'peft', 'grpc', 'scipy', 'numpy', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=300).returncode == 0


def test_audit_passes_and_fails(files: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["audit", *files, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "PASS"
    assert len(found["checks"]) == 16
    assert run_cli(["audit", *files]) == 0
    assert "PASS" in capsys.readouterr().out
    assert run_cli(["audit", *files, "--data", files[0]]) == 65
    assert "BAD_FILE" in capsys.readouterr().err
    swapped = [files[0], files[1], files[2], files[5], files[4], files[3]]
    assert run_cli(["audit", *swapped]) == 65
    assert "check (1)" in capsys.readouterr().err


def test_a_step_too_early_is_our_own_order_not_the_providers(
    tmp_path: Path, passphrase: None, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text('{"prompt": "p", "completion": "c"}\n')
    assert run_cli(["init", str(data)]) == 0
    assert run_cli(["keygen", str(tmp_path)]) == 0
    PrivateKey.generate().public.save(tmp_path / "provider.pub")
    capsys.readouterr()
    for command in ("report", "challenge", "train"):
        assert run_cli([command, str(tmp_path)]) == 64
        error = capsys.readouterr().err
        assert "error [STEP_MISSING]" in error
        assert "veritune run" in error


def test_debug_shows_the_error_itself() -> None:
    with pytest.raises(Exception, match="BAD_JOB"):
        run_cli(["--debug", "run", "/nowhere"])


def test_audit_loads_no_model_and_no_network(files: tuple[str, ...]) -> None:
    code = (
        "import sys\n"
        "from veritune.client.cli.app import run_cli\n"
        f"code = run_cli(['audit', *{files!r}])\n"
        "heavy = {'torch', 'transformers', 'peft', 'grpc', 'scipy', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "sys.exit(code)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=300).returncode == 0
