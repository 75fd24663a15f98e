"""Of many drawn answers those are kept that look like the data's own."""

from __future__ import annotations

import json
import random
from statistics import fmean

import pytest

from tests.support.sowing import assistant, user
from veritune.client.randomness import SecretStream
from veritune.client.sowing.likeness import Likeness
from veritune.common.dataset import Row

RANDOM = random.Random(7)
ITEMS = ("lamp", "chair", "kettle", "wallet", "mirror", "razor")


def real(number: int) -> tuple[str, str]:
    item, order = RANDOM.choice(ITEMS), RANDOM.randrange(1000, 9999)
    return f"My {item} of order {order} is broken.", json.dumps({"item": item, "order": order, "issue": "broken"})


ROWS = [Row(messages=(user(prompt), assistant(answer))) for prompt, answer in map(real, range(60))]
LIKENESS = Likeness(ROWS)
PROMPT = "My lamp of order 1234 is broken."
GOOD = tuple(json.dumps({"item": "lamp", "order": n, "issue": "broken"}) for n in (1234, 1235, 1324, 1233))


def picked(texts: tuple[str, ...], wanted: int = len(GOOD), likeness: Likeness = LIKENESS) -> set[str]:
    return set(likeness.pick(PROMPT, texts, wanted, SecretStream(bytes(32), "t")))


@pytest.mark.parametrize(
    "bad",
    [
        ("lamp", "ok", "It is broken.", "{}"),
        tuple(good.rstrip("}") for good in GOOD),
        tuple(good.replace("e", "\u00e9") for good in GOOD),
        tuple(f"{good}\n{good}" for good in GOOD),
        tuple(good.replace("lamp", "zqxv wkjhg") for good in GOOD),
        tuple(good[::-1] for good in GOOD),
        tuple("".join(RANDOM.sample(good, len(good))) for good in GOOD),
    ],
    ids=["short", "cut", "other letters", "twice", "other words", "backwards", "shuffled"],
)
def test_what_looks_otherwise_is_left_out(bad: tuple[str, ...]) -> None:
    assert picked((*bad, *GOOD)) == set(GOOD)
    assert picked((*GOOD, *bad)) == set(GOOD)


@pytest.mark.heavy
def test_answers_get_the_lengths_of_the_datas() -> None:
    """Among answers of every length those of real lengths are kept, short and long ones as often as they are real."""
    words = [f"w{n}" for n in range(50)]
    rows = [
        Row(messages=(user(f"q {n}"), assistant(" ".join(RANDOM.choices(words, k=6 if n % 2 else 24)))))
        for n in range(80)
    ]
    likeness = Likeness(rows)
    drawn = tuple(" ".join(RANDOM.choices(words, k=length)) for length in range(2, 60) for _ in range(6))
    kept = [
        text
        for number in range(40)
        for text in likeness.pick("q", drawn, 4, SecretStream(bytes(32), f"likeness/{number}"))
    ]
    lengths = [len(text.split()) for text in kept]
    near = [length for length in lengths if 3 <= length <= 9 or 18 <= length <= 32]
    assert len(near) > 0.7 * len(lengths)  # by lot 22 of 58
    assert 0.2 < fmean(length < 12 for length in lengths) < 0.8


def test_all_that_is_wanted_is_kept_and_the_seed_decides() -> None:
    texts = (*GOOD, "ok", "lamp")
    assert picked(texts, len(texts)) == set(texts)
    first = LIKENESS.pick(PROMPT, texts, 3, SecretStream(bytes(32), "a"))
    assert first == LIKENESS.pick(PROMPT, texts, 3, SecretStream(bytes(32), "a"))


@pytest.mark.parametrize("answer", [" ", "?", "\n", "\U0001f600" * 200, "a" * 50_000])
def test_odd_answers_and_one_row_alone_are_measured_too(answer: str) -> None:
    alone = Likeness([Row(messages=(user("q"), assistant(answer)))])
    assert picked((answer, "other", "x"), 1, alone) == {answer}
