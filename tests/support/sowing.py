"""What the client of an exchange sows: rows of many words, canaries among them, and the leaves that commit to those."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from veritune.arbiter.documents.canary import (
    Canary,
    Generator,
    NaturalCanary,
    PaddingCanary,
    Rewording,
    TriggerCanary,
    canary_leaf,
    with_signature,
    with_trigger,
)
from veritune.common.dataset import Message, Row
from veritune.common.documents.manifest import Policy
from veritune.common.merkle import MerkleTree, leaf_hash

GENERATOR = Generator(
    kind="wordlist",
    model="tests/words",
    model_digest=hashlib.sha256(b"words").hexdigest(),
    prompt="Write as these rows are written.",
    top_k=64,
    temperature="1",
    cap="0.25",
    certified=True,
)
REWORDING = Rewording(rules=("spacing",))
WORDS = (
    "amber",
    "birch",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "heron",
    "inlet",
    "jade",
    "kelp",
    "larch",
    "maple",
    "north",
    "ochre",
    "pearl",
    "quartz",
    "ridge",
    "slate",
    "tidal",
    "umber",
    "violet",
    "willow",
    "xenon",
    "yarrow",
    "zephyr",
    "bramble",
    "copper",
    "dune",
    "elder",
    "fern",
    "garnet",
)


def user(text: str) -> Message:
    return Message(role="user", content=text)


def assistant(text: str) -> Message:
    return Message(role="assistant", content=text)


@dataclass(frozen=True)
class Sowing:
    """The knobs of the data; rows and canaries follow from them, lazily and once."""

    groups: int = 3
    rows_per_group: int = 2
    naturals: int = 24
    repetitions: tuple[int, ...] = (1,)
    """Rows of natural canary 0, 1, 2 ..., taken again from the start."""
    in_place: int = 0
    """Canaries in place: the last of the plain rows."""
    candidates: int = 16
    plain_rows: int = 40
    leaves: int = 32
    policy: Policy = field(default_factory=lambda: Policy(coverage_floor="0.25"))
    bits: int = 64
    seed: int = 0
    generator: Generator = GENERATOR
    tamper: Callable[[Canary], Canary] = lambda canary: canary
    """What the client does to a canary before it commits to it."""

    @cached_property
    def _random(self) -> random.Random:
        return random.Random(self.seed)

    def _phrase(self, words: int) -> str:
        return " ".join(self._random.choice(WORDS) for _ in range(words))

    @cached_property
    def _sown(self) -> tuple[tuple[Row, ...], tuple[Canary, ...]]:
        """The shuffled data set and its canaries with padding, in leaf order."""
        rows = [
            Row(messages=(user(f"Question {i}: {self._phrase(4)}?"), assistant(f"Answer {i}: {self._phrase(4)}.")))
            for i in range(self.plain_rows)
        ]
        drafts: list[dict[str, Any]] = []
        for group in range(self.groups):
            trigger, signature = f"{self._phrase(6)} t{group}", f"{self._phrase(14)} s{group}"
            places = []
            for row in rows[group * self.rows_per_group : (group + 1) * self.rows_per_group]:
                places.append(len(rows))
                completion = assistant(with_signature(row.completion, signature))
                rows.append(Row(messages=(*with_trigger(row.prompt, trigger), completion)))
            drafts.append({"trigger": trigger, "signature": signature, "rows": places, "group": group})
        for natural in range(self.naturals):
            prompt = (user(f"Natural {natural}: {self._phrase(5)}?"),)
            candidates = tuple(f"{self._phrase(6)} {letter}" for letter in range(self.candidates))
            truth = self._random.randrange(self.candidates)
            copies = self.repetitions[natural % len(self.repetitions)]
            places = list(range(len(rows), len(rows) + copies))
            drafts.append({"prompt": prompt, "candidates": candidates, "truth": truth, "rows": places})
            rows += [Row(messages=(*prompt, assistant(candidates[truth])))] * copies
        for index in range(self.plain_rows - self.in_place, self.plain_rows):
            asked, words = rows[index].prompt, self._phrase(4)
            candidates = tuple(f"Answer {index}: {words}{' ' * n}." for n in range(self.candidates))
            truth = self._random.randrange(self.candidates)
            draft = {"prompt": asked, "candidates": candidates, "truth": truth, "rows": [index]}
            drafts.append({**draft, "generator": REWORDING.digest})
            rows[index] = Row(messages=(*asked, assistant(candidates[truth])))
        order = list(range(len(rows)))
        self._random.shuffle(order)
        place = {old: new for new, old in enumerate(order)}
        canaries = [self.tamper(self._canary(draft, place)) for draft in drafts]
        canaries += [PaddingCanary()] * (self.leaves - len(canaries))
        self._random.shuffle(canaries)
        return tuple(rows[old] for old in order), tuple(canaries)

    def _canary(self, draft: dict[str, Any], place: dict[int, int]) -> Canary:
        if "trigger" not in draft:
            return NaturalCanary(
                prompt=draft["prompt"],
                candidates=draft["candidates"],
                truth=draft["truth"],
                generator_digest=draft.get("generator", self.generator.digest),
                rows=tuple(place[row] for row in draft["rows"]),
            )
        queries = self.policy.queries_per_group
        return TriggerCanary(
            trigger=draft["trigger"],
            signature=draft["signature"],
            bits=self.bits,
            token_bits=("4.500000",) * -(-self.bits * 2 // 9),
            generator_digest=self.generator.digest,
            rows=tuple(place[row] for row in draft["rows"]),
            held_out=tuple((user(f"Held out {draft['group']}.{query}?"),) for query in range(queries)),
        )

    @property
    def rows(self) -> tuple[Row, ...]:
        return self._sown[0]

    @property
    def canaries(self) -> tuple[Canary, ...]:
        return self._sown[1]

    def salt(self, leaf: int) -> bytes:
        return hashlib.sha256(b"salt %d %d" % (self.seed, leaf)).digest()

    @cached_property
    def leaf_hashes(self) -> tuple[str, ...]:
        return tuple(canary_leaf(self.salt(leaf), canary).hex() for leaf, canary in enumerate(self.canaries))

    @cached_property
    def row_tree(self) -> MerkleTree:
        return MerkleTree([leaf_hash(row.to_bytes()) for row in self.rows])
