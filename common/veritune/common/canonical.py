"""Canonical JSON: RFC 8785 bytes out, strict parsing in (SPEC section 2)."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, NoReturn

import rfc8785

from veritune.common.errors import MalformedDocumentError, TooLargeError
from veritune.common.limits import LIMITS


def canonical_bytes(value: Any) -> bytes:
    """RFC 8785 serialisation of a JSON value.

    Raises `MalformedDocumentError` for what JSON can't say exactly: NaN, integers of 2**53 or more, lone surrogates.
    """
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise MalformedDocumentError("a value has no canonical JSON form") from error


def sha256_hex(data: bytes) -> str:
    """SHA-256 in lower-case hexadecimal."""
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
    """Parses UTF-8 JSON; refuses over-long or deep input, duplicate keys, NaN, infinities and floats' overflow."""
    if len(data) > limit:
        raise TooLargeError(f"JSON of {len(data)} bytes is over the limit of {limit}")
    if _depth(data) > LIMITS.json_depth:
        raise MalformedDocumentError(f"JSON is nested deeper than {LIMITS.json_depth} levels")
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise MalformedDocumentError("not valid UTF-8 JSON") from error


def parse_canonical(data: bytes, limit: int = LIMITS.document) -> Any:
    """Like `parse_json`, and the bytes must be the value's one RFC 8785 form."""
    value = parse_json(data, limit)
    if canonical_bytes(value) != data:
        raise MalformedDocumentError("JSON is not in its canonical form (RFC 8785)")
    return value


def _depth(data: bytes) -> int:
    """Deepest nesting of brackets outside strings; linear, so that hostile depth never reaches the parser."""
    depth = deepest = 0
    for match in _TOKENS.finditer(data):
        token = match[0]
        if token in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif token in b"]}":
            depth -= 1
    return deepest


# Strings are matched so that brackets inside them don't count.
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise MalformedDocumentError("duplicate key in a JSON object")
        result[key] = value
    return result


def _refuse(constant: str) -> NoReturn:
    raise MalformedDocumentError(f"{constant} is not JSON")
