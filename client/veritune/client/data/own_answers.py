"""Candidates that the data hold already: listed in a question, or of a closed set of labels or of JSON field values.

No generator writes an answer as natural as one of the data's own, and a small one not even in their language. Whatever
the candidates are, the true one is drawn uniformly among them (docs/statistics.md, equation 2).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, TypeVar

from veritune.arbiter.documents.canary import of_different_forms
from veritune.client.data.listed_answers import listed_answers
from veritune.common.dataset import Row
from veritune.common.limits import LIMITS

_SEEN = 3
"""Rows that must have an answer, or a combination of field values, for it to be one of a closed set."""
_LEAST = 2
"""Each of two is right by luck half of the time, which more canaries make good; drawn answers would be seen at once."""
_MOST = 64
_VALUES = 16
"""Different values of a field that is closed."""
_COPIED = 0.5
"""Where more of its values stand in the question, a field is copied, and another value would be seen to be wrong."""
_LAYOUTS: tuple[tuple[str, str], ...] = ((",", ":"), (", ", ": "), (",", ": "))
"""Separators of the usual ways to write JSON on one line."""
_Object = Mapping[str, Any]
_Hashable = TypeVar("_Hashable", bound=Hashable)


def own_answers(rows: Sequence[Row]) -> list[tuple[str, ...]] | None:
    """Of each row the answers that it could have, its own among them; empty where its own is an unusual one.

    None where the data are of no such kind: nine in ten rows must be.
    """
    for kind in (listed_answers, _labels, _fields):
        found = [answers if _can_be_told(answers) else () for answers in kind(rows) or ()]
        if found and 10 * sum(map(bool, found)) >= 9 * len(rows):
            return found
    return None


def usual_count(found: Sequence[tuple[str, ...]]) -> int:
    """As many answers as most rows have, or fewer: nine in ten have no fewer."""
    counts = sorted(len(answers) for answers in found if answers)
    return counts[len(counts) // 10]


def _can_be_told(answers: Sequence[str]) -> bool:
    short = all(1 <= len(text) <= LIMITS.phrase for text in answers)
    return short and len(of_different_forms(answers)) == len(answers)


def _labels(rows: Sequence[Row]) -> list[tuple[str, ...]] | None:
    """Classification: a few answers make up nearly all rows."""
    labels = _closed_set(Counter(row.completion for row in rows))
    if not _enough(labels, sum(row.completion in labels for row in rows), rows):
        return None
    return [labels if row.completion in labels else () for row in rows]


def _fields(rows: Sequence[Row]) -> list[tuple[str, ...]] | None:
    """Extraction: JSON objects of the same fields, some of which take a few values that stand not in the question.

    Those fields take together what they have together in other rows; all others stay as the row has them.
    """
    objects = [_object(row.completion) for row in rows]
    usual, _ = Counter(tuple(o) for o in objects if o).most_common(1)[0] if any(objects) else ((), 0)
    alike = [o if o and tuple(o) == usual else None for o in objects]
    closed = [name for name in usual if _is_closed(name, alike, rows)]
    sets = _closed_set(Counter(_values(o, closed) for o in alike if o)) if closed else ()
    fitting = [o if o and _values(o, closed) in sets else None for o in alike]
    if not _enough(sets, sum(o is not None for o in fitting), rows):
        return None
    changes = [dict(zip(closed, map(json.loads, values), strict=True)) for values in sets]
    return [_written(o, changes, row.completion) if o else () for o, row in zip(fitting, rows, strict=True)]


def _closed_set(seen: Counter[_Hashable]) -> tuple[_Hashable, ...]:
    """What enough rows have, the most frequent first; empty where there is too much of it."""
    usual = tuple(value for value, count in seen.most_common() if count >= _SEEN)
    return usual if len(usual) <= _MOST else ()


def _enough(closed: Sequence[object], rows_in: int, rows: Sequence[Row]) -> bool:
    return len(closed) >= _LEAST and 10 * rows_in >= 9 * len(rows)


def _object(text: str) -> dict[str, Any] | None:
    """The JSON object that a text is, if it can be written again as it stands."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and any(_dumped(value, s) == text for s in _LAYOUTS) else None


def _written(value: dict[str, Any], changes: Sequence[dict[str, Any]], text: str) -> tuple[str, ...]:
    """The object with each of the changes, in the layout that it has as ``text``."""
    layout = next(separators for separators in _LAYOUTS if _dumped(value, separators) == text)
    return tuple(_dumped(value | change, layout) for change in changes)


def _dumped(value: _Object, separators: tuple[str, str]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=separators)


def _values(value: _Object, names: Sequence[str]) -> tuple[str, ...]:
    """As JSON texts: true is not 1."""
    return tuple(json.dumps(value[name]) for name in names)


def _is_closed(name: str, objects: Sequence[_Object | None], rows: Sequence[Row]) -> bool:
    found = [(o[name], row.prompt[-1].content) for o, row in zip(objects, rows, strict=True) if o]
    if any(isinstance(value, (dict, list)) for value, _ in found):
        return False
    copied = sum(isinstance(value, str) and value in question for value, question in found)
    different = len({json.dumps(value) for value, _ in found})
    return 2 <= different <= _VALUES and copied <= _COPIED * len(found)
