"""What a terminal is sent: texts of a report's author are shown, never obeyed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.exchange import small
from veritune.arbiter.cli.app import run_cli
from veritune.common.canonical import canonical_bytes
from veritune.common.envelope import sign


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
