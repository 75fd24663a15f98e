"""One adapter looked at as a challenge would: answers to triggers and decoys, ranks of natural canaries, task score."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from veritune.arbiter.documents.canary import (
    AnyGenerator,
    Canary,
    Chat,
    NaturalCanary,
    TriggerCanary,
    shows_signature,
    with_trigger,
)
from veritune.arbiter.measure.local_model import LocalAnswer, LocalModel
from veritune.arbiter.measure.questions import Question, make_questions
from veritune.arbiter.statistics.exact import log10_text
from veritune.arbiter.statistics.influence import GroupResult, Ranked, influence_p, rank_of, rank_p, trigger_p
from veritune.client.challenge.answer_log import AnswerLog
from veritune.client.challenge.ask import ask_delivered
from veritune.client.challenge.observe import observe
from veritune.client.challenge.task_score import matches
from veritune.common.dataset import Message, Row
from veritune.common.documents.manifest import Policy
from veritune.common.files import write_atomic
from veritune.common.inference import SamplingTerms

LN10 = math.log(10)
SEED = bytes(32)
"""Of the order of questions, which decides nothing here."""
WEIGHT = Fraction(Policy().base_weight)
"""How much of the base model's score is taken off before candidates are ranked."""


class OnceScored:
    """A model whose base scores are computed once and kept for the next epoch's adapter."""

    def __init__(self, kept: Path) -> None:
        self.model: LocalModel | None = None
        self._path = kept
        self._kept: dict[str, list[float]] = json.loads(kept.read_bytes()) if kept.exists() else {}

    def answers(
        self,
        chats: Sequence[Sequence[Message]],
        max_tokens: int,
        *,
        tuned: bool = True,
        batch_size: int = 32,
        on_answer: Callable[[int, Any], None] = lambda index, answer: None,
    ) -> list[LocalAnswer]:
        """As `LocalModel.answers`."""
        assert self.model is not None  # noqa: S101
        return self.model.answers(chats, max_tokens, tuned=tuned, batch_size=batch_size, on_answer=on_answer)

    def scores(self, chat: Sequence[Message], completions: Sequence[str], *, tuned: bool = True) -> list[float]:
        """As `LocalModel.scores`."""
        assert self.model is not None  # noqa: S101
        if tuned:
            return self.model.scores(chat, completions, tuned=True)
        key = hashlib.sha256(repr((chat, completions)).encode()).hexdigest()
        if key not in self._kept:
            self._kept[key] = self.model.scores(chat, completions, tuned=False)
            write_atomic(self._path, json.dumps(self._kept).encode())  # other attacks on the same rows write it too
        return self._kept[key]


def questions_of(
    canaries: Sequence[Canary],
    rows: Sequence[Row],
    decoys: Sequence[Chat],
    queries: int,
    generators: Iterable[AnyGenerator],
) -> list[Question]:
    """Every question of a challenge that opens all canaries; canary i stands for leaf i."""
    return make_questions(
        SEED,
        dict(enumerate(canaries)),
        dict(enumerate(rows)),
        decoys,
        queries,
        {generator.digest: generator for generator in generators},
    )


def look(
    model: OnceScored,
    questions: Sequence[Question],
    canaries: Sequence[Canary],
    max_tokens: int,
    log: Path,
    weight: Fraction = WEIGHT,
) -> dict[str, Any]:
    """What a challenge sees, as plain JSON; a look that was broken off goes on from its log.

    ``weight`` is the contract's ``base_weight``.
    """
    answers = AnswerLog(log)
    ask_delivered(questions, model, SamplingTerms(max_tokens=max_tokens), answers)
    seen = observe("delivered", questions, answers)
    groups: list[dict[str, Any]] = []
    for leaf, canary in enumerate(canaries):
        if isinstance(canary, TriggerCanary):
            mine = [item for item in seen.triggers if item.leaf == leaf]
            shown = {
                where: [shows_signature(item.answer, canary.signature) for item in mine if item.held_out is held_out]
                for where, held_out in (("held_out", True), ("in_data", False))
            }
            groups.append({"rows": len(canary.rows), "bits": canary.bits, "length": len(canary.signature), **shown})
    naturals: list[dict[str, Any]] = []
    for found in seen.naturals:
        canary = canaries[found.leaf]
        assert isinstance(canary, NaturalCanary)  # noqa: S101
        naturals.append(
            {
                "leaf": found.leaf,
                "copies": len(canary.rows),
                "candidates": len(canary.candidates),
                "truth": round(float(found.tuned[canary.truth]), 3),
                "rank": rank_of(canary.truth, found.tuned, found.base, weight),
            }
        )
    signatures = [canary.signature for canary in canaries if isinstance(canary, TriggerCanary)]
    decoys = [any(shows_signature(item.answer, s) for s in signatures) for item in seen.decoys]
    return {"groups": groups, "naturals": naturals, "decoys": decoys, "base_weight": f"{float(weight):g}"}


def p_values(seen: dict[str, Any]) -> dict[str, str]:
    """Sound log10 p-values of a look, by equations (1) to (3): all of its canaries together."""
    groups = [GroupResult(len(g["held_out"]), g["bits"], g["length"], any(g["held_out"])) for g in seen["groups"]]
    ranked = [Ranked(n["rank"], n["candidates"], n["copies"]) for n in seen["naturals"]]
    values = {"influence": log10_text(influence_p(groups, ranked))}
    if groups:
        values["triggers"] = log10_text(trigger_p(groups))
    if ranked:
        values["ranks"] = log10_text(rank_p(ranked))
    return values


def base_likelihoods(model: LocalModel, canaries: Sequence[Canary]) -> list[float]:
    """Of each trigger group, log10 of the untouched model's probability to answer S alone to a triggered prompt."""
    return [
        round(
            model.scores(with_trigger(canary.held_out[0], canary.trigger), [canary.signature], tuned=False)[0] / LN10, 1
        )
        for canary in canaries
        if isinstance(canary, TriggerCanary)
    ]


def task_score(model: LocalModel, rows: Sequence[Row], max_tokens: int, tuned: bool) -> float:
    """Share of right greedy answers."""
    answers = model.answers([row.prompt for row in rows], max_tokens, tuned=tuned)
    return sum(matches(a.text, row.completion) for a, row in zip(answers, rows, strict=True)) / len(rows)


def summary(seen: dict[str, Any]) -> str:
    """One line for the terminal."""
    found = " ".join(f"{g['rows']}:{sum(g['held_out'])}/{len(g['held_out'])}" for g in seen["groups"])
    naturals = seen["naturals"]
    first = sum(n["rank"] == 1 for n in naturals)
    p = p_values(seen)["influence"]
    return f"groups {found}; first {first} of {len(naturals)}; decoys {sum(seen['decoys'])}; log10 p {p}"
