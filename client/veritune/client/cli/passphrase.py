"""Reading the passphrase from the environment or a terminal, never from the command line, which others can see."""

from __future__ import annotations

import os
import sys

from veritune.common.errors import SecretsError

VARIABLE = "VERITUNE_PASSPHRASE"


def read_passphrase(*, confirm: bool = False) -> bytes:
    """The passphrase in UTF-8; with ``confirm`` it must be typed twice at a terminal.

    Raises `SecretsError` if the environment has none and there is no terminal.
    """
    text = os.environ.get(VARIABLE, "")
    if not text:
        if not sys.stdin.isatty():
            raise SecretsError(f"a passphrase is needed: set {VARIABLE}", cause="no_passphrase")
        import typer

        text = typer.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm, err=True)
    return text.encode("utf-8")
