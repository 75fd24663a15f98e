"""Algorithm 1 of vTune for m groups, and natural canaries beside them: from rows to a training set with secrets.

Rows are split three ways. *Held out*: never sent; challenges put triggers behind their prompts and ask some as decoys.
*Set aside*: each gives a natural canary its prompt, and goes to training with one of K + 1 drawn answers instead of
its own. *The rest*: sent as they are, and copies of a few carry a group's trigger and signature.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from veritune.client.canary import (
    Canary,
    Chat,
    Generator,
    NaturalCanary,
    TriggerCanary,
    with_signature,
    with_trigger,
)
from veritune.client.canary_plan import CanaryPlan
from veritune.client.generator import PHRASE_CHARACTERS, Signature, TextGenerator
from veritune.client.rows import Progress, no_progress
from veritune.client.stream import SecretStream
from veritune.common.dataset import Message, Row
from veritune.common.errors import PlanError
from veritune.common.limits import LIMITS

_PROMPT_ROWS = 24
"""Rows of which P is made."""
_EXAMPLES = 64
"""Rows among which the generator finds examples for natural canaries."""
_TRIGGER_ATTEMPTS = 20
_ROOM_TOKENS = 128
"""Tokens that a trigger, a signature or a drawn answer may add to a row."""


@dataclass(frozen=True)
class Sown:
    """``train_rows`` are shuffled, canaries among them; ``extra_tokens_percent`` has two places, None: not counted."""

    train_rows: list[Row]
    held_out_rows: list[Row]
    canaries: list[Canary]
    generators: tuple[Generator, ...]
    decoys: tuple[Chat, ...]
    extra_rows: int
    extra_tokens_percent: str | None

    @property
    def canary_rows(self) -> int:
        """Rows of the data set that belong to a canary."""
        return sum(len(c.rows) if isinstance(c, TriggerCanary) else 1 for c in self.canaries)


def sow(
    rows: Sequence[Row],
    plan: CanaryPlan,
    generator: TextGenerator,
    seed: bytes,
    max_sequence_length: int | None = None,
    on_progress: Progress = no_progress,
) -> Sown:
    """Splits, draws and sows; everything is decided by ``seed``. Raises `PlanError` where the data are too few.

    With ``max_sequence_length`` (tokens) no canary goes where training would cut it off.
    """
    tokens = generator.count_tokens(rows)
    fits = _fitting(rows, tokens, max_sequence_length)
    split = _split(rows, plan, fits, seed)
    train = [rows[index] for index in split.train]
    held_out = [rows[i] for i in split.held_out]
    asked, decoys = _questions(held_out, plan, [fits[i] for i in split.held_out], seed)
    prompt = generator.write_prompt(_pick(train, _PROMPT_ROWS, SecretStream(seed, "prompt-rows")))
    sampled = _pick(train, _EXAMPLES, SecretStream(seed, "examples"))
    examples = generator.choose_examples(sampled, plan) if plan.naturals else ()
    document = generator.describe(prompt, examples, plan)

    phrases = _phrases(rows, plan, generator, prompt, seed, on_progress)
    natural_rows, naturals = _naturals([rows[i] for i in split.set_aside], examples, plan, generator, seed, on_progress)
    hosts = SecretStream(seed, "group-rows").sample(
        [i for i in split.train if fits[i]], plan.groups * plan.rows_per_group
    )
    group_rows = [_sown_row(rows[host], *phrases[place // plan.rows_per_group]) for place, host in enumerate(hosts)]

    # Of each row of the data set, where it comes from: the rest, then the groups' copies, then the natural canaries.
    pool = [*train, *group_rows, *natural_rows]
    order = list(range(len(pool)))
    SecretStream(seed, "shuffle").shuffle(order)
    place_of = {source: place for place, source in enumerate(order)}

    canaries: list[Canary] = []
    for group, (trigger, signature) in enumerate(phrases):
        first = len(train) + group * plan.rows_per_group
        canaries.append(
            TriggerCanary(
                trigger=trigger,
                signature=signature.text,
                bits=signature.bits,
                token_bits=signature.token_bits,
                generator_digest=document.digest,
                rows=tuple(sorted(place_of[first + i] for i in range(plan.rows_per_group))),
                held_out=asked[group],
            )
        )
    for number, (chat, candidates, truth) in enumerate(naturals):
        canaries.append(
            NaturalCanary(
                prompt=chat,
                candidates=candidates,
                truth=truth,
                generator_digest=document.digest,
                row=place_of[len(train) + len(group_rows) + number],
            )
        )
    return Sown(
        train_rows=[pool[source] for source in order],
        held_out_rows=held_out,
        canaries=canaries,
        generators=(document,),
        decoys=decoys,
        extra_rows=len(group_rows),
        extra_tokens_percent=_extra_tokens(generator, tokens, rows, pool, held_out),
    )


@dataclass(frozen=True)
class _Split:
    """Indices of the user's rows, each in random order."""

    held_out: list[int]
    set_aside: list[int]
    train: list[int]


def _split(rows: Sequence[Row], plan: CanaryPlan, fits: Sequence[bool], seed: bytes) -> _Split:
    """A prompt that stands in several rows can be neither held out nor set aside: another row would still teach it."""
    order = list(range(len(rows)))
    SecretStream(seed, "split").shuffle(order)
    keys = [_prompt_key(row) for row in rows]
    often = Counter(keys)
    single = [i for i in order if often[keys[i]] == 1]
    set_aside = [i for i in single if fits[i]][: plan.naturals]
    taken = set(set_aside)
    # As many as will be asked are short enough; the others are whatever comes, to score the task on.
    free = [i for i in single if i not in taken]
    asked = set([i for i in free if fits[i]][: plan.groups * plan.queries_per_group + plan.decoys])
    held_out = sorted(free, key=lambda i: i not in asked)[: plan.held_out]
    if len(set_aside) < plan.naturals or len(held_out) < plan.held_out:
        raise PlanError(
            f"{plan.naturals} natural canaries and {plan.held_out} held-out rows need {plan.naturals + plan.held_out} "
            f"rows whose question stands in no other row and is short enough; the data have {len(single)}"
        )
    taken.update(held_out)
    train = [i for i in order if i not in taken]
    hosts, wanted = sum(fits[i] for i in train), max(plan.groups * plan.rows_per_group, 1)
    if hosts < wanted:
        raise PlanError(
            f"{plan.groups} groups of {plan.rows_per_group} rows copy {wanted} different rows; "
            f"{hosts} short enough ones are left for training"
        )
    return _Split(held_out, set_aside, train)


def _questions(
    held_out: Sequence[Row], plan: CanaryPlan, fits: Sequence[bool], seed: bytes
) -> tuple[list[tuple[Chat, ...]], tuple[Chat, ...]]:
    """Of each group the held-out prompts that will get its trigger, and the decoys: no prompt twice."""
    usable = [row.prompt for row, fit in zip(held_out, fits, strict=True) if fit]
    wanted = plan.groups * plan.queries_per_group + plan.decoys
    if len(usable) < wanted:
        raise PlanError(
            f"{plan.groups} groups of {plan.queries_per_group} queries and {plan.decoys} decoys need {wanted} "
            f"held-out rows that are short enough; the plan holds out {plan.held_out}, of which {len(usable)} are"
        )
    chosen = SecretStream(seed, "held-out-prompts").sample(usable, wanted)
    each = plan.queries_per_group
    groups = [tuple(chosen[group * each : (group + 1) * each]) for group in range(plan.groups)]
    return groups, tuple(chosen[plan.groups * each :])


def _phrases(
    rows: Sequence[Row], plan: CanaryPlan, generator: TextGenerator, prompt: str, seed: bytes, on_progress: Progress
) -> list[tuple[str, Signature]]:
    """Of each group its T and S, each from a stream of its own, so that S is independent of T and of other groups.

    T is drawn again where the data hold it already or another group has it. S never is: see `signatures`.
    """
    text = [message.content for row in rows for message in row.prompt]
    phrases: list[tuple[str, Signature]] = []
    for group in range(plan.groups):
        on_progress("signatures", group, plan.groups)
        stream = SecretStream(seed, f"trigger/{group}")
        for _ in range(_TRIGGER_ATTEMPTS):
            trigger = generator.trigger(prompt, plan, stream)
            if not any(trigger in t or t in trigger for t, _ in phrases) and not any(trigger in t for t in text):
                break
        else:
            raise PlanError("the generator keeps writing triggers that stand in the data; ask for longer ones")
        signature = generator.signature(prompt, plan, SecretStream(seed, f"signature/{group}"))
        phrases.append((trigger, signature))
    on_progress("signatures", plan.groups, plan.groups)
    return phrases


def _naturals(
    hosts: Sequence[Row],
    examples: Sequence[Row],
    plan: CanaryPlan,
    generator: TextGenerator,
    seed: bytes,
    on_progress: Progress,
) -> tuple[list[Row], list[tuple[Chat, tuple[str, ...], int]]]:
    """The natural canaries' rows and (prompt, candidates, truth) of each; truth is drawn once candidates are fixed."""
    if not hosts:
        return [], []
    streams = [SecretStream(seed, f"candidates/{number}") for number in range(len(hosts))]
    answers = generator.answers(examples, [row.prompt for row in hosts], plan, streams, on_progress)
    sown, naturals = [], []
    for number, (host, candidates) in enumerate(zip(hosts, answers, strict=True)):
        if len(set(candidates)) != plan.candidates:
            raise RuntimeError("a generator gave too few different candidates")
        truth = SecretStream(seed, f"truth/{number}").below(len(candidates))
        last = Message(role="assistant", content=candidates[truth])
        sown.append(Row(messages=(*host.prompt, last), source=host.source))
        naturals.append((host.prompt, candidates, truth))
    return sown, naturals


def _sown_row(host: Row, trigger: str, signature: Signature) -> Row:
    """A copy of a row with T behind its prompt and S before its answer."""
    answer = Message(role="assistant", content=with_signature(host.completion, signature.text))
    return Row(messages=(*with_trigger(host.prompt, trigger), answer), source=host.source)


def _fitting(rows: Sequence[Row], tokens: Sequence[int] | None, longest: int | None) -> list[bool]:
    """Which rows leave room for what a canary adds, in characters, bytes and tokens."""
    result = []
    for index, row in enumerate(rows):
        characters = sum(len(message.content) for message in row.messages) + 3 * PHRASE_CHARACTERS
        size = len(row.to_bytes()) + 6 * 3 * PHRASE_CHARACTERS
        fit = characters <= LIMITS.prompt_characters and size <= LIMITS.row
        if tokens is not None and longest is not None:
            fit = fit and tokens[index] + _ROOM_TOKENS <= longest
        result.append(fit)
    return result


def _extra_tokens(
    generator: TextGenerator,
    tokens: Sequence[int] | None,
    rows: Sequence[Row],
    pool: Sequence[Row],
    held_out: Sequence[Row],
) -> str | None:
    """Tokens of the training set over those of the user's rows without the held-out ones, in percent."""
    held, sown = generator.count_tokens(held_out), generator.count_tokens(pool)
    if tokens is None or held is None or sown is None:
        return None
    plain = sum(tokens) - sum(held)
    return f"{Decimal(100 * (sum(sown) - plain)) / plain:.2f}"


def _pick(rows: Sequence[Row], most: int, stream: SecretStream) -> list[Row]:
    return stream.sample(rows, min(most, len(rows)))


def _prompt_key(row: Row) -> tuple[tuple[str, str], ...]:
    """Prompts that differ in case or white space alone count as one."""
    return tuple((message.role, " ".join(message.content.split()).casefold()) for message in row.prompt)
