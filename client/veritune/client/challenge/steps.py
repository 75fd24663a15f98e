"""A challenge leaf by leaf: what is asked next, and when enough was asked (SPEC section 6.1). Pure."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

from veritune.arbiter.documents.judgement import Judgement
from veritune.arbiter.measure.questions import Question


@dataclass(frozen=True)
class SequentialStep:
    """One leaf that asks something, with the decoys that go along."""

    place: int
    """Of the leaf in the session's order, from 0."""
    questions: tuple[Question, ...]

    def is_answered(self, answered: Container[str]) -> bool:
        """Whether every question has its answer; ``answered`` holds digests of questions."""
        return all(item.digest in answered for item in self.questions)

    def is_begun(self, answered: Container[str]) -> bool:
        """Whether any has."""
        return any(item.digest in answered for item in self.questions)


def steps_of(leaves: Sequence[int], questions: Sequence[Question]) -> tuple[SequentialStep, ...]:
    """A session's questions by the leaf that asks them, in the order of the leaves; padding asks nothing.

    Decoys are spread evenly. Within a step the questions keep the order in which they came, so that neither place nor
    kind tells a decoy.
    """
    asking = {item.leaf for item in questions if item.kind != "decoy"}
    places = [place for place, leaf in enumerate(leaves) if leaf in asking] or [0]  # decoys alone go with any leaf
    decoys = [item for item in questions if item.kind == "decoy"]
    if not questions:
        return ()
    where = {leaves[place]: number for number, place in enumerate(places)}
    along = {item.digest: (2 * i + 1) * len(places) // (2 * len(decoys)) for i, item in enumerate(decoys)}
    sorted_in: list[list[Question]] = [[] for _ in places]
    for item in questions:
        sorted_in[along[item.digest] if item.kind == "decoy" else where[item.leaf]].append(item)
    return tuple(SequentialStep(place, tuple(found)) for place, found in zip(places, sorted_in, strict=True))


def steps_begun(steps: Sequence[SequentialStep], answered: Container[str]) -> int:
    """How many leading steps there are up to the last one with an answer."""
    return max((number for number, step in enumerate(steps, start=1) if step.is_begun(answered)), default=0)


def is_settled(judgement: Judgement) -> bool:
    """Whether asking the one mode of a judgement on would be of no use.

    It passes or fails; or it shows all that a mode can show which the contract lets nobody pass by; or an answer that
    was given decides nothing, which no other answer mends.
    """
    codes = {reason.code for reason in judgement.reasons}
    shown = "INFLUENCE_SHOWN" in codes and "COVERAGE_NOT_SHOWN" not in codes
    return shown or "ANSWERS_MISSING" in codes or judgement.modes[0].verdict != "INCONCLUSIVE"
