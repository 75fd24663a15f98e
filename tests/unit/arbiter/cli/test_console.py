"""Text from files, job files and paths comes out whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Group
from rich.table import Table
from rich.text import Text

from veritune.arbiter.cli.console import plain_console, say
from veritune.client.cli.plan import plan_table
from veritune.client.job.file import Job
from veritune.client.job.template import write_template
from veritune.client.planning.for_job import answer

ODD = ("[canaries]", "runs[1]/[bold]x[/bold]", ":warning:", "a [/] b", "[red]")


@pytest.mark.parametrize("text", ODD)
def test_brackets_and_colons_are_kept(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("name", title=text, min_width=60)
    table.add_row(text)
    plain_console().print(Group(text, table))
    assert capsys.readouterr().out.count(text) == 3
    plain_console(stderr=True).print(text, soft_wrap=True)
    assert capsys.readouterr().err == f"{text}\n"


def test_a_command_to_copy_is_whole_in_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    command = "veritune audit " + "a/" * 100 + "report-1.json"
    say(False, {}, lambda: Group("Anybody can check it:", Text(command, no_wrap=True, overflow="ignore")))
    assert command in capsys.readouterr().out.splitlines()


def test_a_plan_names_the_sections_of_the_job(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(f'{{"prompt": "p {i}", "completion": "c"}}\n' for i in range(1500)))
    job = write_template(data).rename(tmp_path / "[red]job.toml")
    found = answer(job, (), with_curve=False, activation="0.9", natural_hit="0.97", in_place_hit=None)
    plain_console().print(plan_table(found))
    shown = " ".join(capsys.readouterr().out.split())
    assert "In [red]job.toml put " in shown
    assert " under [policy]" in shown
    assert "\\[" not in shown
    assert Job.load(job).path.name == "[red]job.toml"
