"""From an evidence bundle to what the verdict needs. Pure; `audit` has checked the bundle, or will."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from veritune.arbiter.documents.canary import (
    AnyGenerator,
    Canary,
    Generator,
    NaturalCanary,
    TriggerCanary,
    shows_signature,
)
from veritune.arbiter.documents.evidence import Evidence, NaturalObservation, Observations, TriggerObservation
from veritune.arbiter.documents.judgement import Mode
from veritune.arbiter.selection import leaves_available
from veritune.arbiter.statistics.influence import GroupResult, Ranked, rank_of
from veritune.arbiter.verdict.agreement import Matches
from veritune.arbiter.verdict.recital import is_recited
from veritune.common.documents.manifest import Policy, Verification
from veritune.common.errors import MalformedDocumentError


@dataclass(frozen=True)
class GroupLook:
    """The answers of one trigger group; ``group.queries`` counts the held-out prompts that were answered."""

    group: GroupResult
    held_out_shown: int
    in_data_asked: int
    in_data_shown: int
    certified: bool


@dataclass(frozen=True)
class Look:
    """One way of looking at the model. ``missing`` counts answers that the contract asks for and that are not there.

    Groups and naturals may stand in any order: no test of either form depends on it.
    """

    mode: Mode
    groups: tuple[GroupLook, ...]
    naturals: tuple[Ranked, ...]
    decoys_asked: int
    decoys_shown: int
    missing: int
    recited: tuple[bool, ...] = ()
    """Of the naturals whether each is recited, in any order."""
    leaves: int = 0
    """Leaves that it covers, padding among them, of ``available`` that the session may open: for the report."""
    available: int = 0
    matches: Matches | None = None
    """Of the served mode, set against the delivered one."""

    @property
    def groups_appeared(self) -> int:
        """Groups whose S appeared at all. The client chose the held-out prompts: that a model that has learnt a group
        does not take them for such prompts is no fault of the provider's."""
        return sum(item.group.found or item.in_data_shown > 0 for item in self.groups)


def look_at(evidence: Evidence, observations: Observations, terms: Verification) -> Look:
    """One way of looking, reduced to counts and ranks."""
    return look_of(
        [(opening.leaf, opening.canary) for opening in evidence.openings],
        evidence.generators,
        observations,
        terms.policy,
        leaves_available(evidence.session, terms),
    )


def look_of(
    opened: Sequence[tuple[int, Canary]],
    generators: Sequence[AnyGenerator],
    observations: Observations,
    policy: Policy,
    available: int,
) -> Look:
    """The same from leaves and canaries in the order of the challenge; they come out in that order.

    Under ``fixed`` the look covers all that was opened, under ``sequential`` the leading leaves up to the last one that
    has an answer: another mode may have gone further. An answer that is not there before that is missing.
    """
    certified = {g.digest: isinstance(g, Generator) and g.certified for g in generators}
    answers: dict[int, list[TriggerObservation]] = defaultdict(list)
    for answer in observations.triggers:
        answers[answer.leaf].append(answer)
    scores = {item.leaf: item for item in observations.naturals}
    weight = Fraction(policy.base_weight)
    covered = list(opened)
    answered = answers.keys() | scores.keys()
    while policy.stopping == "sequential" and covered and covered[-1][0] not in answered:
        covered.pop()
    groups: list[GroupLook] = []
    naturals: list[Ranked] = []
    recited: list[bool] = []
    missing = 0
    for leaf, canary in covered:
        if isinstance(canary, TriggerCanary):
            look, its_missing = _group_look(canary, answers.pop(leaf, []), certified, policy.queries_per_group)
            groups.append(look)
            missing += its_missing
        elif isinstance(canary, NaturalCanary):
            found = scores.pop(leaf, None)
            if found is None:
                missing += 1
            else:
                naturals.append(ranked(canary, found, weight))
                recited.append(is_recited(found.tuned[canary.truth], policy.recital_nats))
    if answers or scores:
        raise MalformedDocumentError("an answer names a leaf that was not opened as a canary of its kind")
    signatures = [canary.signature for _, canary in opened if isinstance(canary, TriggerCanary)]
    return Look(
        mode=observations.mode,
        groups=tuple(groups),
        naturals=tuple(naturals),
        recited=tuple(recited),
        decoys_asked=len(observations.decoys),
        decoys_shown=sum(any(shows_signature(item.answer, s) for s in signatures) for item in observations.decoys),
        missing=missing,
        leaves=len(covered),
        available=available,
    )


def _group_look(
    canary: TriggerCanary, answers: list[TriggerObservation], certified: dict[str, bool], queries: int
) -> tuple[GroupLook, int]:
    """The group's look, and how many answers are missing, those that decide nothing among them.

    The contract asks for the first ``queries`` held-out prompts and as many of the group's rows.
    """
    held_out = [shows_signature(item.answer, canary.signature) for item in answers if item.held_out]
    in_data = [shows_signature(item.answer, canary.signature) for item in answers if not item.held_out]
    group = GroupResult(
        queries=len(held_out), bits=canary.bits, signature_length=len(canary.signature), found=any(held_out)
    )
    look = GroupLook(
        group=group,
        held_out_shown=sum(held_out),
        in_data_asked=len(in_data),
        in_data_shown=sum(in_data),
        certified=certified.get(canary.generator_digest, False),
    )
    there = {(item.held_out, item.query) for item in answers if item.query < queries}
    left_out = queries + min(queries, len(canary.rows)) - len(there)
    return look, left_out + sum(_cut_short(item, canary.signature) for item in answers)


def _cut_short(item: TriggerObservation, signature: str) -> bool:
    """Whether the answer ended by its length while it still could have become the signature: it decides nothing."""
    if item.finish_reason != "length" or shows_signature(item.answer, signature):
        return False
    return signature.startswith(item.answer.lstrip())


def ranked(canary: NaturalCanary, item: NaturalObservation, weight: Fraction) -> Ranked:
    """Where the true answer came. Raises `MalformedDocumentError` for scores that do not fit the candidates."""
    try:
        rank = rank_of(canary.truth, item.tuned, item.base, weight)
        return Ranked(rank, len(canary.candidates), len(canary.rows))
    except (ValueError, IndexError) as error:
        raise MalformedDocumentError("scores that do not fit a canary's candidates") from error
