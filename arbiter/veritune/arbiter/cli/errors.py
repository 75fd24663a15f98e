"""Exit codes and hints for errors: a number for the shell, a line for people."""

from __future__ import annotations

import typer

from veritune.common.errors import VerituneError

EXIT_CODES = {
    0: "PASS or done",
    1: "FAIL",
    2: "INCONCLUSIVE",
    64: "wrong use",
    65: "bad data or a report that fails its audit",
    66: "a file is missing",
    69: "the provider is unavailable or its training ended",
    70: "internal fault",
    74: "disk or system fault",
    76: "the provider breaks or refuses the protocol",
    77: "keys, secrets or rights",
    78: "the job can't be run as it is set up",
    130: "interrupted",
}
"""Exit codes with their meaning: verdicts, and from 64 on the numbers of BSD's sysexits.h."""

_BY_REASON = {
    "BAD_DATASET": 65,
    "AUDIT_FAILED": 65,
    "NOT_FOUND": 66,
    "UNAVAILABLE": 69,
    "DEADLINE_EXCEEDED": 69,
    "QUOTA_EXCEEDED": 69,
    "TRAINING_ENDED": 69,
    "INTERNAL": 70,
    "BAD_KEY_FILE": 77,
    "BAD_SECRETS": 77,
    "UNAUTHENTICATED": 77,
    "BAD_JOB": 78,
    "CONFLICT": 78,
    "UNREACHABLE_PLAN": 78,
    "UNKNOWN_MODEL": 78,
}

_HINTS = {
    "UNAVAILABLE": "is the provider running, and are provider.address and provider.tls_ca right?",
    "BAD_SECRETS": "set VERITUNE_PASSPHRASE to the passphrase of `veritune prepare`",
    "BAD_KEY_FILE": "`veritune keygen` makes a key; VERITUNE_PASSPHRASE opens an encrypted one",
    "POLICY_REFUSED": "change the terms in veritune.toml and run again; a new contract is offered",
    "UNREACHABLE_PLAN": "`veritune plan` shows what would be enough",
    "UNKNOWN_MODEL": "model.name and model.folder must be the provider's base model, file by file",
    "EXPIRED": "start in a new folder with --run, with later [deadlines]",
    "TRAINING_ENDED": "run again to start another attempt under the same contract",
    "AUDIT_FAILED": "docs/SPEC.md, section 8, says what the numbered check asks for",
    "TRUNCATED": "run the same command again; it goes on where it broke off",
    "BAD_SIGNATURE": "is provider.public_key the provider's, and client.key the one of this run?",
}


def exit_code(verdict: str) -> int:
    """The exit code of a verdict: 0 for PASS, 1 for FAIL, 2 for INCONCLUSIVE."""
    return {"PASS": 0, "FAIL": 1}.get(verdict, 2)


def describe(error: BaseException) -> tuple[int, str, str, str]:
    """Exit code, reason, message and hint of an error; message and hint are one line each."""
    if isinstance(error, VerituneError):
        code = _BY_REASON.get(error.reason, 76)
        return code, error.reason, " ".join(error.message.split()), _HINTS.get(error.reason, "")
    if isinstance(error, OSError):
        where = f": {error.filename}" if error.filename else ""
        return 74, "SYSTEM", f"{error.strerror or 'input or output failed'}{where}", ""
    if hasattr(error, "format_message"):
        return 64, "USAGE", " ".join(error.format_message().split()), "`veritune COMMAND --help` shows how"
    if not isinstance(error, (KeyboardInterrupt, typer.Abort)):
        return 70, "INTERNAL", f"an unforeseen {type(error).__name__}", "put --debug before the command to see where"
    return 130, "INTERRUPTED", "interrupted", "run the same command again; it goes on where it broke off"
