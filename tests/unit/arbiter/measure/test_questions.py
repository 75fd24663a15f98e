"""What a session asks: everything once, in an order that only the seed decides."""

from __future__ import annotations

import pytest

from tests.support.errors import fails
from veritune.arbiter.documents.canary import (
    AnyGenerator,
    Canary,
    Generator,
    NaturalCanary,
    PaddingCanary,
    Rewording,
    TriggerCanary,
)
from veritune.arbiter.measure.questions import Question, make_questions
from veritune.common.dataset import Message, Row
from veritune.common.errors import WrongFileError

G = "d" * 64


def user(text: str) -> tuple[Message, ...]:
    return (Message(role="user", content=text),)


def trigger(index: int) -> TriggerCanary:
    return TriggerCanary(
        trigger=f"trigger {index}",
        signature=f"signature {index}",
        bits=8,
        token_bits=("8",),
        generator_digest=G,
        rows=(10 * index, 10 * index + 1, 10 * index + 2),
        held_out=(user(f"held {index} 0"), user(f"held {index} 1"), user(f"held {index} 2")),
    )


CANARIES: dict[int, Canary] = {
    3: trigger(1),
    0: PaddingCanary(),
    5: trigger(2),
    9: NaturalCanary(prompt=user("natural"), candidates=("a", "b"), truth=1, generator_digest=G, rows=(4, 6)),
}
ROWS = {
    index: Row(messages=(*user(f"row {index} trigger"), Message(role="assistant", content="x")))
    for index in (10, 11, 20, 21)
}
GENERATOR = Generator(
    kind="wordlist",
    model="toy",
    model_digest=None,
    prompt="P",
    top_k=2,
    temperature="1",
    cap="1",
    examples=(ROWS[10],),
    certified=True,
)
DECOYS = (user("decoy 0"), user("decoy 1"))


def ask(seed: bytes) -> list[Question]:
    return make_questions(seed, CANARIES, ROWS, DECOYS, 2, {G: GENERATOR})


def test_everything_is_asked_once() -> None:
    questions = ask(b"s" * 32)
    assert sorted((q.kind, q.leaf, q.held_out, q.query) for q in questions) == sorted(
        [
            *(("trigger", leaf, held_out, query) for leaf in (3, 5) for held_out in (True, False) for query in (0, 1)),
            ("decoy", 0, True, 0),
            ("decoy", 0, True, 1),
            ("natural", 9, False, 0),
        ]
    )
    assert len({q.digest for q in questions}) == len(questions)
    held_out = next(q for q in questions if q.leaf == 3 and q.held_out and q.query == 1)
    assert held_out.chat == user("held 1 1 trigger 1")
    in_data = next(q for q in questions if q.leaf == 5 and not q.held_out and q.query == 1)
    assert in_data.chat == user("row 21 trigger")


def test_the_seed_decides_the_order() -> None:
    orders = {tuple(q.digest for q in ask(bytes([n]) * 32)) for n in range(8)}
    assert len(orders) == 8
    assert ask(b"s" * 32) == ask(b"s" * 32)


def test_what_is_missing_is_named() -> None:
    with fails(WrongFileError, what="row", row="20"):
        make_questions(b"s", CANARIES, {10: ROWS[10], 11: ROWS[11]}, DECOYS, 2, {G: GENERATOR})
    with fails(WrongFileError, what="generator"):
        make_questions(b"s", CANARIES, ROWS, DECOYS, 2, {})


@pytest.mark.parametrize("document", [GENERATOR, Rewording(rules=("spacing",), examples=(ROWS[10],))])
def test_the_base_model_is_asked_behind_the_examples(document: AnyGenerator) -> None:
    """Whether a language model drew the candidates or rules worded them."""
    questions = make_questions(b"s" * 32, CANARIES, ROWS, DECOYS, 2, {G: document})
    natural = next(q for q in questions if q.kind == "natural")
    assert natural.chat == user("natural")
    assert natural.reference == (*ROWS[10].messages, *user("natural"))
