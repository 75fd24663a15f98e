"""A canary alone from its bytes; the product reads canaries as parts of an opening."""

from __future__ import annotations

from pydantic import TypeAdapter, ValidationError

from veritune.arbiter.documents.canary import AnyCanary, Canary
from veritune.common.canonical import parse_canonical
from veritune.common.errors import MalformedDocumentError

_ADAPTER: TypeAdapter[Canary] = TypeAdapter(AnyCanary)


def parse_canary(data: bytes) -> Canary:
    """The canary in canonical bytes. Raises `MalformedDocumentError` or `TooLargeError`."""
    parse_canonical(data)
    try:
        return _ADAPTER.validate_json(data)
    except ValidationError as error:
        raise MalformedDocumentError("not a canary", cause="canary") from error
