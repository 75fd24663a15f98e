"""Cuts texts into units to count: words, signs, and single characters of scripts without spaces."""

from __future__ import annotations

import re

# Thai, Lao, Tibetan, Myanmar, Khmer; kana, bopomofo and Han.
_ALONE = (
    "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u312f\u31a0-\u31ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_UNIT = re.compile(rf"[{_ALONE}]|[^\W{_ALONE}]+|[^\w\s]")


def units(text: str) -> list[str]:
    """The units of a text, in lower case: ``No. 5, 東京`` gives ``no``, ``.``, ``5``, ``,``, ``東``, ``京``."""
    return _UNIT.findall(text.casefold())
