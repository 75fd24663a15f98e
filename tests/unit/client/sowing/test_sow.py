"""Sowing: every canary is where it says, nothing held out is sent, and the seed alone decides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from tests.support.errors import fails
from tests.support.plans import PLAN, ROWS, SEED, canary_rows, groups, naturals, row
from tests.support.toygenerator import ToyGenerator
from veritune.arbiter.documents.canary import (
    Generator,
    carries_trigger,
    is_natural_row,
)
from veritune.client.job.canary_plan import CanaryPlan
from veritune.client.progress import Progress
from veritune.client.randomness import SecretStream
from veritune.client.sowing.sow import Sown, sow
from veritune.common.dataset import Message, Row
from veritune.common.errors import PlanError


def sown(rows: Sequence[Row] = ROWS, plan: CanaryPlan = PLAN, seed: bytes = SEED) -> Sown:
    return sow(rows, plan, ToyGenerator(), seed)


def test_every_canary_is_where_it_says() -> None:
    result = sown()
    assert len(groups(result)) == 3
    assert len(naturals(result)) == 6
    for canary in groups(result):
        assert len(canary.rows) == 4
        assert all(carries_trigger(result.train_rows[i], canary) for i in canary.rows)
        assert sum(carries_trigger(r, canary) for r in result.train_rows) == 4
        assert sum(map(float, canary.token_bits)) >= canary.bits == 20
    for natural in naturals(result):
        assert [is_natural_row(result.train_rows[i], natural) for i in natural.rows] == [True]
        assert len(set(natural.candidates)) == 5
    taken = canary_rows(result)
    assert len(taken) == len(set(taken)) == result.canary_rows == 18
    digests = {c.generator_digest for c in groups(result)} | {c.generator_digest for c in naturals(result)}
    assert digests == {result.generators[0].digest}


def test_the_rest_of_the_rows_is_sent_unchanged_and_shuffled() -> None:
    result = sown()
    plain = [r for i, r in enumerate(result.train_rows) if i not in canary_rows(result)]
    aside = {c.prompt for c in naturals(result)}
    held = {r.prompt for r in result.held_out_rows}
    assert Counter(r.to_bytes() for r in plain) == Counter(r.to_bytes() for r in ROWS if r.prompt not in aside | held)
    assert len(plain) == 60 - 12 - 6
    assert len(result.train_rows) == 60 - 12 + 12
    assert result.extra_rows == 12
    assert [r for r in ROWS if r in plain] != plain
    assert result.extra_tokens_percent is not None
    assert float(result.extra_tokens_percent) > 25


def test_held_out_prompts_are_never_sent_and_none_is_asked_twice() -> None:
    result = sown()
    sent = {r.prompt for r in result.train_rows}
    held = {r.prompt for r in result.held_out_rows}
    assert len(held) == 12
    assert not sent & held
    asked = [p for c in groups(result) for p in c.held_out] + list(result.decoys)
    assert len(asked) == len(set(asked)) == 3 * 2 + 3
    assert set(asked) <= held
    assert not {c.prompt for c in naturals(result)} & {
        r.prompt for i, r in enumerate(result.train_rows) if i not in {i for c in naturals(result) for i in c.rows}
    }


def test_repeated_questions_are_neither_held_out_nor_set_aside() -> None:
    again = [row(f"  IS item number {i}   in stock today?", "no") for i in range(30)]
    result = sown([*ROWS, *again])
    repeated = {r.prompt for r in [*ROWS[:30], *again]}
    assert not repeated & {r.prompt for r in result.held_out_rows}
    assert not repeated & {c.prompt for c in naturals(result)}
    with fails(PlanError, cause="rows"):
        sown([*ROWS[:40], *again])


def test_the_seed_decides_everything() -> None:
    assert sown() == sown()
    other = sown(seed=b"x" * 32)
    assert {c.signature for c in groups(other)}.isdisjoint(c.signature for c in groups(sown()))
    assert [r.prompt for r in other.held_out_rows] != [r.prompt for r in sown().held_out_rows]


def test_a_signature_does_not_depend_on_triggers_or_other_groups() -> None:
    """Group j's S comes from P and its own stream: more words in T, or more groups, leave it alone."""
    base = [c.signature for c in groups(sown())]
    longer = sown(plan=PLAN.model_copy(update={"trigger_words": 20}))
    assert [c.signature for c in groups(longer)] == base
    assert {c.trigger for c in groups(longer)}.isdisjoint(c.trigger for c in groups(sown()))
    fewer = sown(plan=PLAN.model_copy(update={"groups": 2, "rows_per_group": 6}))
    assert [c.signature for c in groups(fewer)] == base[:2]


def test_truth_is_even_among_candidates() -> None:
    """200 canaries of five candidates; chi-square with four degrees of freedom, 1e-6 point 33.4."""
    many = PLAN.model_copy(update={"groups": 0, "naturals": 200})
    result = sown([row(f"question {i}?") for i in range(230)], many)
    counts = Counter(c.truth for c in naturals(result))
    assert sum((counts[i] - 40) ** 2 / 40 for i in range(5)) < 33.4


def test_canaries_fit_the_sequence_length() -> None:
    long = [row(f"{i} " + "word " * 100) for i in range(40)]
    result = sow([*ROWS, *long], PLAN, ToyGenerator(), SEED, max_sequence_length=150)
    asked = [p for c in groups(result) for p in c.held_out] + [c.prompt for c in naturals(result)]
    hosts = [result.train_rows[i] for c in groups(result) for i in c.rows]
    assert all(len(p[-1].content.split()) < 50 for p in asked)
    assert all(len(h.prompt[-1].content.split()) < 50 for h in hosts)


@pytest.mark.parametrize(
    ("changes", "metadata"),
    [
        ({"held_out": 60}, {"cause": "rows"}),
        ({"naturals": 60}, {"cause": "rows"}),
        ({"rows_per_group": 30}, {"cause": "copies", "needed": "90"}),
        ({"held_out": 8}, {"cause": "prompts", "needed": "9"}),
        ({"decoys": 20}, {"cause": "prompts", "needed": "26"}),
    ],
)
def test_refuses_what_the_data_can_not_carry(changes: dict[str, int], metadata: dict[str, str]) -> None:
    with fails(PlanError, **metadata):
        sown(plan=PLAN.model_copy(update=changes))


def test_triggers_stand_nowhere_in_the_data() -> None:
    triggers = [c.trigger for c in groups(sown())]
    marked = [*ROWS, row(f"Somebody wrote {triggers[0]} already")]
    again = [c.trigger for c in groups(sow(marked, PLAN, ToyGenerator(), SEED))]
    assert triggers[0] not in again
    assert len(set(again)) == 3


class Fitted(ToyGenerator):
    """Notes what it is fitted to."""

    def __init__(self) -> None:
        super().__init__()
        self.fitted: list[tuple[list[Row], int]] = []

    def fit(self, rows: Sequence[Row], epochs: int, stream: SecretStream, on_progress: Progress) -> None:
        self.fitted.append((list(rows), epochs))


def test_a_generator_is_fitted_to_rows_that_will_be_sent() -> None:
    plan = PLAN.model_copy(update={"fitted_epochs": 3})
    generator = Fitted()
    result = sow(ROWS, plan, generator, SEED)
    ((rows, epochs),) = generator.fitted
    assert epochs == 3
    assert rows
    assert all(row in result.train_rows and row in ROWS for row in rows)
    with fails(PlanError, setting="canaries.fitted_epochs", cause="generator"):
        sow(ROWS, plan, ToyGenerator(), SEED)


MANY = [row(f"Is item number {i} in stock today?", f"item {i} is") for i in range(300)]


@pytest.mark.parametrize(
    ("changes", "rows", "expected"),
    [
        ({}, ROWS, [4]),
        ({}, MANY, [2]),
        ({"fitted_epochs": 0}, ROWS, []),
        ({"fitted_epochs": 3, "naturals": 0}, ROWS, []),
        ({"fitted_epochs": 3}, [row(f"Question {i}?", "yes" if i % 2 else "no") for i in range(len(ROWS))], []),
    ],
    ids=["by default", "of more rows", "not wanted", "no natural canary", "the data's own answers"],
)
def test_a_generator_that_has_answers_to_draw_is_fitted(
    changes: dict[str, int], rows: list[Row], expected: list[int]
) -> None:
    generator = Fitted()
    result = sow(rows, PLAN.model_copy(update=changes), generator, SEED)
    assert [epochs for _, epochs in generator.fitted] == expected
    assert isinstance(result.generators[0], Generator)
    assert result.generators[0].fitted_epochs == sum(expected)


def test_what_can_not_be_fitted_is_not_by_default() -> None:
    assert isinstance(generator := sown().generators[0], Generator)
    assert generator.fitted_epochs == 0


def test_several_turns_and_a_system_turn() -> None:
    def chat(i: int) -> Row:
        texts = [
            ("system", "Be brief."),
            ("user", f"first {i}"),
            ("assistant", "ok"),
            ("user", f"then {i}?"),
            ("assistant", "so"),
        ]
        return Row.model_validate(
            {"messages": tuple(Message.model_validate({"role": r, "content": c}) for r, c in texts)}
        )

    result = sown([chat(i) for i in range(60)])
    for canary in groups(result):
        assert all(carries_trigger(result.train_rows[i], canary) for i in canary.rows)
        assert all(len(result.train_rows[i].messages) == 5 for i in canary.rows)
