"""The command line ``veritune``: one function for each command, a thin layer over `veritune.client.run.run`.

Each command imports what it needs when it runs, so that `--help` and `audit` start at once and load no torch. The
docstrings of commands are their help texts.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from veritune.arbiter.cli.app import audit, epochs
from veritune.arbiter.cli.console import JsonOption, join_help_lines, run_app, say, start
from veritune.arbiter.cli.errors import exit_code
from veritune.common.exits import EXIT_CODES

if TYPE_CHECKING:
    from veritune.client.run.run import Run

_HELP = """Fine-tune with a provider that you don't have to trust, and check that it did the work.

First time: `veritune keygen`, `veritune init DATA.jsonl`, fill in veritune.toml, `veritune plan`, `veritune run`.

Every command goes on where it was broken off."""

_EPILOG = f"""Exit codes: {", ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items())}.
VERITUNE_PASSPHRASE seals the secrets and the key; without it, it is asked for."""

app = typer.Typer(help=_HELP, epilog=_EPILOG, add_completion=False, pretty_exceptions_enable=False)
app.callback(invoke_without_command=True)(start)

JobArgument = Annotated[Path, typer.Argument(help="veritune.toml, or the folder that it lies in.")]
RunOption = Annotated[Path | None, typer.Option("--run", help="Folder of this run; veritune-run beside the job.")]
SessionOption = Annotated[int, typer.Option(min=1, help="Which of the contract's sessions.")]


@app.command()
def keygen(
    folder: Annotated[Path, typer.Argument(help="Where to write client.key and client.pub.")] = Path(),
    no_passphrase: Annotated[bool, typer.Option("--no-passphrase", help="Leave the key unencrypted.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make your signing key. Give client.pub to whoever shall check your reports."""
    from veritune.client.cli.passphrase import read_passphrase
    from veritune.common.errors import KeyFileError
    from veritune.common.keys import PrivateKey

    paths = folder / "client.key", folder / "client.pub"
    for path in paths:
        if path.exists():
            raise KeyFileError(f"{path} exists already and is not overwritten: use it, or name another folder")
    passphrase = None if no_passphrase else read_passphrase(confirm=True)
    key = PrivateKey.generate()
    key.save(paths[0], passphrase)
    key.public.save(paths[1])
    done = {"key": str(paths[0]), "public_key": str(paths[1]), "key_id": key.public.key_id}
    say(as_json, done, f"Wrote {paths[0]} (keep it) and {paths[1]} (give it away).\nKey id {key.public.key_id}")


@app.command()
def init(
    data: Annotated[Path, typer.Argument(help="Your rows, JSONL.")],
    as_json: JsonOption = False,
) -> None:
    """Write a commented veritune.toml beside your data."""
    from veritune.client.job.template import write_template
    from veritune.common.errors import MissingFileError

    if not data.is_file():
        raise MissingFileError(f"there is no file {data}")
    path = write_template(data)
    say(as_json, {"job": str(path)}, f"Wrote {path}. Fill in [provider] and [model], then run `veritune plan {path}`.")


@app.command()
def plan(
    job: JobArgument = Path(),
    activation: Annotated[str, typer.Option(help="How often an honest run learns a trigger group.")] = "0.9",
    natural_hit: Annotated[str, typer.Option(help="How often an honest run ranks a natural canary first.")] = "0.97",
    in_place_hit: Annotated[
        str | None, typer.Option(help="The same for canaries in place; as natural canaries unless given.")
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(help="What of \\[canaries] stays as the job says, such as groups; may be repeated."),
    ] = None,
    curve: Annotated[
        Path | None,
        typer.Option(help="Draw how likely each verdict is into this SVG file; - shows it in the terminal."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Find the cheapest canaries that the policy can be reached with; nothing is sent."""
    from veritune.client.cli.plan import plan_table, write_curve
    from veritune.client.planning.for_job import answer

    found = answer(
        job,
        keep or (),
        with_curve=as_json or curve is not None,
        activation=activation,
        natural_hit=natural_hit,
        in_place_hit=in_place_hit,
    )
    if curve is not None and found.curve is not None and str(curve) != "-":
        write_curve(found.curve, curve)
    say(as_json, found.to_json(), lambda: plan_table(found))


@app.command()
def prepare(job: JobArgument = Path(), run_folder: RunOption = None, as_json: JsonOption = False) -> None:
    """Sow secret canaries into the rows and commit to them; nothing is sent."""
    from veritune.client.cli.tables import prepared_table

    with _run(job, run_folder, as_json) as run:
        figures = run.prepare()
    say(as_json, figures.model_dump(mode="json"), lambda: prepared_table(figures, run.workspace))


@app.command()
def redteam(
    job: JobArgument = Path(),
    run_folder: RunOption = None,
    detectors: Annotated[
        list[str] | None,
        typer.Option(help="cheap, model, all, or a detector's name; may be repeated. Without it: cheap."),
    ] = None,
    rows: Annotated[
        int | None, typer.Option(min=1, help="Look at so many plain rows at most, drawn at random; all canaries stay.")
    ] = None,
    endpoint: Annotated[
        str, typer.Option(help="Ask a model at this OpenAI-compatible address instead of the base model. It sees rows.")
    ] = "",
    endpoint_model: Annotated[str, typer.Option(help="The model's name there; the key is OPENAI_API_KEY.")] = "",
    out: Annotated[Path | None, typer.Option(help="Folder of redteam.json and redteam.svg; the run's.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Run again what redteam.json has already.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Look for your own canaries as a cheating provider would; nothing is sent, unless to --endpoint.

    Run it after prepare and before train. A provider that finds the canaries can train on them alone, so no detector
    should find many: of each kind you see the AUC (0.5 is chance) and how many rows are found while 1 % or 10 % of the
    plain rows are taken for canaries.

    Cheap detectors need the rows alone: phrases-longest, phrases-most, odd-characters, answer-length, missing-parts,
    near-duplicates, clusters, neighbours. With the base model: perplexity, perplexity-start, gradient-neighbours,
    gradient-entropy, asked, and loss-drop, which trains an epoch. What is done already is kept; redteam.json holds no
    canary, but give it to nobody.
    """
    from veritune.client.redteam.attack import RedTeam
    from veritune.client.redteam.table import redteam_table
    from veritune.common.errors import VerituneError

    wanted = RedTeam(tuple(detectors or ("cheap",)), rows, endpoint, endpoint_model, fresh)
    try:
        wanted.check()
    except VerituneError as error:
        raise typer.BadParameter(error.message) from error
    with _run(job, run_folder, as_json) as run:
        found = run.red_team(wanted, out)
        folder = out or run.workspace.root
    say(as_json, found.model_dump(mode="json"), lambda: redteam_table(found, folder))


@app.command()
def train(job: JobArgument = Path(), run_folder: RunOption = None, as_json: JsonOption = False) -> None:
    """Sign the contract with the provider, upload, train, and fetch the adapter."""
    from veritune.client.cli.tables import trained_table

    with _run(job, run_folder, as_json) as run:
        run.negotiate()
        run.train()
        receipt = run.papers.training_receipt().document
    found = {"receipt": receipt.model_dump(mode="json"), "adapter": str(run.workspace.adapter)}
    say(as_json, found, lambda: trained_table(receipt, run.workspace))


@app.command()
def challenge(
    job: JobArgument = Path(),
    run_folder: RunOption = None,
    session: SessionOption = 1,
    mode: Annotated[list[str] | None, typer.Option(help="delivered or served; may be repeated.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Ask the canaries that the session's seed picks; a killed challenge goes on."""
    from veritune.client.challenge.run import MODES

    modes = tuple(item for item in MODES if item in (mode or ()))
    if mode and len(modes) != len(set(mode)):
        raise typer.BadParameter("a mode is delivered or served", param_hint="--mode")
    with _run(job, run_folder, as_json) as run:
        run.challenge(session, modes)
        run.score_task()
    found = {"session": session, "modes": list(modes or run.job.file.challenge.modes)}
    say(as_json, found, f"Session {session} is answered. Next: veritune report")


@app.command()
def report(
    job: JobArgument = Path(), run_folder: RunOption = None, session: SessionOption = 1, as_json: JsonOption = False
) -> None:
    """Judge the answers, and write the signed report with its evidence."""
    with _run(job, run_folder, as_json) as run:
        run.report(session)
    _finish(run, session, as_json)


@app.command("run")
def run_all(
    job: JobArgument = Path(), run_folder: RunOption = None, session: SessionOption = 1, as_json: JsonOption = False
) -> None:
    """Everything that is not done yet, from prepare to report."""
    with _run(job, run_folder, as_json) as run:
        run.all(session)
    _finish(run, session, as_json)


app.command()(audit)
app.command()(epochs)
join_help_lines(app)


def _run(job: Path, folder: Path | None, as_json: bool) -> Any:
    from veritune.client.cli.progress import running

    return running(job, folder, quiet=as_json)


def _finish(run: Run, session: int, as_json: bool) -> None:
    """Audits and shows a report, then exits with the verdict's exit code."""
    from veritune.client.cli.tables import report_table

    result, space = run.audit(session), run.workspace
    predicate = result.statement.predicate
    files = {
        "report": str(space.report(session)),
        "evidence": str(space.evidence(session)),
        "contract": str(space.contract),
        "adapter": str(space.adapter),
    }
    found = {"verdict": result.verdict, "predicate": predicate.model_dump(mode="json"), "files": files}
    say(as_json, found, lambda: report_table(predicate, files, run.job))
    raise typer.Exit(exit_code(result.verdict))


def run_cli(arguments: Sequence[str]) -> int:
    """Runs ``veritune`` with these arguments and returns its exit code."""
    return run_app(app, "veritune", arguments)


def main() -> None:
    """Runs ``veritune`` with the arguments of this process and exits; the console script calls it."""
    # Libraries read these when they are imported: no hub is contacted, and only our progress bars are shown.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Threads that wait for one another sleep soon, and leave the cores to a provider on the same machine.
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    # These libraries warn about each other's future versions, which a user can do nothing about.
    warnings.filterwarnings("ignore", module=r"(torch|transformers|peft)(\.|$)")
    sys.exit(run_cli(sys.argv[1:]))


if __name__ == "__main__":
    main()
