"""The score of the user's own task on held-out rows, before and after training: exact match."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from veritune.arbiter.documents.statement import TaskScore
from veritune.client.challenge.ask import Model
from veritune.client.progress import Progress, no_progress
from veritune.common.dataset import Row

METRIC = "exact match (JSON as values, else the number after ####, else text without surrounding white space)"
_NUMBER = re.compile(r"####\s*(-?[0-9][0-9,]*(?:\.[0-9]+)?)")


def matches(answer: str, reference: str) -> bool:
    """Whether an answer counts as right.

    A JSON object or array must be equal as a value; where the reference ends in ``#### number`` (GSM8K's form) the
    last such number must be equal; otherwise the texts must, white space around them aside.
    """
    wanted = _json(reference)
    if wanted is not None:
        return _json(answer) == wanted
    number = _NUMBER.findall(reference)
    if number:
        given = _NUMBER.findall(answer)
        return bool(given) and _digits(given[-1]) == _digits(number[-1])
    return answer.strip() == reference.strip()


def score_task(
    rows: Sequence[Row],
    model: Model,
    max_tokens: int,
    *,
    batch_size: int = 32,
    progress: Progress = no_progress,
) -> TaskScore:
    """Shares of right greedy answers of the base model and of the adapter; ``rows`` must not be empty."""
    chats, done = [row.prompt for row in rows], 0

    def count(index: int, answer: object) -> None:
        nonlocal done
        done += 1
        progress("task score", done, 2 * len(rows))

    shares = []
    for tuned in (False, True):
        answers = model.answers(chats, max_tokens, tuned=tuned, batch_size=batch_size, on_answer=count)
        right = sum(matches(answer.text, row.completion) for answer, row in zip(answers, rows, strict=True))
        shares.append(f"{right / len(rows):.4f}")
    return TaskScore(metric=METRIC, rows=len(rows), before=shares[0], after=shares[1])


def _json(text: str) -> str | None:
    """The sorted form of a JSON object or array; None for anything else, a bare number or word too."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    # As text, because Python takes 1, 1.0 and true for equal.
    return json.dumps(value, sort_keys=True) if isinstance(value, (dict, list)) else None


def _digits(number: str) -> str:
    text = number.replace(",", "")
    return text.rstrip("0").rstrip(".") if "." in text else text
