"""Which rows carry canaries, and of which kind: what the user knows and no detector sees."""

from __future__ import annotations

from typing import Literal

from veritune.client.canary import NaturalCanary, TriggerCanary
from veritune.client.rewording import Rewording
from veritune.client.sealed import Secrets

Kind = Literal["trigger", "natural", "in-place", "repeated"]
"""A row of a trigger group; one whose answer a model wrote; a real row whose wording was drawn; a row of a natural
canary that stands in several. The coverage claim rests on the second and third alone."""
KINDS: tuple[Kind, ...] = ("trigger", "natural", "in-place", "repeated")


def kinds_of(secrets: Secrets) -> dict[int, Kind]:
    """The kind of each row of the data set that carries a canary, by its place from 0."""
    worded = {document.digest for document in secrets.generators if isinstance(document, Rewording)}
    found: dict[int, Kind] = {}
    for leaf in secrets.leaves:
        canary = leaf.canary
        if isinstance(canary, TriggerCanary):
            found.update(dict.fromkeys(canary.rows, "trigger"))
        elif isinstance(canary, NaturalCanary):
            kind: Kind = "in-place" if canary.generator_digest in worded else "natural"
            if len(canary.rows) > 1:
                kind = "repeated"
            found.update(dict.fromkeys(canary.rows, kind))
    return found
