"""What the tests of sowing and planning share: plans of a few canaries, rows to sow them in, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.support.toygenerator import ToyGenerator, toy_random_wording, toy_wordings
from veritune.arbiter.documents.canary import NaturalCanary, PaddingCanary, Rewording, TriggerCanary
from veritune.client.job.canary_plan import CanaryPlan
from veritune.client.sowing import in_place as sowing_in_place
from veritune.client.sowing.sow import Sown, sow
from veritune.common.dataset import Message, Row

SEED = b"w" * 32
PLAN = CanaryPlan(
    groups=3, rows_per_group=4, signature_bits=20, naturals=6, candidates=5, held_out=12, queries_per_group=2, decoys=3
)
IN_PLACE = PLAN.model_copy(update={"in_place": 10, "wordings": 6})
REWORDING = Rewording(rules=("spacing",))


def row(question: str, answer: str = "yes") -> Row:
    return Row(messages=(Message(role="user", content=question), Message(role="assistant", content=answer)))


ROWS = [row(f"Is item number {i} in stock today?", f"item {i} is") for i in range(60)]
RICH = [row(f"How much is item number {i}?", f"Item {i} costs {i % 9 + 2} coins, as it did before.") for i in range(70)]
"""Rows whose answers have enough words to be worded in other ways."""


def sown_in_place(rows: Sequence[Row] = RICH, plan: CanaryPlan = IN_PLACE, seed: bytes = SEED, **knobs: Any) -> Sown:
    """Rows with canaries in place among them; `word_by_toy` first."""
    return sow(rows, plan, ToyGenerator(), seed, **{"rewording": REWORDING, **knobs})


def word_by_toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Words answers by a toy, which knows everything of every wording: what may be reworded has tests of its own."""
    monkeypatch.setattr(sowing_in_place, "random_wording", toy_random_wording)
    monkeypatch.setattr(sowing_in_place, "draw_wordings", toy_wordings)


def groups(result: Sown) -> list[TriggerCanary]:
    return [c for c in result.canaries if isinstance(c, TriggerCanary)]


def naturals(result: Sown) -> list[NaturalCanary]:
    return [c for c in result.canaries if isinstance(c, NaturalCanary)]


def canary_rows(result: Sown) -> list[int]:
    return [i for c in result.canaries if not isinstance(c, PaddingCanary) for i in c.rows]


def natural_canary(number: int, truth: int = 0) -> NaturalCanary:
    return NaturalCanary(
        prompt=(Message(role="user", content=f"question {number}"),),
        candidates=("yes", "no"),
        truth=truth,
        generator_digest="0" * 64,
        rows=(number,),
    )
