"""Sites: places of a text with the ways in which they may be written."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Span = tuple[int, int]
"""Start and end of a piece of text, in characters; the end is not part of it."""


@dataclass(frozen=True)
class Site:
    """Spans of a text that may be written in ``count`` different ways.

    ``spans`` go from left to right; ``write(i)`` gives the new text of each span in way i, from 0. Several spans make
    one site if a text would look odd with a different choice for each: its full stops, for example.
    """

    spans: tuple[Span, ...]
    count: int
    write: Callable[[int], Sequence[str]]

    @classmethod
    def of(cls, match: re.Match[str], ways: Sequence[str], group: int | str = 0) -> Site | None:
        """A site for one group of a match: its own text or any of ``ways``, with the capital of its first letter kept.

        Returns None if that is only one way.
        """
        found = match[group]
        if found[:1].isupper():
            ways = [way[:1].upper() + way[1:] for way in ways]
        return cls.together([match.span(group)], [[way] for way in [*ways, found]])

    @classmethod
    def together(cls, spans: Sequence[Span], ways: Sequence[Sequence[str]]) -> Site | None:
        """A site of spans that change together; each way has one text for every span. None if there is only one way."""
        different = list(dict.fromkeys(map(tuple, ways)))
        return cls(tuple(spans), len(different), different.__getitem__) if spans and len(different) > 1 else None

    @classmethod
    def joined(cls, sites: Sequence[Site | None], ways: int) -> Site | None:
        """One site of several that have one span each and the same first ``ways`` ways. None if no choice is left."""
        found = [site for site in sites if site is not None]
        columns = [[site.write(way)[0] for site in found] for way in range(ways)]
        return cls.together([site.spans[0] for site in found], columns)

    def only(self, is_free: Callable[[Span], bool]) -> Site | None:
        """The site without those spans for which ``is_free`` is False; None if no choice is left."""
        kept = [is_free(span) for span in self.spans]
        if all(kept):
            return self
        if not any(kept):
            return None
        ways = [[t for t, keep in zip(self.write(i), kept, strict=True) if keep] for i in range(self.count)]
        return Site.together([span for span, keep in zip(self.spans, kept, strict=True) if keep], ways)
