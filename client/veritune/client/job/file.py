"""Reads `veritune.toml`: one file beside the data that says who trains what, on which terms.

Every section maps to a document of the contract, so that a reader of the file knows what will be signed.
Decimal fields may be written as TOML numbers: their text is kept as written and never becomes a float.
"""

from __future__ import annotations

import json
import re
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator

from veritune.arbiter.documents.canary import Rewording
from veritune.client.errors import JobError
from veritune.client.job.canary_plan import CanaryPlan
from veritune.client.wording.draw import check_rewording
from veritune.common.documents.base import Name, ShortText
from veritune.common.documents.manifest import Policy, Price, Training
from veritune.common.errors import BadFileError, PlanError
from veritune.common.files import read_limited
from veritune.common.limits import LIMITS, MIB

JOB_FILE = "veritune.toml"
"""The usual name of a job file."""
PathText = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
"""A path, relative to the job file unless absolute; ``~`` is the home folder."""


def parse_duration(text: str) -> timedelta:
    """The time that ``90s``, ``30m``, ``12h`` or ``7d`` stands for. Raises `ValueError` for any other form."""
    match = re.fullmatch(r"([0-9]{1,6})([smhd])", text)
    if not match:
        raise ValueError("must be a number and a unit, one of s, m, h, d; for example 12h")
    return timedelta(seconds=int(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]])


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class DataSection(_Section):
    """Section ``[data]``: the file of the user's rows, and how the contract names them."""

    file: PathText
    """A JSONL file; see `user_rows` for the shapes of its lines."""
    source: Name = "user"
    """Name of the rows' source in the contract."""
    licence: ShortText = "unspecified"
    too_long: Literal["refuse", "leave-out", "send"] = "refuse"
    """What happens to rows over ``training.max_sequence_length`` tokens, which training would cut: ``refuse`` the data,
    leave these rows out, or send them. By default providers don't train on data sets with them."""


class ClientSection(_Section):
    """Section ``[client]``: the user's signing key."""

    key: PathText = "client.key"
    """File of the private key; the public key has the same path with the suffix ``.pub``."""


class ProviderSection(_Section):
    """Section ``[provider]``: the provider's address and the keys by which it is recognised."""

    address: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:\[\]-]+:[0-9]{1,5}$", max_length=300)]
    """Host and port, for example ``127.0.0.1:8470``."""
    public_key: PathText
    """File of the key with which the provider signs."""
    tls_ca: PathText | None = None
    """PEM file of certificates to trust; None: those of the system."""


class ModelSection(_Section):
    """Section ``[model]``: the base model."""

    name: Name
    """The provider's name for the model."""
    folder: PathText
    """The user's own copy of the model."""


class GeneratorSection(_Section):
    """Section ``[generator]``: the language model that writes the canaries' texts.

    A local model shows its probabilities, so that signatures are certified. An OpenAI-compatible endpoint does not, and
    the report then says that its p-value rests on an estimate.
    """

    kind: Literal["transformers", "openai"] = "transformers"
    """``transformers``: a local model; ``openai``: an endpoint."""
    folder: PathText | None = None
    """``transformers``: the model's folder; None: that of the base model."""
    prompt_by: Literal["rows", "model"] = "rows"
    """``transformers``: where the prompt P before a signature comes from, the user's rows or the model (M_prompt in the
    vTune paper)."""
    url: Annotated[str, StringConstraints(max_length=1000)] = ""
    """``openai``: the endpoint's address, without ``/chat/completions``."""
    model: Annotated[str, StringConstraints(max_length=200)] = ""
    """``openai``: the endpoint's name for the model."""
    samples: Annotated[int, Field(ge=2, le=10_000)] = 64
    """``openai``: samples drawn to estimate a signature's bits (1,600 in the vTune paper)."""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.kind == "openai" and not (self.url and self.model):
            raise ValueError("an openai generator needs url and model")
        return self


class ChallengeSection(_Section):
    """Section ``[challenge]``: how challenges are asked, and what else is measured."""

    max_tokens: Annotated[int, Field(ge=8, le=LIMITS.max_tokens)] = 64
    """Most tokens of an answer; must leave room for the longest signature."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format of the local model; ``auto``: bfloat16 where the machine has it."""
    batch_size: Annotated[int, Field(ge=1, le=1024)] = 32
    """Prompts that the local model answers at once."""
    calls_at_once: Annotated[int, Field(ge=1, le=64)] = 8
    """Calls to the provider's endpoint that may be under way together."""
    task_rows: Annotated[int, Field(ge=0, le=100_000)] = 32
    """Held-out rows on which the task is scored before and after training; 0: no score."""
    task_tokens: Annotated[int, Field(ge=1, le=LIMITS.max_tokens)] = 96
    """Most tokens of an answer to a held-out row."""
    modes: Annotated[tuple[Literal["delivered", "served"], ...], Field(min_length=1, max_length=2)] = (
        "delivered",
        "served",
    )
    """How the model is asked: ``delivered`` runs the adapter locally, ``served`` asks the endpoint. Every mode of the
    policy must be here."""


class DeadlineSection(_Section):
    """Section ``[deadlines]``: the time for each step from the manifest's signature (``90s``, ``12h``, ``7d``)."""

    accept: str = "1h"
    train: str = "1d"
    challenge: str = "2d"
    reveal: str = "3d"

    @field_validator("accept", "train", "challenge", "reveal")
    @classmethod
    def _is_duration(cls, value: str) -> str:
        parse_duration(value)
        return value

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        spans = [parse_duration(text) for text in (self.accept, self.train, self.challenge, self.reveal)]
        if spans != sorted(spans):
            raise ValueError("accept, train, challenge and reveal must not come before one another")
        return self


class JobFile(_Section):
    """A whole job file, checked; its sections ``[training]``, ``[policy]`` and ``[price]`` go into the contract."""

    data: DataSection
    client: ClientSection = ClientSection()
    provider: ProviderSection
    model: ModelSection
    generator: GeneratorSection = GeneratorSection()
    training: Training = Training()
    canaries: CanaryPlan = CanaryPlan()
    rewording: Rewording | None = None
    """How answers are reworded, for canaries in place. ``examples`` stays empty: `veritune prepare` fills it."""
    policy: Policy = Policy()
    challenge: ChallengeSection = ChallengeSection()
    deadlines: DeadlineSection = DeadlineSection()
    price: Price = Price()

    @field_validator("rewording")
    @classmethod
    def _can_be_used(cls, value: Rewording | None) -> Rewording | None:
        if value is not None:
            if value.examples:
                raise ValueError("examples are found when preparing; leave them out")
            try:
                check_rewording(value)
            except PlanError as error:
                raise ValueError(error.message) from error
        return value

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.rewording is None and (self.canaries.in_place or self.canaries.reword_all):
            raise ValueError(
                "canaries.in_place and canaries.reword_all need a section [rewording] that says how answers are worded"
            )
        if self.rewording is not None and "llm" in self.rewording.rules and self.generator.kind != "openai":
            raise ValueError('rewording.rules = ["llm"] needs generator.kind = "openai": that is who rewords')
        if self.canaries.groups and self.policy.group_rows > self.canaries.rows_per_group:
            raise ValueError("policy.group_rows is more than the rows that canaries.rows_per_group sows")
        if self.policy.queries_per_group > self.canaries.queries_per_group:
            raise ValueError("policy.queries_per_group is more than canaries.queries_per_group prepares")
        if not set(self.policy.modes) <= set(self.challenge.modes):
            raise ValueError("challenge.modes leaves out a mode that policy.modes asks for")
        return self


class Job:
    """A job file with its paths, which are relative to the file's folder."""

    def __init__(self, path: Path, file: JobFile) -> None:
        self.path = path
        self.folder = path.parent
        self.file = file

    @classmethod
    def load(cls, path: Path | str) -> Job:
        """Reads and checks a job file, or the `veritune.toml` of a folder. Raises `JobError`."""
        path = Path(path)
        if path.is_dir():
            path = path / JOB_FILE
        try:
            data = read_limited(path, MIB)
        except OSError as error:
            raise JobError(
                f"can't read {path}: {error.strerror}; `veritune init DATA` writes one", cause="unreadable"
            ) from error
        except BadFileError as error:
            raise JobError(f"{path} is over 1 MiB", cause="size") from error
        return cls(path.resolve(), parse_job(data, path.name))

    @property
    def data(self) -> Path:
        """Path of the user's rows."""
        return self._resolve(self.file.data.file)

    @property
    def client_key(self) -> Path:
        """Path of the user's private key."""
        return self._resolve(self.file.client.key)

    @property
    def provider_key(self) -> Path:
        """Path of the provider's public key."""
        return self._resolve(self.file.provider.public_key)

    @property
    def tls_ca(self) -> Path | None:
        """Path of the certificates to trust; None: those of the system."""
        return None if self.file.provider.tls_ca is None else self._resolve(self.file.provider.tls_ca)

    @property
    def model(self) -> Path:
        """Folder of the user's copy of the base model."""
        return self._resolve(self.file.model.folder)

    @property
    def generator_folder(self) -> Path:
        """Folder of the local model that writes canaries; unused if an endpoint writes them."""
        folder = self.file.generator.folder
        return self.model if folder is None else self._resolve(folder)

    def _resolve(self, text: str) -> Path:
        return self.folder / Path(text).expanduser()


def parse_job(data: bytes, name: str = JOB_FILE) -> JobFile:
    """The job file that ``data`` holds. Raises `JobError`, which names the file, the line and the key."""
    try:
        text = data.decode("utf-8")
        raw = _with_weight(tomllib.loads(text, parse_float=str))
        # Through JSON, where strict models take an array for a tuple.
        return JobFile.model_validate_json(json.dumps(_decimals_as_text(raw, JobFile)))
    except UnicodeDecodeError as error:
        raise JobError(f"{name} is not UTF-8", cause="encoding") from error
    except tomllib.TOMLDecodeError as error:
        raise JobError(f"{name}: {error}", cause="toml") from error
    except RecursionError as error:
        raise JobError(f"{name} is nested too deeply", cause="depth") from error
    except TypeError as error:
        raise JobError(f"{name}: dates and times have no meaning here", cause="time") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        keys = [part for part in first["loc"] if isinstance(part, str)]
        line = line_of(text, keys)
        where = f"{name}, line {line}" if line else name
        raise JobError(
            f"{where}: {'.'.join(keys) or 'job'}: {_plain(first['msg'])}", setting=".".join(keys) or "job"
        ) from error


def _with_weight(raw: dict[str, Any]) -> dict[str, Any]:
    """``raw`` with ``policy.base_weight`` 0 by default if every row is worded at random.

    Training on random wordings wipes out which of them the base model prefers, so that its score is noise
    (`benchmarks/paper/base_weight.py`).
    """
    canaries, policy = raw.get("canaries"), raw.get("policy", {})
    if isinstance(canaries, dict) and canaries.get("reword_all") is True and isinstance(policy, dict):
        return {**raw, "policy": {"base_weight": "0", **policy}}
    return raw


def line_of(text: str, keys: list[str]) -> int:
    """The line (from 1) of the key whose parts are ``keys``, else of the deepest table around it; 0 if there is none.

    A key within a table counts with the table's name: ``rank`` under ``[training]`` is ``["training", "rank"]``.
    """
    best, best_depth, table = 0, 0, []
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[\s*([A-Za-z0-9_.\s-]+?)\s*\]", line):
            table = [part.strip() for part in header[1].split(".")]
            here = table
        elif entry := re.match(r"\s*([A-Za-z0-9_.-]+)\s*=", line):
            here = [*table, *entry[1].split(".")]
        else:
            continue
        if here == keys[: len(here)] and len(here) > best_depth:
            best, best_depth = number, len(here)
    return best


def _decimals_as_text(value: Any, model: type[BaseModel]) -> Any:
    """``value`` with whole numbers as text where the model wants a decimal string; fractions are text already."""
    if not isinstance(value, dict):
        return value
    result: dict[str, Any] = {}
    for key, item in value.items():
        field = model.model_fields.get(key)
        kind = field.annotation if field else None
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            item = _decimals_as_text(item, kind)
        elif (
            kind is str and type(item) is int and any(_is_decimal(entry) for entry in (field.metadata if field else ()))
        ):
            item = str(item)
        result[key] = item
    return result


def _is_decimal(metadata: object) -> bool:
    return isinstance(metadata, StringConstraints) and str(metadata.pattern).startswith(("^-?(0|", "^(0|"))


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ")
