"""Reduces an evidence bundle to the counts and ranks that a verdict needs. Pure; the audit checks the bundle itself."""

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
    """What one trigger group showed: answers asked for and signatures seen, on held-out prompts and on its own rows."""

    group: GroupResult
    held_out_shown: int
    in_data_asked: int
    in_data_shown: int
    certified: bool
    """True if the signature's bits are a proved bound, not an estimate."""


@dataclass(frozen=True)
class Look:
    """What one mode of a challenge showed. ``missing`` counts required answers that are absent, or cut off too early.

    Groups and naturals may come in any order: no test of either form depends on it.
    """

    mode: Mode
    groups: tuple[GroupLook, ...]
    naturals: tuple[Ranked, ...]
    decoys_asked: int
    decoys_shown: int
    missing: int
    recited: tuple[bool, ...] = ()
    """For each natural canary, in any order, True if its answer is recited."""
    leaves: int = 0
    """Number of leaves of the challenge that the counts cover, padding included: for the report."""
    available: int = 0
    """Number of leaves that the session may open: for the report."""
    matches: Matches | None = None
    """Decoys compared with the delivered mode's; only the served mode has it."""

    @property
    def groups_appeared(self) -> int:
        """Number of groups whose signature appeared in any answer, also to prompts of the data: the client chose the
        held-out prompts, and a trained model that doesn't generalise to them is no fault of the provider's."""
        return sum(item.group.found or item.in_data_shown > 0 for item in self.groups)


def look_at(evidence: Evidence, observations: Observations, terms: Verification) -> Look:
    """Counts and ranks of one mode of a bundle. Raises `MalformedDocumentError` where an answer fits no canary."""
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
    """`look_at` on pairs of leaf and canary in the order of the challenge, which groups and naturals keep.

    Under ``fixed`` the counts cover all pairs, under ``sequential`` the leading ones up to the last that has an answer,
    because another mode may have asked more. An answer that the covered leaves lack is counted as missing.
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
        raise MalformedDocumentError("an answer names a leaf that was not opened as a canary of its kind", cause="leaf")
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
    """The group's counts, and the number of its missing answers, those that decide nothing included.

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
    """True if an answer was cut off by its length while it could still become the signature: it decides nothing."""
    if item.finish_reason != "length" or shows_signature(item.answer, signature):
        return False
    return signature.startswith(item.answer.lstrip())


def ranked(canary: NaturalCanary, item: NaturalObservation, weight: Fraction) -> Ranked:
    """Rank of a canary's true answer. Raises `MalformedDocumentError` where its scores and candidates don't fit."""
    try:
        rank = rank_of(canary.truth, item.tuned, item.base, weight)
        return Ranked(rank, len(canary.candidates), len(canary.rows))
    except (ValueError, IndexError) as error:
        raise MalformedDocumentError("scores that do not fit a canary's candidates", cause="scores") from error
