"""The score of the user's own task: the share of exact matches on held-out rows, before and after training."""

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
    """True if ``answer`` counts as right.

    If the reference is a JSON object or array, the answer must be an equal JSON value. If it has ``#### number``
    (GSM8K's form), the last such numbers must be equal. Otherwise the texts must, without the white space around them.
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
    """The shares of right greedy answers of the base model and of the adapter, with four decimals.

    ``rows`` must not be empty; ``max_tokens`` limits each answer.
    """
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
    """A JSON object or array as text with sorted keys; None for anything else, also for a bare number or word."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    # As text, because Python takes 1, 1.0 and true for equal.
    return json.dumps(value, sort_keys=True) if isinstance(value, (dict, list)) else None


def _digits(number: str) -> str:
    text = number.replace(",", "")
    return text.rstrip("0").rstrip(".") if "." in text else text
