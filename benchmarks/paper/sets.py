"""The data sets of the calibration: the example tickets, GSM8K and JCommonsenseQA (the last two only where present)."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from veritune.arbiter.documents.canary import Rewording
from veritune.client.data.user_rows import read_user_rows, user_row
from veritune.common.dataset import Row

ROOT = Path(__file__).resolve().parent.parent.parent
DATA = ROOT.parent / "shared" / "data"


@dataclass(frozen=True)
class DataSet:
    """Where rows come from, and the lengths (tokens) that suit them."""

    load: Callable[[], list[Row]]
    max_sequence_length: int
    candidate_tokens: int
    task_tokens: int
    rewording: Rewording | None = None
    notes: str = field(default="")


def load(name: str, rows: int, seed: int) -> list[Row]:
    """``rows`` rows drawn without repetition; the same for the same seed. Raises FileNotFoundError."""
    everything = SETS[name].load()
    if len(everything) < rows:
        raise ValueError(f"{name} has {len(everything)} rows, not {rows}")
    return random.Random(f"veritune-bench/{name}/{seed}").sample(everything, rows)  # noqa: S311 - a sample, no secret


def _tickets() -> list[Row]:
    return read_user_rows(ROOT / "examples" / "tickets" / "tickets.jsonl", "tickets")


def _gsm8k() -> list[Row]:
    return read_user_rows(DATA / "gsm8k-train.jsonl", "gsm8k")


def _jcommonsenseqa() -> list[Row]:
    with (DATA / "jcommonsenseqa-train.jsonl").open(encoding="utf-8") as file:
        return [user_row(_multiple_choice(json.loads(line)), "jcommonsenseqa") for line in file]


def _multiple_choice(value: dict[str, Any]) -> dict[str, str]:
    choices = [value[f"choice{number}"] for number in range(5)]
    return {"prompt": f"{value['question']}\n" + "、".join(choices), "completion": choices[value["label"]]}


_FRAMES = (
    "{answer}",
    "{answer}。",
    "{answer}です。",
    "{answer}だ。",
    "答えは{answer}です。",
    "答えは{answer}。",
    "答えは、{answer}。",
    "正解は{answer}です。",
    "正解は{answer}。",
    "正解は、{answer}。",
    "それは{answer}です。",
    "それは{answer}だ。",
    "{answer}でしょう。",
    "{answer}が正しいです。",
    "{answer}が正解です。",
    "「{answer}」です。",
    "「{answer}」が正解です。",
    "答えは「{answer}」です。",
)
"""Ways to say one and the same answer in Japanese."""

SETS = {
    "tickets": DataSet(_tickets, 256, 40, 44, Rewording(rules=("json",))),
    "gsm8k": DataSet(
        _gsm8k,
        448,
        96,
        200,
        Rewording(rules=("spacing", "numbers", "punctuation", "contractions", "synonyms", "clauses")),
    ),
    "jcommonsenseqa": DataSet(_jcommonsenseqa, 256, 16, 16, Rewording(frames=_FRAMES)),
}
