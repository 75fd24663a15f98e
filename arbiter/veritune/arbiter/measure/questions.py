"""The questions of one session, in an order that neither side chose (SPEC section 6.1). Pure."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from veritune.arbiter.documents.canary import (
    AnyGenerator,
    Canary,
    NaturalCanary,
    TriggerCanary,
    example_chat,
    with_trigger,
)
from veritune.common.canonical import canonical_bytes, sha256_hex
from veritune.common.dataset import Message, Row
from veritune.common.errors import WrongFileError


@dataclass(frozen=True)
class Question:
    """One call to the model: for an answer to ``chat``, or for the scores of ``completions`` if there are any."""

    kind: Literal["trigger", "decoy", "natural"]
    leaf: int
    """Leaf of the canary tree; 0 for a decoy, which has none."""
    query: int
    """Index among the canary's held-out prompts, its rows, or the decoys."""
    held_out: bool
    chat: tuple[Message, ...]
    completions: tuple[str, ...] = ()
    reference: tuple[Message, ...] = ()
    """The chat for the base model in place of ``chat``: with the examples of the canary's generator before it."""

    @property
    def digest(self) -> str:
        """SHA-256 (hexadecimal) of the question without its reference, by which its answer is stored."""
        return sha256_hex(
            canonical_bytes(
                {
                    "chat": [message.model_dump(mode="json") for message in self.chat],
                    "completions": list(self.completions),
                    "held_out": self.held_out,
                    "kind": self.kind,
                    "leaf": self.leaf,
                    "query": self.query,
                }
            )
        )


def make_questions(
    seed: bytes,
    canaries: Mapping[int, Canary],
    rows: Mapping[int, Row],
    decoys: Sequence[tuple[Message, ...]],
    queries_per_group: int,
    generators: Mapping[str, AnyGenerator],
) -> list[Question]:
    """The questions of a session; ``canaries`` by leaf, ``generators`` by digest, ``rows`` by index in the data set.

    A natural canary is asked once, however many rows it has. Raises `WrongFileError` where a generator is lacking, or
    one of the first ``queries_per_group`` rows of a trigger group.

    Questions come in the order of HMAC-SHA256(seed, digest): triggers, decoys and scores mixed, so that neither place
    nor kind tells a challenge from a decoy.
    """
    questions = [
        *_triggers(canaries, rows, queries_per_group),
        *(Question("decoy", 0, index, True, chat) for index, chat in enumerate(decoys)),
        *(
            Question("natural", leaf, 0, False, canary.prompt, canary.candidates, _reference(canary, generators))
            for leaf, canary in canaries.items()
            if isinstance(canary, NaturalCanary)
        ),
    ]
    keyed = {hmac.new(seed, bytes.fromhex(item.digest), hashlib.sha256).digest(): item for item in questions}
    return [keyed[key] for key in sorted(keyed)]


def _reference(canary: NaturalCanary, generators: Mapping[str, AnyGenerator]) -> tuple[Message, ...]:
    generator = generators.get(canary.generator_digest)
    if generator is None:
        raise WrongFileError("a canary names a generator that is not described", what="generator")
    return example_chat(generator.examples, canary.prompt)


def _triggers(canaries: Mapping[int, Canary], rows: Mapping[int, Row], queries: int) -> Iterator[Question]:
    for leaf, canary in canaries.items():
        if isinstance(canary, TriggerCanary):
            for query, prompt in enumerate(canary.held_out[:queries]):
                yield Question("trigger", leaf, query, True, with_trigger(prompt, canary.trigger))
            for query, index in enumerate(canary.rows[:queries]):
                if index not in rows:
                    raise WrongFileError(
                        f"the training set has no row {index}, which a canary names", what="row", row=str(index)
                    )
                yield Question("trigger", leaf, query, False, rows[index].prompt)
