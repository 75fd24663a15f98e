"""The daemon's configuration: a ``provider.toml``, whose values the command line overrides."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from veritune.common.errors import OwnError
from veritune.provider.contracts.policy import ProviderPolicy


class ConfigError(OwnError):
    """A configuration that can't be used; the message says what is wrong, for the operator."""

    reason = "BAD_CONFIG"


class ProviderConfig(BaseModel):
    """The settings of a daemon. Paths of a configuration file are relative to that file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    state: Path = Path("state")
    """Folder for the database, data sets, jobs and adapters."""
    models: Path = Path("models")
    """Folder of base models: each subfolder with a ``config.json``, by the subfolder's name."""
    key: Path = Path("provider.key")
    """File of the private key with which the provider signs."""
    tls_cert: Path = Path("tls.crt")
    """PEM file of the TLS certificate."""
    tls_key: Path = Path("tls.key")
    """PEM file of the certificate's private key."""
    listen: str = "127.0.0.1:8470"
    """Host and port on which the daemon listens."""
    database: str = ""
    """SQLAlchemy URL; empty: SQLite inside ``state``."""
    engine: Literal["transformers", "vllm"] = "transformers"
    """The library that computes answers."""
    engine_dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format of the engine; ``auto``: bfloat16 where the device computes in it, else float32."""
    max_model_len: Annotated[int, Field(ge=16)] | None = None
    """Most tokens of a prompt and its answer; None: the model's own limit."""
    max_adapters: Annotated[int, Field(ge=1, le=1024)] = 8
    """Adapters kept in memory at once."""
    while_training: Literal["wait", "refuse", "share"] = "refuse"
    """What a Generate or Score call does while a job trains: wait, be refused, or run beside it."""
    free_engine_for_training: bool = False
    """True: base models are dropped from memory before a job trains, for machines where both do not fit."""
    parallel_jobs: Annotated[int, Field(ge=1, le=64)] = 1
    """Jobs that may train at once."""
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """Torch threads of training and serving; 0: torch's default."""
    max_concurrent_calls: Annotated[int, Field(ge=1, le=100_000)] = 256
    """Calls answered at once; more are refused."""
    upload_idle_seconds: Annotated[float, Field(gt=0)] = 60.0
    """Seconds without data after which an upload is ended; the client may resume it."""
    stop_grace_seconds: Annotated[float, Field(ge=0)] = 30.0
    """Seconds that calls and workers get to end when the daemon is stopped or a job is cancelled."""
    preload: tuple[str, ...] = ()
    """Names of base models to load at the start."""
    policy: ProviderPolicy = ProviderPolicy()
    """Limits on the contracts that the provider signs."""

    @field_validator("policy", mode="before")
    @classmethod
    def _strictly(cls, value: Any) -> Any:
        # The policy is a document, strict about types; TOML's arrays are JSON's, not Python's tuples.
        return ProviderPolicy.model_validate_json(json.dumps(value)) if isinstance(value, dict) else value

    @property
    def database_url(self) -> str:
        """The SQLAlchemy URL of the database, ``database`` or that of SQLite inside ``state``."""
        return self.database or f"sqlite:///{(self.state / 'provider.db').absolute()}"


_PATHS = ("state", "models", "key", "tls_cert", "tls_key")


def load_config(file: Path | None, overrides: dict[str, Any]) -> ProviderConfig:
    """The settings of ``file``, if there is one, with ``overrides`` that are not None in their place.

    Raises `ConfigError` for a file that can't be read and for a value that can't be used.
    """
    values: dict[str, Any] = {}
    if file is not None:
        try:
            values = tomllib.loads(file.read_text("utf-8"))
        except OSError as error:
            raise ConfigError(f"can't read {file}: {error.strerror}", cause="unreadable") from error
        except ValueError as error:
            raise ConfigError(f"{file} is not TOML: {error}", cause="toml") from error
        for name in _PATHS:
            if isinstance(values.get(name), str):
                values[name] = file.absolute().parent / values[name]
    values |= {name: value for name, value in overrides.items() if value is not None}
    try:
        return ProviderConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{where}: {first['msg']}", setting=where) from error
