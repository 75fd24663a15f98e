"""Makes docs/errors.md from errors and exits; ``--check`` only says whether it is up to date."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

from veritune.common.errors import Fault, OwnError, VerituneError, error_classes
from veritune.common.exits import CODES_OF_FAULT, EXIT_CODES, EXITS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "errors.md"
ELSEWHERE = (
    "veritune.client.errors",
    "veritune.provider.daemon.config",
    "veritune.provider.storage.store",
    "veritune.provider.engines.factory",
    "veritune.provider.engines.base",
)
"""Modules with errors of their own, beside `veritune.common.errors`."""
_FAMILIES: tuple[tuple[Fault, str, str], ...] = (
    (
        "peer",
        "The other party's",
        "The other party's bytes break the protocol, or it refuses, or it can't be reached. These reasons are "
        'sent (SPEC section 9): where the message begins with "the provider answers", the provider says so of what it '
        "was sent; otherwise veritune found it in what the provider sent.",
    ),
    (
        "own",
        "Our own",
        "Our own files, keys, settings, or the order of our steps. The other party has nothing to do with it; a client "
        "whose provider has such an error is told `INTERNAL`.",
    ),
    ("client", "The client's", "Whoever wrote a report and its evidence."),
    ("internal", "A program's", "A fault in the program of whoever reports it."),
)


def page() -> str:
    """The whole page in Markdown."""
    for module in ELSEWHERE:
        import_module(module)
    lines = [
        "# Errors",
        "",
        "Made by `python common/errors_page.py`; don't edit.",
        "",
        "A command that fails says `error [REASON] message` and `hint: what to do` on standard error, and with "
        "`--json` an object `error` of `reason`, `fault`, `message` and `hint` on standard output. Reasons are stable, "
        "messages are not. `fault` is `peer`, `own`, `client` or `internal`, as the sections below.",
        "",
        "## Exit codes",
        "",
        "| code | meaning |",
        "|---|---|",
        *(f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()),
        "",
        "`veritune-provider` has the same codes for the reasons below, and 2 for wrong use.",
    ]
    classes = sorted(error_classes().values(), key=lambda cls: cls.reason)
    for fault, title, text in _FAMILIES:
        codes = ", ".join(map(str, sorted(CODES_OF_FAULT[fault])))
        lines += ["", f"## {title}", "", f"{text} Exit codes: {codes}.", ""]
        lines += ["| reason | gRPC code | exit code | meaning | what to do |", "|---|---|---|---|---|"]
        lines += [_line(cls) for cls in classes if cls.fault == fault]
    return "\n".join(lines) + "\n"


def meaning(cls: type[VerituneError]) -> str:
    """The first paragraph of the class's docstring on one line."""
    return " ".join((cls.__doc__ or "").split("\n\n")[0].split())


def _line(cls: type[VerituneError]) -> str:
    ending = EXITS[cls.reason]
    code = "not sent" if issubclass(cls, OwnError) else cls.code.name
    remedy = ending.remedy[0].upper() + ending.remedy[1:]
    end = "" if remedy.endswith("?") else "."
    return f"| `{cls.reason}` | {code} | {ending.code} | {meaning(cls)} | {remedy}{end} |"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 when docs/errors.md differs")
    if not parser.parse_args().check:
        PAGE.write_text(page(), encoding="utf-8")
    elif not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != page():
        sys.exit("docs/errors.md is out of date, run `python common/errors_page.py`")


if __name__ == "__main__":
    main()
