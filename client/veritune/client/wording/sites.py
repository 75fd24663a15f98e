"""A site: a place of a text, or several that go together, with the ways in which it may be written."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Span = tuple[int, int]


@dataclass(frozen=True)
class Site:
    """``spans`` (from left to right) may be written in ``count`` different ways; ``write(i)`` gives a text for each.

    Several spans make one site where a text would look odd if they went different ways: its full stops, for example.
    """

    spans: tuple[Span, ...]
    count: int
    write: Callable[[int], Sequence[str]]

    @classmethod
    def of(cls, match: re.Match[str], ways: Sequence[str], group: int | str = 0) -> Site | None:
        """A group of a match as one of several texts; what stands there is one of them, and its capital is kept.

        None where there is but one way.
        """
        found = match[group]
        if found[:1].isupper():
            ways = [way[:1].upper() + way[1:] for way in ways]
        return cls.together([match.span(group)], [[way] for way in [*ways, found]])

    @classmethod
    def together(cls, spans: Sequence[Span], ways: Sequence[Sequence[str]]) -> Site | None:
        """Several spans at once: each way has a text for every span. None where there is but one way."""
        different = list(dict.fromkeys(map(tuple, ways)))
        return cls(tuple(spans), len(different), different.__getitem__) if spans and len(different) > 1 else None

    @classmethod
    def joined(cls, sites: Sequence[Site | None], ways: int) -> Site | None:
        """Sites that go the same way, each having the same first ``ways`` ways; None where there is none."""
        found = [site for site in sites if site is not None]
        columns = [[site.write(way)[0] for site in found] for way in range(ways)]
        return cls.together([site.spans[0] for site in found], columns)

    def only(self, is_free: Callable[[Span], bool]) -> Site | None:
        """What is left of the site where some of its spans are taken."""
        kept = [is_free(span) for span in self.spans]
        if all(kept):
            return self
        if not any(kept):
            return None
        ways = [[t for t, keep in zip(self.write(i), kept, strict=True) if keep] for i in range(self.count)]
        return Site.together([span for span, keep in zip(self.spans, kept, strict=True) if keep], ways)
