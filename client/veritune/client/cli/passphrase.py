"""The passphrase: from the environment or from a terminal, never from the command line."""

from __future__ import annotations

import os
import sys

from veritune.common.errors import SecretsError

VARIABLE = "VERITUNE_PASSPHRASE"


def read_passphrase(*, confirm: bool = False) -> bytes:
    """Raises `SecretsError` when there is none to be had."""
    text = os.environ.get(VARIABLE, "")
    if not text:
        if not sys.stdin.isatty():
            raise SecretsError(f"a passphrase is needed: set {VARIABLE}")
        import typer

        text = typer.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm, err=True)
    return text.encode("utf-8")
