"""Sequential challenges: which questions are asked with each leaf, and when to stop (SPEC section 6.1).

The functions are pure: they read and write no files.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

from veritune.arbiter.documents.judgement import Judgement
from veritune.arbiter.measure.questions import Question


@dataclass(frozen=True)
class SequentialStep:
    """The questions of one leaf and the decoys that are asked with them."""

    place: int
    """The leaf's place in the session's order, counted from 0."""
    questions: tuple[Question, ...]

    def is_answered(self, answered: Container[str]) -> bool:
        """True if all questions have an answer; ``answered`` holds the digests of answered questions."""
        return all(item.digest in answered for item in self.questions)

    def is_begun(self, answered: Container[str]) -> bool:
        """True if at least one question has an answer; ``answered`` is as in `is_answered`."""
        return any(item.digest in answered for item in self.questions)


def steps_of(leaves: Sequence[int], questions: Sequence[Question]) -> tuple[SequentialStep, ...]:
    """The steps of a session: one for each leaf that has questions, in the order of ``leaves``; padding has none.

    Decoys are spread evenly over the steps. Within a step the order of ``questions`` is kept, so that its place doesn't
    show which question is a decoy.
    """
    asking = {item.leaf for item in questions if item.kind != "decoy"}
    places = [place for place, leaf in enumerate(leaves) if leaf in asking] or [
        0
    ]  # if there are only decoys, any leaf will do
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
    """The number of leading steps up to and including the last one that has an answer."""
    return max((number for number, step in enumerate(steps, start=1) if step.is_begun(answered)), default=0)


def is_settled(judgement: Judgement) -> bool:
    """True when more questions can't change the verdict of the judgement's one mode.

    It already passes or fails; or influence and coverage are shown and only the contract's served assumption withholds
    a PASS; or a required answer was cut off, so the mode stays INCONCLUSIVE.
    """
    codes = {reason.code for reason in judgement.reasons}
    shown = "INFLUENCE_SHOWN" in codes and "COVERAGE_NOT_SHOWN" not in codes
    return shown or "ANSWERS_MISSING" in codes or judgement.modes[0].verdict != "INCONCLUSIVE"
