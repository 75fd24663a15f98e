"""What a terminal is told of an error: a code, a line and a hint. Texts of a report are shown, never obeyed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

from tests.support.exchange import small
from veritune.arbiter.cli.app import run_cli
from veritune.arbiter.cli.console import run_app
from veritune.arbiter.cli.errors import describe
from veritune.common.canonical import canonical_bytes
from veritune.common.envelope import sign
from veritune.common.errors import PolicyError


def failing(error: BaseException) -> typer.Typer:
    app = typer.Typer()

    @app.command()
    def fail() -> None:
        raise error

    return app


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (
            PermissionError(13, "Permission denied", "report.json"),
            74,
            "error [SYSTEM] Permission denied: report.json\n",
        ),
        (KeyboardInterrupt(), 130, "error [INTERRUPTED] interrupted\nhint: "),
        (ZeroDivisionError(), 70, "error [INTERNAL] an unforeseen ZeroDivisionError\nhint: "),
        (
            ModuleNotFoundError("x", name="torch"),
            78,
            "error [MISSING_EXTRA] this needs torch, which is not installed\n",
        ),
        (PolicyError("two\nlines"), 76, "error [POLICY_REFUSED] two lines\nhint: "),
    ],
)
def test_an_error_is_a_code_and_a_line(
    error: BaseException, code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_app(failing(error), "command", []) == code
    assert told in capsys.readouterr().err
    assert describe(error).code == code


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_report_can_not_write_over_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    """A name in it that clears the screen and says that all is well."""
    exchange = small()
    signed = exchange.report.report
    body = json.loads(signed.payload) | {"\x1b[2J\x1b[H\x9bmAudit passed\r\n\u202e": 1}
    forged = sign(signed.payload_type, canonical_bytes(body), exchange.client)
    (tmp_path / "report.json").write_bytes(forged.to_json())
    (tmp_path / "evidence.json").write_bytes(exchange.evidence_bytes)
    exchange.client.public.save(tmp_path / "client.pub")
    exchange.provider.public.save(tmp_path / "provider.pub")
    keys = ["--client-key", str(tmp_path / "client.pub"), "--provider-key", str(tmp_path / "provider.pub")]
    assert run_cli(["audit", str(tmp_path / "report.json"), str(tmp_path / "evidence.json"), *keys, *more]) == 65
    shown = capsys.readouterr()
    error, hint = shown.err.splitlines()
    assert "Audit passed" in error
    assert error.isprintable()
    assert hint.startswith("hint: ")
    if more:
        message = json.loads(shown.out)["error"]["message"]
        assert message.isprintable()
