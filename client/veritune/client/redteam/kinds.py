"""Which rows carry canaries, and of which kind: what the user knows and no detector sees."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from veritune.arbiter.documents.canary import AnyGenerator, Canary, NaturalCanary, Rewording, TriggerCanary

Kind = Literal["trigger", "natural", "in-place", "repeated"]
"""A row of a trigger group; one whose answer a model wrote; a real row whose wording was drawn; a row of a natural
canary that stands in several. The coverage claim rests on the second and third alone."""
KINDS: tuple[Kind, ...] = ("trigger", "natural", "in-place", "repeated")


def kinds_of(canaries: Iterable[Canary], generators: Iterable[AnyGenerator]) -> dict[int, Kind]:
    """The kind of each row of the data set that carries a canary, by its place from 0."""
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
