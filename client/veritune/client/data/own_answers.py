"""Candidate answers taken from the user's data: listed in a question, a set of labels, or JSON field values.

No generator writes an answer as natural as the data's own, and a small model may not even write their language. However
the candidates are found, the true one is drawn uniformly among them (docs/statistics.md, equation 2).
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
"""Fewest rows that must have an answer, or a combination of field values, for it to belong to a closed set."""
_LEAST = 2
"""Fewest members of a closed set. Each of two is right by luck half of the time, and more canaries make up for that;
answers that a model writes instead would be recognised at once."""
_MOST = 64
_VALUES = 16
"""Most different values of a field that may be changed."""
_COPIED = 0.5
"""Largest share of a field's values that may occur in the questions. Above it the field is copied from the question,
and another value would be seen to be wrong."""
_LAYOUTS: tuple[tuple[str, str], ...] = ((",", ":"), (", ", ": "), (",", ": "))
"""Separators of the usual ways to write JSON on one line."""
_Object = Mapping[str, Any]
_Hashable = TypeVar("_Hashable", bound=Hashable)


def own_answers(rows: Sequence[Row]) -> list[tuple[str, ...]] | None:
    """For each row, the answers that it could have had, its own among them; empty if its own answer is unusual.

    Returns None if the data are neither multiple choice, nor labels, nor JSON objects with fields of few values; nine
    in ten rows must be of one of these kinds.
    """
    for kind in (listed_answers, _labels, _fields):
        found = [answers if _can_be_told(answers) else () for answers in kind(rows) or ()]
        if found and 10 * sum(map(bool, found)) >= 9 * len(rows):
            return found
    return None


def usual_count(found: Sequence[tuple[str, ...]]) -> int:
    """The number of answers that at least nine in ten rows have. ``found`` comes from `own_answers`."""
    counts = sorted(len(answers) for answers in found if answers)
    return counts[len(counts) // 10]


def _can_be_told(answers: Sequence[str]) -> bool:
    short = all(1 <= len(text) <= LIMITS.phrase for text in answers)
    return short and len(of_different_forms(answers)) == len(answers)


def _labels(rows: Sequence[Row]) -> list[tuple[str, ...]] | None:
    """For classification data, where a few answers make up nearly all rows, those labels for each row; else None."""
    labels = _closed_set(Counter(row.completion for row in rows))
    if not _enough(labels, sum(row.completion in labels for row in rows), rows):
        return None
    return [labels if row.completion in labels else () for row in rows]


def _fields(rows: Sequence[Row]) -> list[tuple[str, ...]] | None:
    """For JSON objects with the same fields, each row's object with other values in some fields; else None.

    Only fields with few values that the question does not contain are changed, together, to the values that they have
    together in other rows.
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
    """The values that at least `_SEEN` rows have, the most frequent first; empty if there are more than `_MOST`."""
    usual = tuple(value for value, count in seen.most_common() if count >= _SEEN)
    return usual if len(usual) <= _MOST else ()


def _enough(closed: Sequence[object], rows_in: int, rows: Sequence[Row]) -> bool:
    return len(closed) >= _LEAST and 10 * rows_in >= 9 * len(rows)


def _object(text: str) -> dict[str, Any] | None:
    """The JSON object that ``text`` holds; None if it isn't one or has none of the `_LAYOUTS`."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and any(_dumped(value, s) == text for s in _LAYOUTS) else None


def _written(value: dict[str, Any], changes: Sequence[dict[str, Any]], text: str) -> tuple[str, ...]:
    """One JSON text for each of the changes to ``value``, in the layout of ``text``."""
    layout = next(separators for separators in _LAYOUTS if _dumped(value, separators) == text)
    return tuple(_dumped(value | change, layout) for change in changes)


def _dumped(value: _Object, separators: tuple[str, str]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=separators)


def _values(value: _Object, names: Sequence[str]) -> tuple[str, ...]:
    """The named fields' values as JSON texts, because Python takes true and 1 for equal."""
    return tuple(json.dumps(value[name]) for name in names)


def _is_closed(name: str, objects: Sequence[_Object | None], rows: Sequence[Row]) -> bool:
    found = [(o[name], row.prompt[-1].content) for o, row in zip(objects, rows, strict=True) if o]
    if any(isinstance(value, (dict, list)) for value, _ in found):
        return False
    copied = sum(isinstance(value, str) and value in question for value, question in found)
    different = len({json.dumps(value) for value, _ in found})
    return 2 <= different <= _VALUES and copied <= _COPIED * len(found)
