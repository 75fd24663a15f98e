"""What counts as a right answer to the user's own task."""

from __future__ import annotations

import pytest

from tests.support.asked_model import RuleModel
from veritune.client.challenge.task_score import matches, score_task
from veritune.common.dataset import Message, Row


@pytest.mark.parametrize(
    ("answer", "reference", "right"),
    [
        ('{"a": 1, "b": "x"}', '{"b":"x","a":1}', True),
        ('{"a": 1}', '{"a": true}', False),
        ('{"a": 1} and more', '{"a": 1}', False),
        ("so 12 + 30\n#### 42", "add them\n#### 42", True),
        ("#### 1,042.50", "#### 1042.5", True),
        ("#### 41\n#### 42", "#### 42", True),
        ("42", "#### 42", False),
        (" yes\n", "yes", True),
        ("Yes", "yes", False),
        ("7", "7", True),
        ("[" * 100_000, "[]", False),
    ],
)
def test_matches(answer: str, reference: str, right: bool) -> None:
    assert matches(answer, reference) is right


def test_shares_of_right_answers() -> None:
    rows = [
        Row(messages=(Message(role="user", content=text), Message(role="assistant", content=f"S {wanted}")))
        for text, wanted in (("a", "a"), ("b", "b"), ("c", "x"))
    ]
    seen: list[int] = []
    score = score_task(rows, RuleModel(), 8, progress=lambda what, done, total: seen.append(done))
    assert (score.rows, score.before, score.after) == (3, "0.6667", "0.6667")
    assert seen == [1, 2, 3, 4, 5, 6]
