"""Assembling the training set: all rows in one random order, and the places of each canary's rows in it.

This is the last third of Algorithm 1 of vTune (`veritune.client.sowing.sow`): only the order is left to be drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from veritune.arbiter.documents.canary import (
    AnyGenerator,
    Canary,
    Chat,
    Generator,
    NaturalCanary,
    Rewording,
    TriggerCanary,
)
from veritune.client.generation.protocols import DrawnSignature
from veritune.client.randomness import SecretStream
from veritune.client.sowing.in_place import RewrittenRows
from veritune.client.sowing.naturals import Natural
from veritune.common.dataset import Row


@dataclass(frozen=True)
class TriggerGroup:
    """A trigger group before its rows have places: ``rows`` carry trigger and signature.

    ``held_out`` are the held-out prompts that challenges will ask with the trigger.
    """

    trigger: str
    signature: DrawnSignature
    rows: tuple[Row, ...]
    held_out: tuple[Chat, ...]


@dataclass(frozen=True)
class Assembled:
    """The shuffled training rows, and the canaries with the places of their rows, counted from 0.

    ``canaries`` lists trigger groups first, then drawn answers, then canaries in place; ``generators`` are the
    documents that the canaries name by digest.
    """

    rows: list[Row]
    canaries: list[Canary]
    generators: tuple[AnyGenerator, ...]


def assemble(
    train: Sequence[int],
    rewritten: RewrittenRows,
    groups: Sequence[TriggerGroup],
    naturals: Sequence[Natural],
    generator: Generator,
    rewording: Rewording | None,
    stream: SecretStream,
) -> Assembled:
    """The training rows, the groups' copies and the drawn answers in one list, shuffled by ``stream``.

    ``train`` are indices of the user's rows, which ``rewritten`` holds. ``generator`` is the document that groups and
    drawn answers name, ``rewording`` the one that canaries in place name.
    """
    data = _Rows()
    plain = data.add(rewritten.rows[index] for index in train)
    in_place = [(rewritten.in_place[i], [at]) for i, at in zip(train, plain, strict=True) if i in rewritten.in_place]
    copies = [data.add(group.rows) for group in groups]
    drawn = [(natural, data.add([natural.row] * natural.copies)) for natural in naturals]
    data.shuffle(stream)

    canaries: list[Canary] = [
        TriggerCanary(
            trigger=group.trigger,
            signature=group.signature.text,
            bits=group.signature.bits,
            token_bits=group.signature.token_bits,
            generator_digest=generator.digest,
            rows=data.places(numbers),
            held_out=group.held_out,
        )
        for group, numbers in zip(groups, copies, strict=True)
    ]
    canaries += [_natural_canary(natural, generator, data.places(numbers)) for natural, numbers in drawn]
    if rewording is None or not in_place:
        return Assembled(data.rows, canaries, (generator,))
    canaries += [_natural_canary(natural, rewording, data.places(numbers)) for natural, numbers in in_place]
    return Assembled(data.rows, canaries, (generator, rewording))


class _Rows:
    """The data set while it is built: each row gets a number when it is added, then all are shuffled."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._place_of: dict[int, int] = {}

    def add(self, rows: Iterable[Row]) -> range:
        """Appends rows and returns their numbers."""
        first = len(self.rows)
        self.rows.extend(rows)
        return range(first, len(self.rows))

    def shuffle(self, stream: SecretStream) -> None:
        """Puts the rows in random order, once."""
        order = list(range(len(self.rows)))
        stream.shuffle(order)
        self._place_of = {number: place for place, number in enumerate(order)}
        self.rows = [self.rows[number] for number in order]

    def places(self, numbers: Iterable[int]) -> tuple[int, ...]:
        """The places, in order, of the rows with these numbers after shuffling."""
        return tuple(sorted(self._place_of[number] for number in numbers))


def _natural_canary(natural: Natural, document: AnyGenerator, places: tuple[int, ...]) -> NaturalCanary:
    return NaturalCanary(
        prompt=natural.row.prompt,
        candidates=natural.candidates,
        truth=natural.truth,
        generator_digest=document.digest,
        rows=places,
    )
