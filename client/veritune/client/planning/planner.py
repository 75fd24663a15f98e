"""Searches a small grid for the cheapest canaries that a contract needs (docs/statistics.md, section 5).

Probabilities come from exact binomial tails; no model is run.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

from veritune.arbiter.statistics.exact import floor_text, log10_text, parse_probability
from veritune.arbiter.verdict.agreement import Matches
from veritune.arbiter.verdict.rules import Rules
from veritune.client.job.canary_plan import CanaryPlan
from veritune.client.planning.cost import calls, dataset_rows, drawn_rows, extra_tokens_percent
from veritune.client.planning.odds import Odds
from veritune.client.planning.outcome import PlanOutcome
from veritune.client.planning.wish import CHOSEN, Planned, Wish
from veritune.common.errors import MalformedDocumentError, PlanError

__all__ = ["Planned", "Wish", "plan"]

GROUPS = (2, 3, 4, 6, 8, 12, 16, 24)
"""Numbers of trigger groups to try. One is left out: if it is not learnt, only ranks are left as evidence."""
BITS = (32, 48, 64, 96, 128)
"""Certified bits of a signature to try."""
QUERIES = (1, 2, 3, 4)
"""Queries of each group to try."""
CANDIDATES = (8, 12, 16, 24, 32)
"""Numbers of candidates to try if the plan has more: the assumed hit rate says nothing about more candidates."""
MOST_DECOYS = 4096
"""Largest number of decoys that an error message may ask for."""
MOST_NATURALS = {"fixed": 1024, "sequential": 512}
"""Largest number of natural canaries to try, by the policy's ``stopping``."""


def plan(wish: Wish) -> Planned:
    """The cheapest plan of a small grid that meets ``wish``: fewest extra tokens, then calls, then candidates.

    Raises `PlanError` if there is none, with what would be needed, and for a probability or policy out of range.
    """
    try:
        _check(wish)
        found = _Search(wish).cheapest()
    except MalformedDocumentError as error:
        # Of a policy that means nothing: no document of a peer's is read here.
        raise PlanError(error.message) from error
    return Planned(found.plan, found.policy, found.figures())


def _check(wish: Wish) -> None:
    """Raises `PlanError` if no plan can satisfy the wish, whatever its number of canaries."""
    policy, base = wish.policy, wish.base
    if unknown := wish.fixed.difference(CHOSEN):
        raise PlanError(
            f"--keep {min(unknown)}: the planner does not choose it; it chooses {', '.join(CHOSEN)}",
            setting=min(unknown),
        )
    if "served" in policy.modes and policy.served_assumption == "none":
        raise PlanError(
            "policy.modes has the served mode, which never passes without an assumption; "
            "leave it out, or set policy.served_assumption"
        )
    if base.queries_per_group < policy.queries_per_group:
        raise PlanError(
            f"policy.queries_per_group asks for {policy.queries_per_group} queries a group; "
            "raise canaries.queries_per_group to that"
        )
    rows = base.rows_per_group if "rows_per_group" in wish.fixed else wish.learnt_rows
    if base.groups and rows < policy.group_rows:
        raise PlanError(f"groups of {rows} rows are fewer than policy.group_rows asks for; lower it to {rows}")
    if wish.rows - base.held_out < 1:
        raise PlanError(f"canaries.held_out = {base.held_out} rows are to be held out, and there are only {wish.rows}")
    if not parse_probability(wish.canary_share):
        raise PlanError("no row may be a canary with a canary_share of 0")
    if wish.row_tokens < 1:
        raise PlanError("a row has one token at least")
    _check_lucks(wish)
    _check_coverage(wish)
    _check_decoys(wish)
    if policy.stopping == "sequential":
        for name, assumed, setting in (
            ("activation", wish.activation, "trigger_floor"),
            ("natural_hit", wish.natural_hit, "natural_floor"),
            ("in_place_hit", (base.in_place and wish.in_place_hit) or wish.natural_hit, "natural_floor"),
        ):
            floor = getattr(policy, setting)
            if parse_probability(assumed) < parse_probability(floor):
                raise PlanError(
                    f"--{name.replace('_', '-')} is assumed to be {assumed}, below policy.{setting} = {floor}: a "
                    "sequential challenge may then fail an honest run at any moment; lower the floor"
                )


def _check_lucks(wish: Wish) -> None:
    base = wish.base
    for number, name in ((base.candidates, "candidates"), (base.wordings if base.in_place else 256, "wordings")):
        if wish.policy.hit_rank >= number:
            raise PlanError(f"every rank is a hit at {number} {name}; raise canaries.{name}, or lower policy.hit_rank")


def _check_coverage(wish: Wish) -> None:
    """Raises `PlanError` if the coverage floor can't be reached with any number of canaries.

    With ever more canaries the coverage bound tends to (hit - luck) / (1 - luck), so no more can be shown.
    """
    luck = Fraction(wish.policy.hit_rank, wish.base.candidates)
    hit, floor = parse_probability(wish.natural_hit), parse_probability(wish.policy.coverage_floor)
    most = max(Fraction(0), (hit - luck) / (1 - luck))
    if 0 < floor >= most:
        raise PlanError(
            f"where {wish.natural_hit} of the natural canaries hit, no more than {floor_text(most)} of the rows can be "
            f"shown to be trained on, and policy.coverage_floor asks for {wish.policy.coverage_floor}; lower it, "
            "or raise training.epochs for a recipe that teaches the canaries better",
            coverage=floor_text(most),
        )


def _check_decoys(wish: Wish) -> None:
    """Raises `PlanError` if there are too few decoys to show that an endpoint agrees with the adapter.

    An honest endpoint is assumed to answer every decoy as the adapter does.
    """
    if not wish.policy.compares:
        return
    rules = Rules.of(wish.policy)
    needed = bisect_left(range(MOST_DECOYS), True, key=lambda n: Matches(n, n).p_differs(rules) <= 1 - rules.confidence)
    if wish.base.decoys < needed:
        raise PlanError(
            f"{wish.base.decoys} decoys can't show that an endpoint agrees with the adapter on more than "
            f"{wish.policy.match_floor} of its traffic; raise canaries.decoys to {needed}, or lower policy.match_floor",
            decoys=str(needed),
        )


def _with(canaries: CanaryPlan, **values: Any) -> CanaryPlan:
    return canaries.model_copy(update=values)


class _Search:
    """The search for one wish; ``_best`` holds the highest (honest PASS, base model FAIL) seen, for messages."""

    def __init__(self, wish: Wish) -> None:
        self._wish = wish
        self._refusal, self._escape = parse_probability(wish.refusal), parse_probability(wish.escape)
        self._share = parse_probability(wish.canary_share)
        kept = wish.base.naturals if "naturals" in wish.fixed else None
        self._limit = MOST_NATURALS[wish.policy.stopping] if kept is None else kept
        self._best = (Fraction(0), Fraction(0))

    def cheapest(self) -> PlanOutcome:
        frames = sorted(self._frames(), key=lambda frame: extra_tokens_percent(self._wish, frame))
        first = frames[0]
        # Coverage and FAIL hardly depend on the groups, so every plan needs at least the naturals that these need.
        least = self._naturals(first, self._limit, influence=False)
        if least is None:
            raise PlanError(self._too_weak())
        if least > self._room(first):
            raise self._no_room(_with(first, naturals=least))
        for frame in frames:
            if found := self._with_queries(frame, self._room(frame), least):
                return self._fewer_candidates(found)
        for frame in (first, frames[-1]):
            if found := self._with_queries(frame, self._limit, least):
                raise self._no_room(found.plan)
        raise PlanError(self._too_weak(_with(frames[-1], naturals=self._numbers()[-1])))

    def _frames(self) -> Iterator[CanaryPlan]:
        """Plans with groups and bits, which decide the extra tokens, but no natural canaries. Raises `PlanError`."""
        base, wish = self._wish.base, self._wish
        queries = min(self._values("queries_per_group", QUERIES))
        rows = base.rows_per_group if "rows_per_group" in wish.fixed else wish.learnt_rows
        groups = self._values("groups", GROUPS) if base.groups else [0]
        needed = groups[0] * queries + base.decoys
        if needed > base.held_out:
            raise PlanError(
                f"challenges need {needed} held-out rows for their prompts and the plan holds out {base.held_out}; "
                f"raise canaries.held_out to {needed}"
            )
        for number in groups:
            if number * queries + base.decoys <= base.held_out:
                for bits in self._values("signature_bits", BITS) if number else [base.signature_bits]:
                    yield _with(base, groups=number, rows_per_group=rows, signature_bits=bits, naturals=0)

    def _values(self, name: str, others: tuple[int, ...]) -> list[int]:
        own = getattr(self._wish.base, name)
        return [own] if name in self._wish.fixed else sorted({own, *others})

    def _numbers(self) -> list[int]:
        """The numbers of natural canaries to try, in growing steps."""
        if "naturals" in self._wish.fixed:
            return [self._wish.base.naturals]
        numbers = [0]
        while numbers[-1] < self._limit:
            numbers.append(numbers[-1] + max(2, numbers[-1] // 16 * 2))
        return numbers

    def _room(self, frame: CanaryPlan) -> int:
        """The most natural canaries that the rows have room for; -1 if even the groups are too many."""
        numbers = range(self._limit + 1)
        return bisect_right(numbers, self._wish.rows, key=lambda n: self._rows_needed(_with(frame, naturals=n))) - 1

    def _rows_needed(self, canaries: CanaryPlan) -> int:
        """The fewest rows of the user's file in which a plan fits within the allowed share of canary rows."""
        groups = canaries.groups * canaries.rows_per_group
        others = math.ceil((groups + drawn_rows(canaries)) / self._share) - dataset_rows(0, canaries)
        return max(others, canaries.held_out + groups + canaries.naturals + canaries.in_place)

    def _contract(self, canaries: CanaryPlan) -> PlanOutcome:
        """The outcome of a plan, computed as if there were at least as many rows as it needs."""
        rows = max(self._wish.rows, self._rows_needed(canaries))
        return PlanOutcome(replace(self._wish, rows=rows), canaries)

    def _with_queries(self, frame: CanaryPlan, room: int, least: int) -> PlanOutcome | None:
        """The frame with those queries and natural canaries that need the fewest calls; None if none reach the aims.

        Natural canaries number from ``least`` to ``room``.
        """
        found: list[PlanOutcome] = []
        for queries in self._values("queries_per_group", QUERIES) if frame.groups else [frame.queries_per_group]:
            asking = _with(frame, queries_per_group=queries)
            if frame.groups * queries + frame.decoys <= frame.held_out:
                naturals = self._naturals(asking, room, least=least)
                if naturals is not None:
                    found.append(self._contract(_with(asking, naturals=naturals)))
        return min(found, key=lambda contract: calls(contract.plan, contract.policy), default=None)

    def _naturals(self, frame: CanaryPlan, most: int, influence: bool = True, least: int = 0) -> int | None:
        """The fewest natural canaries from ``least`` to ``most`` that reach both aims; None if none do."""
        numbers = [number for number in self._numbers() if least <= number <= most]
        if not numbers:
            return None
        if influence:
            largest = self._contract(_with(frame, naturals=numbers[-1]))
            if largest.best_p() > largest.alpha:
                return None
        numbers = self._first(frame, numbers, lambda contract: contract.guess(influence))
        if influence and self._wish.policy.sessions > 1:
            numbers = self._first(frame, numbers, PlanOutcome.odds)
        return numbers[0] if numbers else None

    def _first(self, frame: CanaryPlan, numbers: list[int], odds: Callable[[PlanOutcome], Odds]) -> list[int]:
        """``numbers`` from the first that reaches both aims on; empty if none does.

        Steps double, then a bisection follows. The probabilities don't rise quite steadily with the number, so a
        slightly smaller one may reach the aims too.
        """

        def reaches(place: int) -> bool:
            contract = self._contract(_with(frame, naturals=numbers[place]))
            return self._reaches(contract, odds(contract))

        below, place = -1, 0
        while place < len(numbers) and not reaches(place):
            below, place = place, max(place + 1, min(2 * place + 1, len(numbers) - 1))
        if place == len(numbers):
            return []
        while place - below > 1:
            middle = (below + place) // 2
            below, place = (below, middle) if reaches(middle) else (middle, place)
        return numbers[place:]

    def _reaches(self, contract: PlanOutcome, odds: Odds) -> bool:
        honest, untrained = contract.honest_pass(odds), contract.untrained_fail(odds)
        self._best = max(self._best[0], honest), max(self._best[1], untrained)
        return honest >= 1 - self._refusal and untrained >= 1 - self._escape

    def _fewer_candidates(self, found: PlanOutcome) -> PlanOutcome:
        if "candidates" in self._wish.fixed or not found.plan.naturals:
            return found
        for candidates in CANDIDATES:
            if found.policy.hit_rank < candidates < found.plan.candidates:
                fewer = self._contract(_with(found.plan, candidates=candidates))
                if self._reaches(fewer, fewer.odds()):
                    return fewer
        return found

    def _no_room(self, wanted: CanaryPlan) -> PlanError:
        return PlanError(
            f"{wanted.naturals} natural canaries are needed and there is room for {max(0, self._room(wanted))}: use at "
            f"least {self._rows_needed(wanted)} rows, or ask for less: lower policy.coverage_floor, or raise "
            "policy.alpha or policy.beta",
            naturals=str(wanted.naturals),
        )

    def _too_weak(self, largest: CanaryPlan | None = None) -> str:
        """The message that says which aim no plan reaches; it speaks of influence if the ``largest`` plan is given."""
        numbers = self._numbers()
        tried = f"no number of natural canaries up to {numbers[-1]} is" if numbers[1:] else "the number kept is not"
        text = (
            f"{tried} enough: at best an honest run passes with probability {floor_text(self._best[0])} and the base "
            f"model fails with probability {floor_text(self._best[1])}"
        )
        if largest is not None:
            contract = self._contract(largest)
            text += (
                f"; the most canaries that were tried show influence at 10^{log10_text(contract.best_p())} at best, "
                f"and 10^{log10_text(contract.alpha)} is asked for"
            )
        if self._best[0] >= 1 - self._refusal and self._best[1] < 1 - self._escape:
            return f"{text}; raise policy.natural_floor and policy.trigger_floor, or policy.beta"
        return (
            f"{text}; lower policy.coverage_floor, raise policy.alpha, or raise training.epochs for a recipe that "
            "teaches the canaries better"
        )
