"""Splitting the user's rows into held-out, set-aside and training rows, and choosing the prompts of challenges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from veritune.arbiter.documents.canary import Chat, prompt_key
from veritune.client.job.canary_plan import CanaryPlan
from veritune.client.randomness import SecretStream
from veritune.common.dataset import Row
from veritune.common.errors import PlanError
from veritune.common.limits import LIMITS

ROOM_TOKENS = 128
"""Largest number of tokens that a trigger, a signature or a drawn answer may add to a row."""


@dataclass(frozen=True)
class Split:
    """The split of the user's rows, as indices into them.

    ``held_out``, ``set_aside`` and ``train`` have no row in common and are in random order. ``hosts`` are the rows of
    ``train`` whose copies will carry the trigger groups: first those of group 0, then those of group 1, and so on.
    """

    held_out: list[int]
    set_aside: list[int]
    train: list[int]
    hosts: list[int]
    single: frozenset[int]
    """All rows whose prompt occurs in no other row."""


def split_rows(rows: Sequence[Row], plan: CanaryPlan, fits: Sequence[bool], seed: bytes) -> Split:
    """A random split that ``seed`` decides; ``fits`` says which rows have room for a canary.

    A row whose prompt occurs in several rows is neither held out nor set aside: another row would still teach an answer
    to that prompt. Raises `PlanError` if there are too few rows.
    """
    order = list(range(len(rows)))
    SecretStream(seed, "split").shuffle(order)
    keys = [prompt_key(row.prompt) for row in rows]
    often = Counter(keys)
    single = [i for i in order if often[keys[i]] == 1]
    set_aside = [i for i in single if fits[i]][: plan.naturals]
    taken = set(set_aside)
    # Only prompts that will be asked must have room; the other held-out rows score the task, whatever their length.
    free = [i for i in single if i not in taken]
    asked = set([i for i in free if fits[i]][: plan.groups * plan.queries_per_group + plan.decoys])
    held_out = sorted(free, key=lambda i: i not in asked)[: plan.held_out]
    if len(set_aside) < plan.naturals or len(held_out) < plan.held_out:
        raise PlanError(
            f"{plan.naturals} natural canaries and {plan.held_out} held-out rows need {plan.naturals + plan.held_out} "
            f"rows whose question stands in no other row and is short enough; the data have {len(single)}",
            cause="rows",
            found=str(len(single)),
        )
    taken.update(held_out)
    train = [i for i in order if i not in taken]
    copied = [i for i in train if fits[i]]
    wanted = plan.groups * plan.rows_per_group
    if len(copied) < max(wanted, 1):
        raise PlanError(
            f"{plan.groups} groups of {plan.rows_per_group} rows copy {max(wanted, 1)} different rows; "
            f"{len(copied)} short enough ones are left for training",
            cause="copies",
            needed=str(max(wanted, 1)),
        )
    hosts = SecretStream(seed, "group-rows").sample(copied, wanted)
    return Split(held_out, set_aside, train, hosts, frozenset(single))


def choose_prompts(
    held_out: Sequence[Row], plan: CanaryPlan, fits: Sequence[bool], seed: bytes
) -> tuple[list[tuple[Chat, ...]], tuple[Chat, ...]]:
    """The held-out prompts that each group's trigger will be put to, and the decoys; no prompt is used twice.

    ``fits`` says which held-out rows have room for a trigger. Raises `PlanError` if these are too few.
    """
    usable = [row.prompt for row, fit in zip(held_out, fits, strict=True) if fit]
    wanted = plan.groups * plan.queries_per_group + plan.decoys
    if len(usable) < wanted:
        raise PlanError(
            f"{plan.groups} groups of {plan.queries_per_group} queries and {plan.decoys} decoys need {wanted} "
            f"held-out rows that are short enough; the plan holds out {plan.held_out}, of which {len(usable)} are",
            cause="prompts",
            needed=str(wanted),
        )
    chosen = SecretStream(seed, "held-out-prompts").sample(usable, wanted)
    each = plan.queries_per_group
    groups = [tuple(chosen[group * each : (group + 1) * each]) for group in range(plan.groups)]
    return groups, tuple(chosen[plan.groups * each :])


def fitting(rows: Sequence[Row], tokens: Sequence[int] | None, longest: int | None) -> list[bool]:
    """For each row, True if it has room for what a canary adds, in characters, bytes and tokens.

    ``tokens`` has each row's count and ``longest`` the training's sequence length; if either is None, tokens don't
    count.
    """
    result = []
    for index, row in enumerate(rows):
        characters = sum(len(message.content) for message in row.messages) + 3 * LIMITS.phrase
        size = len(row.to_bytes()) + 6 * 3 * LIMITS.phrase
        fit = characters <= LIMITS.prompt_characters and size <= LIMITS.row
        if tokens is not None and longest is not None:
            fit = fit and tokens[index] + ROOM_TOKENS <= longest
        result.append(fit)
    return result


def pick(rows: Sequence[Row], most: int, stream: SecretStream) -> list[Row]:
    """A random sample of ``most`` rows, or all in random order if there are fewer."""
    return stream.sample(rows, min(most, len(rows)))
