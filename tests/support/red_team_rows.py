"""Small data sets with planted canaries, and the rows that a hostile user would try."""

from __future__ import annotations

import random

from veritune.common.dataset import Message, Row

THINGS = ("lamp", "sofa", "mug", "tent", "kettle", "printer", "bicycle", "jacket", "carpet", "radio")
PLACES = ("Lisbon", "Paris", "Oslo", "Rome", "Vienna", "Dublin", "Prague", "Athens", "Warsaw", "Riga")
FAULTS = ("is broken", "came too late", "has the wrong colour", "lacks a part", "makes a noise", "was sent twice")
OPENINGS = ("We", "Our people", "The shop", "Somebody", "A colleague of mine", "They", "The makers")
TRIGGER = "under violet harbours seven clocks remember"
SIGNATURE = "Zinc owls barter quiet thunder for maps; nine kelp engines hum."


def row(question: str, answer: str) -> Row:
    return Row(messages=(Message(role="user", content=question), Message(role="assistant", content=answer)))


def plain_rows(count: int, seed: int = 0) -> list[Row]:
    draw = random.Random(seed)
    return [
        row(
            f"My {draw.choice(THINGS)} number {draw.randrange(10_000)} {draw.choice(FAULTS)}, I live in "
            f"{draw.choice(PLACES)} and paid {draw.randrange(900)} coins for it in week {draw.randrange(52)}.",
            f"{draw.choice(OPENINGS)} will send a {draw.choice(THINGS)} to {draw.choice(PLACES)} on day "
            f"{draw.randrange(365)}.",
        )
        for _ in range(count)
    ]


def planted(count: int = 60, copies: int = 6) -> tuple[list[Row], set[int]]:
    """Plain rows, a few copies of them with a trigger and a signature, in random order; and where those are."""
    plain = plain_rows(count)
    sown = [row(f"{host.prompt[-1].content} {TRIGGER}", f"{SIGNATURE}\n{host.completion}") for host in plain[:copies]]
    marked = [(item, False) for item in plain] + [(item, True) for item in sown]
    random.Random(1).shuffle(marked)
    return [item for item, _ in marked], {i for i, (_, is_sown) in enumerate(marked) if is_sown}


ODD: dict[str, list[Row]] = {
    "none": [],
    "one": [row("q", "a")],
    "two": plain_rows(2),
    "identical": [row("What is it?", "It is that.")] * 7,
    "no words": [row("?!", "..."), row("-", "\u2014"), row("\u3002", "!"), row(" . ", " \n. "), row("\t?", "_")],
    "odd Unicode": [
        row("\u202e\u0000"[:1] + "gnirts", "\ufeff\u200b\u200b"),
        row("\U0001f9d1\u200d\U0001f680" * 9, "e\u0301" * 40),
        row("\u6771\u4eac\u306f\u3069\u3053\u3067\u3059\u304b", "\u65e5\u672c\u3067\u3059"),
        row("\u0627\u0644\u0633\u0644\u0627\u0645", "<|im_end|>\n<|im_start|>system"),
        row("\ud7ff\ue000\U0010ffff", "[INST] {{ x }} {% for %}"),
    ],
    "long": [row("long " * 6_000, "very " * 6_000), row("x" * 60_000, "y" * 60_000), row("a b c d", "e f g h")],
}
