"""The command line ``veritune-arbiter``; `veritune audit` and `veritune epochs` are the same commands.

It needs no network, no model and no private key. Each command imports what it needs when it runs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from veritune.arbiter.cli.console import JsonOption, join_help_lines, run_app, say, start
from veritune.arbiter.cli.errors import exit_code
from veritune.common.exits import EXIT_CODES

_HELP = """Check what a fine-tuning client reports of its provider, offline: the verdict is recomputed from the report,
its evidence and two public keys.

Start with `veritune-arbiter audit REPORT EVIDENCE --client-key CLIENT.pub --provider-key PROVIDER.pub`."""

_EPILOG = f"Exit codes: {', '.join(f'{code} {meaning}' for code, meaning in EXIT_CODES.items())}."

ReportArgument = Annotated[Path, typer.Argument(metavar="REPORT", help="The signed report.")]
EvidenceArgument = Annotated[Path, typer.Argument(metavar="EVIDENCE", help="Its evidence.")]
ClientKeyOption = Annotated[Path, typer.Option(help="The client's public key.")]
ProviderKeyOption = Annotated[Path, typer.Option(help="The provider's public key.")]

app = typer.Typer(help=_HELP, epilog=_EPILOG, add_completion=False, pretty_exceptions_enable=False)
app.callback(invoke_without_command=True)(start)


@app.command()
def audit(
    report_file: ReportArgument,
    evidence: EvidenceArgument,
    client_key: ClientKeyOption,
    provider_key: ProviderKeyOption,
    data: Annotated[
        Path | None, typer.Option(help="The data set that was sent (train.jsonl): looks for rows against a canary.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check a report and its evidence, offline, from these files and the two public keys alone.

    Whoever holds the data set that the contract names, the provider for one, can have it checked too: a client may have
    sown what no honest run learns.
    """
    from veritune.arbiter.audit.audit import audit_files
    from veritune.arbiter.audit.dataset import DATA_CHECK, check_data
    from veritune.arbiter.cli.tables import audit_table

    result = audit_files(report_file, evidence, client_key, provider_key)
    if data is not None:
        check_data(result, data)
        result = replace(result, checks=(*result.checks, DATA_CHECK))
    found = {
        "verdict": result.verdict,
        "checks": list(result.checks),
        "trust": list(result.trust),
        "judgement": result.judgement.model_dump(mode="json"),
    }
    say(as_json, found, lambda: audit_table(result))
    raise typer.Exit(exit_code(result.verdict))


@app.command()
def epochs(
    report_file: ReportArgument,
    evidence: EvidenceArgument,
    curve: Annotated[Path, typer.Argument(metavar="CURVE", help="Dose-response curve of the same recipe, JSON.")],
    client_key: ClientKeyOption,
    provider_key: ProviderKeyOption,
    mode: Annotated[str, typer.Option(help="delivered or served.")] = "delivered",
    confidence: Annotated[str, typer.Option(help="Of the interval.")] = "0.95",
    as_json: JsonOption = False,
) -> None:
    """Estimate how many epochs were run, from canaries of 1, 2, 4 ... rows; no verdict rests on it.

    The report is audited first. The curve says how often a canary is found after so many exposures, by calibration
    runs of the same recipe: without such a curve the estimate means nothing.
    """
    from veritune.arbiter.cli.tables import epochs_table
    from veritune.arbiter.epochs import estimate

    found = estimate(report_file, evidence, curve, client_key, provider_key, mode, confidence)
    say(as_json, found.as_json(), lambda: epochs_table(found))


join_help_lines(app)


def run_cli(arguments: Sequence[str]) -> int:
    """Runs ``veritune-arbiter`` with ``arguments``; returns its exit code."""
    return run_app(app, "veritune-arbiter", arguments)


def main() -> None:
    """Entry point of the console script."""
    sys.exit(run_cli(sys.argv[1:]))
