from __future__ import annotations

import pytest
import typer

from veritune.arbiter.cli.console import run_app
from veritune.arbiter.cli.errors import describe
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
