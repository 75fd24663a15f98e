"""Rewordings: what is written otherwise, what never is, and with which probability."""

from __future__ import annotations

import json
import re
from collections import Counter
from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.errors import fails
from veritune.arbiter.documents.canary import Rewording
from veritune.client.randomness import SecretStream
from veritune.client.wording.draw import check_rewording, draw_wordings, find_sites, random_wording
from veritune.common.errors import PlanError

ENGLISH = Rewording(rules=("spacing", "numbers", "clauses", "synonyms", "contractions", "punctuation"))
ALL = Rewording(rules=("json", *ENGLISH.rules, "japanese"))
MATHS = (
    "So, Ann has 2 cats and 1,500 fish because she bought 5+3 = <<5+3=8>>8 more at $5 each\n"
    "In total, she doesn't have 20% of them.\n"
    "#### 1,508"
)


def stream(label: str) -> SecretStream:
    return SecretStream(bytes(32), label)


def every(text: str, rewording: Rewording) -> set[str]:
    """All wordings of a text that has few."""
    total = prod(site.count for site in find_sites(text, rewording))
    assert total <= 4096
    found = draw_wordings(text, rewording, total, stream("all"))
    assert len(found) == total == len(set(found))
    return set(found)


@pytest.mark.parametrize(
    ("rule", "text", "wanted"),
    [
        ("spacing", "It is 2+3 = 5.", {"It is 2+3=5.", "It is 2 + 3 = 5.", "It is 2+3 = 5."}),
        (
            "spacing",
            "He pays $4 x 3=$12.",
            {
                "He pays $4 x 3 = $12.",
                "He pays $4 * 3 = $12.",
                "He pays $4*3 = $12.",
                "He pays $4*3=$12.",
                "He pays $4 x 3=$12.",
            },
        ),
        ("spacing", "So 2x = 6.", {"So 2x = 6."}),
        ("spacing", "Born on 2020-01-02, it is 1/2 full.", {"Born on 2020-01-02, it is 1/2 full."}),
        ("numbers", "about 12,000 people", {"about 12,000 people", "about 12000 people"}),
        ("numbers", "in 1999 people", {"in 1999 people"}),
        ("numbers", "it is 5% of", {"it is 5% of", "it is 5 percent of"}),
        ("numbers", "paid 20 dollars today", {"paid 20 dollars today", "paid $20 today"}),
        ("numbers", "a $5 bill", {"a $5 bill"}),
        ("numbers", "has three cats", {"has three cats", "has 3 cats"}),
        ("numbers", "has 3 times more, two hundred", {"has 3 times more, two hundred"}),
        ("numbers", "is 5 x 3 cats", {"is 5 x 3 cats"}),
        ("clauses", "Thus, it is", {"Thus, it is", "So, it is", "Hence, it is", "Therefore, it is"}),
        (
            "clauses",
            "In total, she has no cats.",
            {
                "In total, she has no cats.",
                "In all, she has no cats.",
                "Altogether, she has no cats.",
                "She has no cats in total.",
                "She has no cats in all.",
                "She has no cats altogether.",
            },
        ),
        ("synonyms", "They need to go.", {"They need to go.", "They have to go."}),
        ("synonyms", "This means rain", {"This means rain"}),
        (
            "synonyms",
            "This means he pays",
            {"This means he pays", "That means he pays", "This means that he pays", "That means that he pays"},
        ),
        (
            "synonyms",
            "5 per day, a day off",
            {"5 per day, a day off", "5 a day, a day off", "5 each day, a day off", "5 every day, a day off"},
        ),
        ("synonyms", "ALTOGETHER", {"ALTOGETHER"}),
        ("contractions", "Cannot go", {"Cannot go", "Can't go"}),
        (
            "punctuation",
            "one two three four.\nfive",
            {
                "one two three four.\nfive",
                "one two three four\nfive",
                "one two three four.\n\nfive",
                "one two three four\n\nfive",
                "one two three four. five",
            },
        ),
        ("punctuation", "- a list of things\nend", {"- a list of things\nend"}),
        ("punctuation", "red, green and blue", {"red, green and blue"}),
        ("punctuation", "red, green, and blue", {"red, green and blue", "red, green, and blue"}),
        ("japanese", "子供が沢山", {"子供が沢山", "子どもが沢山", "子供がたくさん", "子どもがたくさん"}),
        ("json", '{"a": 1.0}', {'{"a":1.0}', '{"a": 1.0}'}),
        (
            "json",
            '{"a":[1,true],"b":"x, y"}',
            {
                '{"a":[1,true],"b":"x, y"}',
                '{"a": [1, true], "b": "x, y"}',
                '{"b":"x, y","a":[1,true]}',
                '{"b": "x, y", "a": [1, true]}',
            },
        ),
        ("json", '{"a": 1, "a": 2}', {'{"a": 1, "a": 2}'}),
        ("json", "[1, 2]", {"[1, 2]"}),
    ],
)
def test_a_rule_writes_these_and_no_others(rule: str, text: str, wanted: set[str]) -> None:
    assert every(text, Rewording.model_validate({"rules": (rule,)})) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "#### 1,000 cats have to go",
        "see <<2+3=5>>",
        '"they have to go"',
        "`they have to go`",
        "```\nthey have to go\n```",
        r"\(2 + 3 = 5\)",
        "https://example.org/they-have to@have.to",
        "",
        "\u202e have\u0301 to",
    ],
)
def test_what_a_program_reads_is_left_alone(text: str) -> None:
    found = random_wording(text, ALL, stream("protected"))
    assert found == text
    assert draw_wordings(text, ALL, 16, stream("protected")) == (text,)


def test_users_own_words_and_patterns() -> None:
    own = Rewording(synonyms=(("order", "purchase", "sale"),), protect=("^ID.*$",))
    assert every("an order", own) == {"an order", "an purchase", "an sale"}
    assert every("ID order\nreordered", own) == {"ID order\nreordered"}
    first = Rewording(rules=("synonyms",), synonyms=(("have to go", "must leave"),))
    assert every("They have to go", first) == {"They have to go", "They must leave"}


@pytest.mark.parametrize(
    ("rewording", "metadata"),
    [
        (Rewording(), {"setting": "rewording"}),
        (Rewording(rules=("json",), protect=("(",)), {"setting": "rewording.protect", "cause": "syntax"}),
        (Rewording(synonyms=(("a", "A"),)), {"setting": "rewording.synonyms"}),
    ],
)
def test_a_rewording_that_can_not_be_used_is_refused(rewording: Rewording, metadata: dict[str, str]) -> None:
    with fails(PlanError, **metadata):
        check_rewording(rewording)
    with fails(PlanError, **metadata):
        draw_wordings("text", rewording, 2, stream("bad"))


def test_wordings_differ_and_come_from_the_stream() -> None:
    first = draw_wordings(MATHS, ENGLISH, 16, stream("a"))
    assert len(set(first)) == 16
    assert first == draw_wordings(MATHS, ENGLISH, 16, stream("a"))
    assert first != draw_wordings(MATHS, ENGLISH, 16, stream("b"))


def test_many_wordings_are_drawn_and_not_listed() -> None:
    text = " ".join(["They have to go."] * 13)
    assert prod(site.count for site in find_sites(text, ENGLISH)) > 4096
    assert len(set(draw_wordings(text, ENGLISH, 256, stream("many")))) == 256


@pytest.mark.heavy
def test_every_wording_is_equally_likely() -> None:
    """Of a row worded at random, and of a canary's true answer among any number of candidates alike."""
    text = "So, they have to go."
    ways = every(text, ENGLISH)
    assert len(ways) == 8
    alone: Counter[str] = Counter(random_wording(text, ENGLISH, stream(f"alone/{i}")) for i in range(8000))
    truth: Counter[str] = Counter()
    for i in range(8000):
        candidates = draw_wordings(text, ENGLISH, 3, stream(f"candidates/{i}"))
        truth[candidates[stream(f"truth/{i}").below(3)]] += 1
    for counts in (alone, truth):
        # Chi-squared with 7 degrees of freedom is above 40 with a probability of about 1e-6.
        assert sum((counts[way] - 1000) ** 2 / 1000 for way in ways) < 40


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=8,
    ),
    st.integers(0, 2**32),
)
@settings(max_examples=60)
def test_json_keeps_its_values(value: object, label: int) -> None:
    text = json.dumps({"kept": value, "and": [value]})
    found = random_wording(text, Rewording(rules=("json",)), stream(f"json/{label}"))
    assert json.loads(found) == json.loads(text)


@given(
    st.lists(
        st.sampled_from([*MATHS.split(" "), "\n", "####", "<<", "x", "=", '"', "have to", "10-2", "$3", "kids"]),
        max_size=40,
    ),
    st.integers(0, 2**32),
)
@settings(max_examples=100)
def test_marks_final_answers_and_figures_survive(words: list[str], label: int) -> None:
    text = " ".join(words)
    found = random_wording(text, ENGLISH, stream(f"maths/{label}"))
    for protected in (r"<<[^<>\n]*>>", r"(?m)^####.*$"):
        assert re.findall(protected, found) == re.findall(protected, text)
    assert _figures(found) == _figures(text)


@given(st.text(max_size=300), st.integers(0, 2**32))
@settings(max_examples=100)
def test_any_text_is_worded_without_an_error(text: str, label: int) -> None:
    found = draw_wordings(text, ALL, 8, stream(f"any/{label}"))
    assert 1 <= len(found) <= 8
    assert len(set(found)) == len(found)


def _figures(text: str) -> list[str]:
    """Numbers in their order, as digits."""
    words = ("two", "three", "four", "five", "six", "seven", "eight", "nine")
    for value, word in enumerate(words, start=2):
        text = re.sub(rf"\b{word}\b", str(value), text)
    return re.findall(r"\d+", re.sub(r"(?<=\d),(?=\d{3})", "", text))
