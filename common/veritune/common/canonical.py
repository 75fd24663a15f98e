"""Canonical JSON (RFC 8785) written and strictly parsed, and the digests over it (SPEC section 2)."""

from __future__ import annotations

import hashlib
import json
import math
import re
from typing import Any, NoReturn

import rfc8785

from veritune.common.errors import MalformedDocumentError, TooLargeError
from veritune.common.limits import LIMITS


def canonical_bytes(value: Any) -> bytes:
    """A JSON value as RFC 8785 bytes.

    Raises `MalformedDocumentError` for what JSON can't say exactly: NaN, integers of 2**53 or more, lone surrogates.
    """
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise MalformedDocumentError("a value has no canonical JSON form") from error


def sha256_hex(data: bytes) -> str:
    """SHA-256 of ``data`` in lower-case hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def labelled_digest(label: str, *parts: bytes) -> bytes:
    """SHA-256(label || 0x00 || for each part its length as 8 big-endian bytes and the part).

    The versioned label keeps a hash made for one purpose from serving another (SPEC section 2.3).
    """
    state = hashlib.sha256(label.encode("ascii") + b"\x00")
    for part in parts:
        state.update(len(part).to_bytes(8, "big") + part)
    return state.digest()


def parse_json(data: bytes, limit: int = LIMITS.document) -> Any:
    """The value of UTF-8 JSON text.

    Raises `TooLargeError` over ``limit`` bytes, and `MalformedDocumentError` for what is no JSON, deep nesting,
    duplicate keys, NaN, infinities and numbers that overflow a float.
    """
    if len(data) > limit:
        raise TooLargeError(f"JSON of {len(data)} bytes is over the limit of {limit}")
    if _is_deeper(data, LIMITS.json_depth):
        raise MalformedDocumentError(f"JSON is nested deeper than {LIMITS.json_depth} levels", cause="depth")
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise MalformedDocumentError("not valid UTF-8 JSON", cause="json") from error


def parse_canonical(data: bytes, limit: int = LIMITS.document) -> Any:
    """Like `parse_json`; raises `MalformedDocumentError` too where the bytes are not the value's RFC 8785 form."""
    value = parse_json(data, limit)
    if canonical_bytes(value) != data:
        raise MalformedDocumentError("JSON is not in its canonical form (RFC 8785)", cause="canonical")
    return value


def _is_deeper(data: bytes, limit: int) -> bool:
    """True where brackets outside strings nest deeper than ``limit``, so that hostile depth never reaches the parser.

    Linear in time and constant in memory for every input: it runs on bytes whose signature nobody has checked.
    """
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(data):
        token = match[0]
        if token in b"[{":
            depth += 1
            if depth > limit:
                return True
        elif token in b"]}":
            depth -= 1
    return False


# Brackets inside strings don't count, so strings are tokens too. Each alternative takes what it can and gives nothing
# back ("++", "*+": possessive), and a string without an end is one token up to the end of the input, a lone last
# backslash included: otherwise each quote inside it would begin the search again, quadratic in the length.
_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise MalformedDocumentError("duplicate key in a JSON object", cause="duplicate")
        result[key] = value
    return result


def _refuse(constant: str) -> NoReturn:
    raise MalformedDocumentError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise MalformedDocumentError("a number is too large for JSON's double precision")
    return number
