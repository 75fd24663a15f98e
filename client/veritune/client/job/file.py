"""`veritune.toml`: one file beside the data that says who trains what, on which terms.

Every section maps to a document of the contract, so that a reader of the file knows what will be signed.
Decimal fields may be written as TOML numbers: their text is taken as it stands and never becomes a float.
"""

from __future__ import annotations

import json
import re
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator

from veritune.arbiter.documents.rewording import Rewording
from veritune.client.errors import JobError
from veritune.client.job.canary_plan import CanaryPlan
from veritune.client.wording.draw import check_rewording
from veritune.common.documents.base import Name, ShortText
from veritune.common.documents.manifest import Policy, Price, Training
from veritune.common.errors import PlanError, TooLargeError
from veritune.common.files import read_limited
from veritune.common.limits import LIMITS, MIB

JOB_FILE = "veritune.toml"
PathText = Annotated[str, StringConstraints(min_length=1, max_length=4096)]


def parse_duration(text: str) -> timedelta:
    """``90s``, ``30m``, ``12h`` or ``7d``. Raises ValueError."""
    match = re.fullmatch(r"([0-9]{1,6})([smhd])", text)
    if not match:
        raise ValueError("must be a number and a unit, one of s, m, h, d; for example 12h")
    return timedelta(seconds=int(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]])


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class DataSection(_Section):
    """The user's rows."""

    file: PathText
    source: Name = "user"
    licence: ShortText = "unspecified"
    too_long: Literal["refuse", "leave-out", "send"] = "refuse"
    """What becomes of rows over ``training.max_sequence_length``, which training would cut. By default providers don't
    train on data sets with such rows."""


class ClientSection(_Section):
    """The user's signing key; its public half lies beside it with the suffix ``.pub``."""

    key: PathText = "client.key"


class ProviderSection(_Section):
    """Where the provider listens and which keys it is known by."""

    address: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:\[\]-]+:[0-9]{1,5}$", max_length=300)]
    public_key: PathText
    tls_ca: PathText | None = None
    """PEM certificates to trust instead of the system's."""


class ModelSection(_Section):
    """The base model: its name with the provider and the user's own copy of it."""

    name: Name
    folder: PathText


class GeneratorSection(_Section):
    """Who writes the canaries' texts. A local model sees its own probabilities, so that signatures are certified; an
    OpenAI-compatible endpoint does not, and the report says that its p-value rests on an estimate."""

    kind: Literal["transformers", "openai"] = "transformers"
    folder: PathText | None = None
    """transformers: a model folder; the base model's unless given."""
    prompt_by: Literal["rows", "model"] = "rows"
    """transformers: who makes the prompt P; ``model`` asks the model for one, as the paper's M_prompt."""
    url: Annotated[str, StringConstraints(max_length=1000)] = ""
    """openai: up to and without ``/chat/completions``."""
    model: Annotated[str, StringConstraints(max_length=200)] = ""
    samples: Annotated[int, Field(ge=2, le=10_000)] = 64
    """openai: how many are drawn for an estimate (the paper draws 1,600)."""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.kind == "openai" and not (self.url and self.model):
            raise ValueError("an openai generator needs url and model")
        return self


class ChallengeSection(_Section):
    """How the challenge is asked and what is measured beside it."""

    max_tokens: Annotated[int, Field(ge=8, le=LIMITS.max_tokens)] = 64
    """Must leave room for the longest signature."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    batch_size: Annotated[int, Field(ge=1, le=1024)] = 32
    calls_at_once: Annotated[int, Field(ge=1, le=64)] = 8
    """Calls to the provider's endpoint that may be under way together."""
    task_rows: Annotated[int, Field(ge=0, le=100_000)] = 32
    """Held-out rows for the score of the task before and after; 0 leaves it out."""
    task_tokens: Annotated[int, Field(ge=1, le=LIMITS.max_tokens)] = 96
    modes: Annotated[tuple[Literal["delivered", "served"], ...], Field(min_length=1, max_length=2)] = (
        "delivered",
        "served",
    )
    """Ways of looking at the model; must hold every mode of the policy."""


class DeadlineSection(_Section):
    """Each is counted from the moment the manifest is signed: ``90s``, ``30m``, ``12h``, ``7d``."""

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
    """The whole file."""

    data: DataSection
    client: ClientSection = ClientSection()
    provider: ProviderSection
    model: ModelSection
    generator: GeneratorSection = GeneratorSection()
    training: Training = Training()
    canaries: CanaryPlan = CanaryPlan()
    rewording: Rewording | None = None
    """How answers are worded, for canaries in place. Its examples are found when preparing."""
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
    """A job file with its paths resolved against the folder that it lies in."""

    def __init__(self, path: Path, file: JobFile) -> None:
        self.path = path
        self.folder = path.parent
        self.file = file

    @classmethod
    def load(cls, path: Path | str) -> Job:
        """Reads and checks a job file; a folder stands for the `veritune.toml` in it. Raises `JobError`."""
        path = Path(path)
        if path.is_dir():
            path = path / JOB_FILE
        try:
            data = read_limited(path, MIB)
        except OSError as error:
            raise JobError(f"can't read {path}: {error.strerror}; `veritune init DATA` writes one") from error
        except TooLargeError as error:
            raise JobError(f"{path} is over 1 MiB") from error
        return cls(path.resolve(), parse_job(data, path.name))

    @property
    def data(self) -> Path:
        """The user's rows."""
        return self._resolve(self.file.data.file)

    @property
    def client_key(self) -> Path:
        """The user's private key."""
        return self._resolve(self.file.client.key)

    @property
    def provider_key(self) -> Path:
        """The provider's public key."""
        return self._resolve(self.file.provider.public_key)

    @property
    def tls_ca(self) -> Path | None:
        """Certificates to trust; None for the system's."""
        return None if self.file.provider.tls_ca is None else self._resolve(self.file.provider.tls_ca)

    @property
    def model(self) -> Path:
        """The user's copy of the base model."""
        return self._resolve(self.file.model.folder)

    @property
    def generator_folder(self) -> Path:
        """The model that draws the canaries, where a local one does."""
        folder = self.file.generator.folder
        return self.model if folder is None else self._resolve(folder)

    def _resolve(self, text: str) -> Path:
        return self.folder / Path(text).expanduser()


def parse_job(data: bytes, name: str = JOB_FILE) -> JobFile:
    """Parses the file's bytes. Raises `JobError` naming the key and the line."""
    try:
        text = data.decode("utf-8")
        raw = _with_weight(tomllib.loads(text, parse_float=str))
        # Through JSON, where strict models take an array for a tuple.
        return JobFile.model_validate_json(json.dumps(_decimals_as_text(raw, JobFile)))
    except UnicodeDecodeError as error:
        raise JobError(f"{name} is not UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise JobError(f"{name}: {error}") from error
    except RecursionError as error:
        raise JobError(f"{name} is nested too deeply") from error
    except TypeError as error:
        raise JobError(f"{name}: dates and times have no meaning here") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        keys = [part for part in first["loc"] if isinstance(part, str)]
        line = line_of(text, keys)
        where = f"{name}, line {line}" if line else name
        raise JobError(f"{where}: {'.'.join(keys) or 'job'}: {_plain(first['msg'])}") from error


def _with_weight(raw: dict[str, Any]) -> dict[str, Any]:
    """``policy.base_weight`` is 0 by default where every row is worded at random.

    Training on random wordings wipes out which of them the base model likes, so that its score is noise
    (`benchmarks/paper/base_weight.py`).
    """
    canaries, policy = raw.get("canaries"), raw.get("policy", {})
    if isinstance(canaries, dict) and canaries.get("reword_all") is True and isinstance(policy, dict):
        return {**raw, "policy": {"base_weight": "0", **policy}}
    return raw


def line_of(text: str, keys: list[str]) -> int:
    """The line, from 1, where a dotted key or the deepest table of it stands; 0 when it stands nowhere."""
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
    """Whole numbers as text where the document wants a decimal string; `tomllib` has left fractions as text."""
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
