"""The rewording rule for JSON objects: the order of the keys and the spaces between tokens; every value stays."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from veritune.client.wording.sites import Site
from veritune.common.limits import LIMITS

_MOST_KEYS = 64


@dataclass(frozen=True)
class _Style:
    comma: str
    colon: str
    indent: str | None
    """White space of one level; None if all is on one line."""
    ascii: bool
    """True if characters outside ASCII are written as escapes."""


def json_site(text: str) -> Iterator[Site]:
    """One site for a text that is a JSON object: the order of its top-level keys, and the spaces of its separators.

    Lists and inner objects keep their order, numbers their spelling, and an object on several lines its indentation.
    There is no site where a key occurs twice or a value is not one of RFC 8259 (``NaN``).
    """
    try:
        value = json.loads(
            text, parse_float=_Literal, parse_int=_Literal, parse_constant=_no_constant, object_pairs_hook=_pairs
        )
        if not isinstance(value, dict) or not 1 <= len(value) <= _MOST_KEYS:
            return
        start = len(text) - len(text.lstrip())
        end = len(text.rstrip())
        indent = _indent(text[start:end])
        escaped = text.isascii() and "\\u" in text
        styles = [_Style(", ", ": ", indent, escaped)]
        if indent is None:
            styles.append(_Style(",", ":", None, escaped))
        _dump(value, styles[0], 0)
    except (ValueError, RecursionError):
        return

    def write(choice: int) -> tuple[str]:
        order, style = divmod(choice, len(styles))
        keys, left = [], list(value)
        for size in range(len(value), 0, -1):
            order, place = divmod(order, size)
            keys.append(left.pop(place))
        return (_dump({key: value[key] for key in keys}, styles[style], 0),)

    ways = math.factorial(len(value)) * len(styles)
    if ways > 1:
        yield Site(((start, end),), ways, write)


class _Literal(str):
    """The text of a number as it was written, because 1.0 must not become 1."""

    __slots__ = ()


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key stands twice")
    return value


def _indent(text: str) -> str | None:
    """The white space at the beginning of the second line; None if there is only one line."""
    lines = text.splitlines()
    return None if len(lines) == 1 else lines[1][: len(lines[1]) - len(lines[1].lstrip(" \t"))]


def _dump(value: Any, style: _Style, depth: int) -> str:
    if depth > LIMITS.json_depth:
        raise ValueError("nested too deep")
    if isinstance(value, _Literal):
        return str(value)
    if isinstance(value, str):
        return _quoted(value, style)
    if isinstance(value, dict):
        items = [f"{_quoted(k, style)}{style.colon}{_dump(v, style, depth + 1)}" for k, v in value.items()]
        return _joined("{}", items, style, depth)
    if isinstance(value, list):
        return _joined("[]", [_dump(item, style, depth + 1) for item in value], style, depth)
    return json.dumps(value)


def _joined(brackets: str, items: list[str], style: _Style, depth: int) -> str:
    if style.indent is None or not items:
        return brackets[0] + style.comma.join(items) + brackets[1]
    line = "\n" + style.indent * (depth + 1)
    return brackets[0] + line + f",{line}".join(items) + "\n" + style.indent * depth + brackets[1]


def _quoted(text: str, style: _Style) -> str:
    """A JSON string; a lone surrogate, which UTF-8 can't hold, is escaped in every style."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(text)
    return json.dumps(text, ensure_ascii=style.ascii)
