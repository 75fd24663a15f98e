"""Sowing: Algorithm 1 of vTune for m trigger groups, and natural canaries besides.

Rows are split three ways. *Held-out* rows are never sent: challenges append triggers to their prompts, and ask some
prompts as decoys. *Set-aside* rows each become a natural canary: they are sent with one of K + 1 candidate answers, the
generator's or the data's, instead of their own. *All other* rows are sent unchanged or reworded, some as canaries in
place; copies of a few carry a group's trigger and signature.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from veritune.arbiter.documents.canary import (
    AnyGenerator,
    Canary,
    Chat,
    NaturalCanary,
    Rewording,
    TriggerCanary,
    with_signature,
    with_trigger,
)
from veritune.client.data.own_answers import own_answers
from veritune.client.generation.protocols import DrawnSignature, Fittable, TextGenerator
from veritune.client.job.canary_plan import CanaryPlan
from veritune.client.progress import Progress, no_progress
from veritune.client.randomness import SecretStream
from veritune.client.sowing.assemble import TriggerGroup, assemble
from veritune.client.sowing.in_place import RewrittenRows, RowRewriter
from veritune.client.sowing.likeness import Likeness
from veritune.client.sowing.naturals import draw_naturals
from veritune.client.sowing.split import ROOM_TOKENS, Split, choose_prompts, fitting, pick, split_rows
from veritune.client.wording.by_model import ModelWordings, Reworder
from veritune.common.dataset import Message, Row
from veritune.common.errors import PlanError

_PROMPT_ROWS = 24
"""Number of rows from which the prompt P is made."""
_EXAMPLES = 64
"""Number of rows among which the generator chooses examples for natural canaries."""
_FITTED_ROWS = 512
"""Largest number of rows that the generator is fitted to."""
_FITTED_SHOWN, _FITTED_EPOCHS = 448, 4
"""By default the generator is fitted to about 448 rows in all: fewer rows are repeated, for at most 4 epochs."""
_LIKE_ROWS = 2048
"""Largest number of rows with whose answers drawn answers are compared."""
_LEAST_TOKENS = 16
_TRIGGER_ATTEMPTS = 20


@dataclass(frozen=True)
class Sown:
    """The result of sowing: a shuffled training set with the canaries in it, the held-out rows and the secrets.

    ``canaries`` lists trigger groups first, then drawn answers, then canaries in place. ``extra_rows``: rows added by
    sowing. ``extra_tokens_percent``: tokens added, with two decimals; None if the generator can't count them.
    ``eligible_rows``: rows that could have carried a canary in place; None if the plan has none, or if a language model
    rewords and only some rows were tried.
    """

    train_rows: list[Row]
    held_out_rows: list[Row]
    canaries: list[Canary]
    generators: tuple[AnyGenerator, ...]
    decoys: tuple[Chat, ...]
    extra_rows: int
    extra_tokens_percent: str | None
    eligible_rows: int | None = None

    @property
    def canary_rows(self) -> int:
        """How many rows of the training set belong to a canary of any kind."""
        return sum(len(c.rows) for c in self.canaries if isinstance(c, (TriggerCanary, NaturalCanary)))


def sow(
    rows: Sequence[Row],
    plan: CanaryPlan,
    generator: TextGenerator,
    seed: bytes,
    max_sequence_length: int | None = None,
    on_progress: Progress = no_progress,
    rewording: Rewording | None = None,
) -> Sown:
    """A training set with canaries, made from the user's rows by ``plan``; ``seed`` decides every random choice.

    No canary is put where training would cut it off after ``max_sequence_length`` tokens. ``rewording`` says how
    answers are reworded; its ``examples`` are filled in here. Raises `PlanError` if rows are too few or the arguments
    don't go together, `EndpointError` if a model can't be asked.
    """
    tokens = generator.count_tokens(rows)
    if plan.naturals and not plan.candidate_tokens:
        plan = plan.model_copy(update={"candidate_tokens": _usual_tokens(rows, tokens)})
    fits = fitting(rows, tokens, max_sequence_length)
    split = split_rows(rows, plan, fits, seed)
    held_out = [rows[i] for i in split.held_out]
    asked, decoys = choose_prompts(held_out, plan, [fits[i] for i in split.held_out], seed)
    wording = _wording(rewording, plan, seed, generator, max_sequence_length)
    worded = wording.word_rows(rows, split, fits, on_progress) if wording else _as_they_are(rows, split)

    # The generator sees rows in the form in which they will be sent, so that its text looks like them, but no canaries.
    plain = [worded.rows[index] for index in split.train if index not in worded.in_place]
    prompt = generator.write_prompt(pick(plain, _PROMPT_ROWS, SecretStream(seed, "prompt-rows")))
    sampled = pick(plain, _EXAMPLES, SecretStream(seed, "examples"))
    examples = generator.choose_examples(sampled, plan) if plan.naturals or plan.in_place else ()
    everywhere = own_answers(rows) if plan.own_answers and plan.naturals else None
    given = [everywhere[i] if everywhere else () for i in split.set_aside]

    phrases = _phrases(rows, plan, generator, prompt, seed, on_progress)
    epochs = 0 if all(given) else _fit(generator, plain, plan, seed, on_progress)
    document = generator.describe(prompt, examples, plan.model_copy(update={"fitted_epochs": epochs}))
    # If all rows are reworded, drawn answers should look like reworded ones; else canaries in place change nothing.
    real = [(worded.rows if plan.reword_all else rows)[index] for index in split.train]
    likeness = Likeness(pick(real, _LIKE_ROWS, SecretStream(seed, "like-rows")))
    hosts = [rows[i] for i in split.set_aside]
    naturals = draw_naturals(hosts, given, examples, plan, generator, likeness, seed, on_progress)
    assembled = assemble(
        split.train,
        worded,
        _trigger_groups(rows, split, plan, phrases, asked, wording if plan.reword_all else None),
        naturals,
        document,
        None if rewording is None else rewording.model_copy(update={"examples": tuple(examples)}),
        SecretStream(seed, "shuffle"),
    )
    return Sown(
        train_rows=assembled.rows,
        held_out_rows=held_out,
        canaries=assembled.canaries,
        generators=assembled.generators,
        decoys=decoys,
        extra_rows=len(assembled.rows) - len(split.train) - len(naturals),
        extra_tokens_percent=_extra_tokens(generator, tokens, rows, assembled.rows, held_out),
        eligible_rows=worded.eligible,
    )


def _usual_tokens(rows: Sequence[Row], tokens: Sequence[int] | None) -> int:
    """The number of tokens that nine in ten answers don't exceed, between `_LEAST_TOKENS` and `ROOM_TOKENS`.

    An answer's share of its row's tokens is that of its characters. If tokens are not counted, one is taken for three
    characters.
    """
    sizes = [sum(len(message.content) for message in row.messages) for row in rows]
    counts = tokens or [size // 3 for size in sizes]
    answers = [len(row.completion) for row in rows]
    lengths = sorted(math.ceil(count * (a / size)) for count, a, size in zip(counts, answers, sizes, strict=True))
    return min(ROOM_TOKENS, max(_LEAST_TOKENS, lengths[len(lengths) * 9 // 10]))


def _fit(generator: TextGenerator, plain: Sequence[Row], plan: CanaryPlan, seed: bytes, on_progress: Progress) -> int:
    """Fits the generator to some of the rows and returns for how many epochs; 0 if it was not fitted."""
    if not isinstance(generator, Fittable):
        if plan.fitted_epochs:
            raise PlanError(
                "canaries.fitted_epochs needs a generator that can be fitted: a local model",
                setting="canaries.fitted_epochs",
                cause="generator",
            )
        return 0
    shown = pick(plain, _FITTED_ROWS, SecretStream(seed, "fitted-rows"))
    epochs = plan.fitted_epochs
    if epochs is None:
        epochs = min(round(_FITTED_SHOWN / max(1, len(shown))), _FITTED_EPOCHS)
    if epochs:
        generator.fit(shown, epochs, SecretStream(seed, "fit"), on_progress)
    return epochs


def _wording(
    rewording: Rewording | None, plan: CanaryPlan, seed: bytes, generator: TextGenerator, longest: int | None
) -> RowRewriter | None:
    if not plan.in_place and not plan.reword_all:
        return None
    if rewording is None:
        raise PlanError(
            "canaries.in_place and canaries.reword_all need a [rewording] that says how answers are worded",
            setting="rewording",
        )
    model = None
    if "llm" in rewording.rules:
        if not isinstance(generator, Reworder):
            raise PlanError(
                'the generator can\'t reword; for rewording.rules = ["llm"] set generator.kind = "openai"',
                setting="generator.kind",
            )
        if (able := generator.describe_rewording().model) != rewording.model:
            raise PlanError(f"rewording.model must be the generator's, {able!r}", setting="rewording.model")
        model = ModelWordings(generator, plan.wordings, rewording.protect)
    return RowRewriter(rewording, plan, seed, generator.count_tokens, longest, model)


def _as_they_are(rows: Sequence[Row], split: Split) -> RewrittenRows:
    return RewrittenRows({index: rows[index] for index in split.train}, {}, None)


def _phrases(
    rows: Sequence[Row], plan: CanaryPlan, generator: TextGenerator, prompt: str, seed: bytes, on_progress: Progress
) -> list[tuple[str, DrawnSignature]]:
    """Each group's trigger T and signature S, from separate streams, so that S is independent of T and other groups.

    T is drawn again if the data or another group have it already. S is never drawn again: that would break its bound
    (`veritune.client.generation.signatures`).
    """
    text = [message.content for row in rows for message in row.prompt]
    phrases: list[tuple[str, DrawnSignature]] = []
    for group in range(plan.groups):
        on_progress("signatures", group, plan.groups)
        stream = SecretStream(seed, f"trigger/{group}")
        for _ in range(_TRIGGER_ATTEMPTS):
            trigger = generator.trigger(prompt, plan, stream)
            if not any(trigger in t or t in trigger for t, _ in phrases) and not any(trigger in t for t in text):
                break
        else:
            raise PlanError(
                "the generator keeps writing triggers that stand in the data; raise canaries.trigger_words",
                setting="canaries.trigger_words",
            )
        signature = generator.signature(prompt, plan, SecretStream(seed, f"signature/{group}"))
        phrases.append((trigger, signature))
    on_progress("signatures", plan.groups, plan.groups)
    return phrases


def _trigger_groups(
    rows: Sequence[Row],
    split: Split,
    plan: CanaryPlan,
    phrases: Sequence[tuple[str, DrawnSignature]],
    asked: Sequence[tuple[Chat, ...]],
    wording: RowRewriter | None,
) -> list[TriggerGroup]:
    """The trigger groups, with copies of their hosts as rows; ``wording``, if given, rewords each copy.

    ``asked`` has, for each group, the held-out prompts that its trigger will be put to.
    """
    copies: list[list[Row]] = [[] for _ in phrases]
    for place, host in enumerate(split.hosts):
        group = place // plan.rows_per_group
        row = wording.anew(rows[host], f"reword-copy/{place}") if wording else rows[host]
        copies[group].append(_sown_row(row, *phrases[group]))
    return [
        TriggerGroup(trigger, signature, tuple(carriers), prompts)
        for (trigger, signature), carriers, prompts in zip(phrases, copies, asked, strict=True)
    ]


def _sown_row(host: Row, trigger: str, signature: DrawnSignature) -> Row:
    """A copy of a row with the trigger T after its prompt and the signature S before its answer."""
    answer = Message(role="assistant", content=with_signature(host.completion, signature.text))
    return Row(messages=(*with_trigger(host.prompt, trigger), answer), source=host.source)


def _extra_tokens(
    generator: TextGenerator,
    tokens: Sequence[int] | None,
    rows: Sequence[Row],
    sown: Sequence[Row],
    held_out: Sequence[Row],
) -> str | None:
    """Tokens of the training set beyond those of the user's rows without the held-out ones, in percent.

    It counts rewording too, so it can be negative. None if the generator can't count tokens.
    """
    held, sent = generator.count_tokens(held_out), generator.count_tokens(sown)
    if tokens is None or held is None or sent is None:
        return None
    plain = sum(tokens) - sum(held)
    return f"{Decimal(100 * (sum(sent) - plain)) / plain:z.2f}"
