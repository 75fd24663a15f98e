"""The command ``veritune-provider`` with its subcommands serve, keygen and models."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from veritune.common.errors import VerituneError
from veritune.common.exits import EXITS, exit_of, missing_extra
from veritune.common.files import write_atomic
from veritune.common.keys import PrivateKey

if TYPE_CHECKING:
    from veritune.provider.daemon.config import ProviderConfig
    from veritune.provider.serving.engine_pool import EngineFactory

PASSPHRASE = "VERITUNE_PROVIDER_PASSPHRASE"  # noqa: S105 - the name of the variable
"""The environment variable that may hold the passphrase of the signing key."""

_HELP = """The provider's side of veritune: trains LoRA adapters under signed contracts, serves them, signs receipts.

First time: `veritune-provider keygen keys`, put a base model folder (config.json, safetensors, tokenizer) under \
`models`, then `veritune-provider serve --keys keys --models models --state state`.

Give clients `keys/provider.pub` and `keys/tls.crt`."""


def build_app(
    *, trainer_command: Sequence[str] | None = None, engine_factory: EngineFactory | None = None
) -> typer.Typer:
    """The command line as a typer application.

    ``trainer_command`` replaces the training worker. It gets a task file as its last argument and must name files by
    absolute paths, because it runs in each job's own folder. ``engine_factory`` replaces the inference engine.
    """
    app = typer.Typer(help=_HELP, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
    _add_serve(app, trainer_command, engine_factory)
    app.command()(keygen)
    app.command()(models)
    return app


def _add_serve(app: typer.Typer, trainer_command: Sequence[str] | None, engine_factory: EngineFactory | None) -> None:
    @app.command()
    def serve(
        config: Annotated[Path | None, typer.Option(help="A provider.toml; options below come over it.")] = None,
        state: Annotated[Path | None, typer.Option(help="Folder for database, data sets, jobs, adapters.")] = None,
        models: Annotated[Path | None, typer.Option(help="Folder of base model folders.")] = None,
        keys: Annotated[Path | None, typer.Option(help="Folder that keygen made; sets the next three.")] = None,
        key: Annotated[Path | None, typer.Option(help="Signing key, PEM.")] = None,
        tls_cert: Annotated[Path | None, typer.Option(help="TLS certificate, PEM.")] = None,
        tls_key: Annotated[Path | None, typer.Option(help="TLS key, PEM.")] = None,
        listen: Annotated[str | None, typer.Option(help="HOST:PORT; port 0 takes any free one.")] = None,
        database: Annotated[str | None, typer.Option(help="SQLAlchemy URL instead of SQLite in the state.")] = None,
        engine: Annotated[str | None, typer.Option(help="transformers or vllm.")] = None,
        while_training: Annotated[
            str | None, typer.Option(help="What inference does while a job trains: wait, refuse or share.")
        ] = None,
        preload: Annotated[list[str] | None, typer.Option(help="Base model to load now; may be repeated.")] = None,
        ready_file: Annotated[
            Path | None, typer.Option(help="Write port and key id there as JSON once calls are answered.")
        ] = None,
        json_logs: Annotated[bool, typer.Option(help="Log lines as JSON.")] = False,
    ) -> None:
        """Run the daemon until SIGTERM or Ctrl-C; unfinished jobs go on at the next start.

        The signing key's passphrase is read from VERITUNE_PROVIDER_PASSPHRASE, or asked for.
        """
        given = {
            "state": state,
            "models": models,
            "key": key,
            "tls_cert": tls_cert,
            "tls_key": tls_key,
            "listen": listen,
            "database": database,
            "engine": engine,
            "while_training": while_training,
            "preload": tuple(preload) if preload else None,
        }
        with _plain_errors():
            _serve(config, _overrides(keys, given), trainer_command, engine_factory, ready_file, json_logs)


def keygen(
    folder: Annotated[Path, typer.Argument(help="Where to write the four files.")],
    host: Annotated[list[str] | None, typer.Option(help="Name or address clients will use; may be repeated.")] = None,
    passphrase: Annotated[bool, typer.Option(help="Ask for a passphrase for the signing key.")] = False,
) -> None:
    """Make provider.key, provider.pub, tls.key and tls.crt; existing files are never overwritten.

    The certificate is for localhost, 127.0.0.1 and every --host, and lasts 825 days.

    A passphrase can also come from VERITUNE_PROVIDER_PASSPHRASE.
    """
    from veritune.provider.daemon.tls import write_certificate

    secret = os.environ.get(PASSPHRASE, "")
    if passphrase and not secret:
        secret = typer.prompt("Passphrase", hide_input=True, confirmation_prompt=True)
    names = ("provider.key", "provider.pub", "tls.key", "tls.crt")
    with _plain_errors():
        taken = [name for name in names if (folder / name).exists()]
        if taken:
            _fail(f"{folder / taken[0]} exists already; nothing was written")
        private = PrivateKey.generate()
        private.save(folder / "provider.key", secret.encode() or None)
        private.public.save(folder / "provider.pub")
        write_certificate(folder, host or (), datetime.now(UTC))
    typer.echo(f"key id {private.public.key_id}")
    typer.echo(f"give clients {folder / 'provider.pub'} and {folder / 'tls.crt'}; keep the other two")


def models(
    folder: Annotated[Path, typer.Argument(help="The models folder.")] = Path("models"),
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """List base models with the digests that manifests must name."""
    from veritune.provider.models.catalog import find_models

    with _plain_errors():
        found = find_models(folder)
    if as_json:
        typer.echo(json.dumps([{"name": model.name, "digest": model.digest} for model in found]))
        return
    if not found:
        _fail(f"no base model under {folder}: each needs a folder with a config.json")
    table = Table("name", "digest")
    for model in found:
        table.add_row(model.name, model.digest)
    Console(highlight=False, markup=False, emoji=False).print(table)


def main() -> None:
    """Runs the command line; the script ``veritune-provider`` calls this."""
    build_app()()


def _overrides(keys: Path | None, given: dict[str, Any]) -> dict[str, Any]:
    """Settings of the command line by their names in `ProviderConfig`; a file's own option overrides ``keys``."""
    in_keys = {"key": "provider.key", "tls_cert": "tls.crt", "tls_key": "tls.key"}
    from_keys: dict[str, Any] = {name: keys / file for name, file in in_keys.items()} if keys else {}
    return from_keys | {name: value for name, value in given.items() if value is not None}


def _serve(
    file: Path | None,
    overrides: dict[str, Any],
    trainer_command: Sequence[str] | None,
    engine_factory: EngineFactory | None,
    ready_file: Path | None,
    json_logs: bool,
) -> None:
    # Before torch is imported: idle threads must sleep, for training and serving share the machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TQDM_DISABLE", "1")
    from veritune.provider.daemon.config import load_config
    from veritune.provider.daemon.server import DEFAULT_TRAINER, build_server
    from veritune.provider.telemetry.logs import configure_logs, get_logger

    config = load_config(file, overrides)
    configure_logs(as_json=json_logs)
    key = PrivateKey.load(config.key, _passphrase(config.key))

    async def run() -> None:
        daemon = build_server(
            config,
            key,
            engine_factory=engine_factory or _engine_factory(config),
            trainer_command=trainer_command or DEFAULT_TRAINER,
        )
        ready = asyncio.Event()
        serving = asyncio.ensure_future(daemon.serve(ready))
        waiting = asyncio.ensure_future(ready.wait())
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if ready.is_set():
            get_logger("server").info("listening", port=daemon.port, key_id=key.public.key_id)
            if ready_file is not None:
                ready_body = {"port": daemon.port, "key_id": key.public.key_id, "pid": os.getpid()}
                write_atomic(ready_file, json.dumps(ready_body).encode(), mode=0o644)
        waiting.cancel()
        await serving

    asyncio.run(run())


def _engine_factory(config: ProviderConfig) -> EngineFactory:
    from veritune.provider.engines.factory import make_engine

    return lambda folder: make_engine(
        config.engine,
        folder,
        dtype=config.engine_dtype,
        threads=config.threads or None,
        max_model_len=config.max_model_len,
        max_adapters=config.max_adapters,
    )


def _passphrase(key: Path) -> bytes | None:
    secret = os.environ.get(PASSPHRASE, "")
    if secret:
        return secret.encode()
    try:
        encrypted = b"ENCRYPTED" in key.read_bytes()[:64]
    except OSError:
        return None
    if encrypted and sys.stdin.isatty():
        return str(typer.prompt("Passphrase of the signing key", hide_input=True)).encode()
    return None


@contextmanager
def _plain_errors() -> Iterator[None]:
    """A context that shows a `VerituneError` as one line and a hint, and exits with the status of its reason."""
    try:
        yield
    except ModuleNotFoundError as error:
        missing = missing_extra(error, "provider")
        if missing is None:
            raise
        typer.echo("error: {}\nhint: {}".format(*missing), err=True)
        raise typer.Exit(EXITS["MISSING_EXTRA"].code) from error
    except VerituneError as error:
        ending = exit_of(error)
        typer.echo(f"error: {error}\nhint: {ending.remedy}", err=True)
        raise typer.Exit(ending.code) from error


def _fail(message: str) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(2)


if __name__ == "__main__":
    main()
