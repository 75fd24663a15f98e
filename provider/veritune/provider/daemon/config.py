"""The daemon's configuration: a ``provider.toml``, with the command line over it."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from veritune.common.errors import OwnError
from veritune.provider.contracts.policy import ProviderPolicy


class ConfigError(OwnError):
    """A configuration that can't be used; the message names the field."""

    reason = "BAD_CONFIG"


class ProviderConfig(BaseModel):
    """Everything a daemon is started with. Relative paths are relative to the file that names them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    state: Path = Path("state")
    """Database, data sets, jobs and adapters."""
    models: Path = Path("models")
    """Each folder in it with a ``config.json`` is a base model, by its own name."""
    key: Path = Path("provider.key")
    tls_cert: Path = Path("tls.crt")
    tls_key: Path = Path("tls.key")
    listen: str = "127.0.0.1:8470"
    database: str = ""
    """SQLAlchemy URL; empty: SQLite inside ``state``."""
    engine: Literal["transformers", "vllm"] = "transformers"
    engine_dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    max_model_len: Annotated[int, Field(ge=16)] | None = None
    max_adapters: Annotated[int, Field(ge=1, le=1024)] = 8
    while_training: Literal["wait", "refuse", "share"] = "refuse"
    """What a Generate or Score call does while a job trains."""
    free_engine_for_training: bool = False
    """Drops base models from memory before a job trains; for machines where both do not fit."""
    parallel_jobs: Annotated[int, Field(ge=1, le=64)] = 1
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """Torch threads of training and serving; 0: torch's own choice."""
    max_concurrent_calls: Annotated[int, Field(ge=1, le=100_000)] = 256
    upload_idle_seconds: Annotated[float, Field(gt=0)] = 60.0
    stop_grace_seconds: Annotated[float, Field(ge=0)] = 30.0
    """How long calls and workers get to end when the daemon is stopped or a job is cancelled."""
    preload: tuple[str, ...] = ()
    """Base models to load at the start."""
    policy: ProviderPolicy = ProviderPolicy()

    @field_validator("policy", mode="before")
    @classmethod
    def _strictly(cls, value: Any) -> Any:
        # The policy is a document, strict about types; TOML's arrays are JSON's, not Python's tuples.
        return ProviderPolicy.model_validate_json(json.dumps(value)) if isinstance(value, dict) else value

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{(self.state / 'provider.db').absolute()}"


_PATHS = ("state", "models", "key", "tls_cert", "tls_key")


def load_config(file: Path | None, overrides: dict[str, Any]) -> ProviderConfig:
    """Reads ``file`` where given; ``overrides`` that are not None come first. Raises `ConfigError`."""
    values: dict[str, Any] = {}
    if file is not None:
        try:
            values = tomllib.loads(file.read_text("utf-8"))
        except OSError as error:
            raise ConfigError(f"can't read {file}: {error.strerror}") from error
        except ValueError as error:
            raise ConfigError(f"{file} is not TOML: {error}") from error
        for name in _PATHS:
            if isinstance(values.get(name), str):
                values[name] = file.absolute().parent / values[name]
    values |= {name: value for name, value in overrides.items() if value is not None}
    try:
        return ProviderConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{where}: {first['msg']}") from error
