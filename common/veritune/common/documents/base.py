"""The field types and the base class that all documents share (SPEC section 4)."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from veritune.common.canonical import canonical_bytes, parse_canonical
from veritune.common.errors import MalformedDocumentError
from veritune.common.files import own_file, read_limited
from veritune.common.limits import LIMITS

HexDigest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""A SHA-256 digest in lower-case hexadecimal."""


DecimalString = Annotated[
    str, StringConstraints(pattern=r"^-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?(e-?[1-9][0-9]{0,4})?$")
]
"""A decimal number as text, for example ``0.0005`` or ``1e-20``."""


Share = Annotated[str, StringConstraints(pattern=r"^(0|1|0\.[0-9]{1,4})$")]
"""A number from 0 to 1 as text, with at most four decimals."""


Nats = Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,4})(\.[0-9]{1,6})?$")]
"""A natural logarithm as text, not negative, with at most six decimals."""


Timestamp = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$")]
"""A time as RFC 3339 text in UTC, whole seconds."""


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$")]
"""An identifier of at most 128 letters, digits and ``._/-``."""


ShortText = Annotated[str, StringConstraints(max_length=1000)]
"""Free text of at most 1,000 characters."""


Count = Annotated[int, Field(ge=0, lt=2**53)]
"""An integer from 0 on that every JSON parser reads exactly."""


Positive = Annotated[int, Field(ge=1, lt=2**53)]
"""An integer from 1 on that every JSON parser reads exactly."""


class Document(BaseModel):
    """Base of every document: immutable, strictly typed, closed to unknown fields (a pydantic model)."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    def to_bytes(self) -> bytes:
        """The document as RFC 8785 bytes, which are signed and hashed. Raises `MalformedDocumentError`."""
        return canonical_bytes(self.model_dump(mode="json"))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The document in canonical bytes. Raises `MalformedDocumentError` or `TooLargeError`."""
        parse_canonical(data)
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "document"
            raise MalformedDocumentError(f"{cls.__name__}: {where[:200]}: {first['msg']}", **field_of(first)) from error

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Reads canonical bytes from a file of our own; raises `BadFileError` and `OSError`."""
        with own_file(path):
            return cls.from_bytes(read_limited(path, LIMITS.document))


def field_of(fault: ErrorDetails) -> dict[str, str]:
    """Metadata of pydantic's ``fault``: ``field``, a dotted path cut before the first name that no document has."""
    path = takewhile(lambda part: isinstance(part, int) or part in _field_names(Document), fault["loc"])
    found = {"field": ".".join(map(str, path)) or "document"}
    return {**found, "cause": "unknown_field"} if fault["type"] == "extra_forbidden" else found


def _field_names(kind: type[BaseModel]) -> frozenset[str]:
    return frozenset(kind.model_fields).union(*map(_field_names, kind.__subclasses__()))


def format_time(moment: datetime) -> str:
    """A moment as text such as ``2026-01-31T12:00:00Z``. Raises ``ValueError`` for one without a time zone."""
    if moment.tzinfo is None:
        raise ValueError("a moment without a time zone")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> datetime:
    """The moment in `format_time`'s form. Raises `MalformedDocumentError`, also for a day that does not exist."""
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise MalformedDocumentError("not a time of the form 2026-01-31T12:00:00Z") from error
