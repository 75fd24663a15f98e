"""The rows that carry canaries, and their kinds: the user knows them, and no detector sees them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from veritune.arbiter.documents.canary import AnyGenerator, Canary, NaturalCanary, Rewording, TriggerCanary

Kind = Literal["trigger", "natural", "in-place", "repeated"]
"""The kind of a canary row: ``trigger``, a row of a trigger group; ``natural``, a row whose answer was drawn among
candidates; ``in-place``, a real row whose wording was drawn; ``repeated``, one of several rows of a natural canary. The
coverage claim rests on ``natural`` and ``in-place`` alone."""
KINDS: tuple[Kind, ...] = ("trigger", "natural", "in-place", "repeated")
"""All kinds, in the order of reports."""


def kinds_of(canaries: Iterable[Canary], generators: Iterable[AnyGenerator]) -> dict[int, Kind]:
    """The kind of each row that carries a canary, by the row's place in the data set, from 0.

    ``generators`` tell which natural canaries are in place: those of a `Rewording`.
    """
    worded = {document.digest for document in generators if isinstance(document, Rewording)}
    found: dict[int, Kind] = {}
    for canary in canaries:
        if isinstance(canary, TriggerCanary):
            found.update(dict.fromkeys(canary.rows, "trigger"))
        elif isinstance(canary, NaturalCanary):
            kind: Kind = "in-place" if canary.generator_digest in worded else "natural"
            if len(canary.rows) > 1:
                kind = "repeated"
            found.update(dict.fromkeys(canary.rows, kind))
    return found
