"""Signatures by choice among phrases, equation (C): the bound over everything that can be written, by listing it."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.errors import fails
from tests.support.toygenerator import STARTS, WORDS, ToyModel
from veritune.client.generation.signatures_by_choice import (
    PHRASE_WORDS,
    cut_phrase,
    draw_phrases,
    phrases_needed,
    sample_by_choice,
)
from veritune.client.job.canary_plan import CanaryPlan
from veritune.client.randomness import SEED_BYTES, SecretStream
from veritune.common.errors import PlanError

SEED = b"c" * 32
MODEL = ToyModel((*STARTS, *WORDS, "."))


def plan(bits: int = 8, cap: str = "0.25", **changes: str) -> CanaryPlan:
    return CanaryPlan.model_validate(
        {"signature_bits": bits, "cap": cap, "method": "choice", "temperature": "1", **changes}
    )


def everything(terms: CanaryPlan, label: str) -> Iterator[tuple[str, Fraction]]:
    """Every signature with its exact probability, given the phrases that this label's stream draws.

    The phrases of a step depend on the choices before it; so each sequence of choices is made with a stream that gives
    just these, on the very code under test.
    """
    count = phrases_needed(terms)
    steps = math.ceil(terms.signature_bits / math.log2(count))
    for choices in itertools.product(range(count), repeat=steps):
        signature = sample_by_choice(MODEL, "", terms, Scripted(label, choices))
        yield signature.text, Fraction(1, count**steps)


class Scripted(SecretStream):
    """Chooses as told; what it hands on for writing comes from its label."""

    def __init__(self, label: str, choices: tuple[int, ...]) -> None:
        self._inner, self._left = SecretStream(SEED, label), list(choices)

    def bytes(self, count: int) -> bytes:
        return self._inner.bytes(count)

    def below(self, n: int) -> int:
        return self._left.pop(0)


@pytest.mark.heavy
@pytest.mark.parametrize("terms", [plan(), plan(cap="0.0625"), plan(cap="0.34")])
def test_no_signature_is_likelier_than_certified(terms: CanaryPlan) -> None:
    for label in ("a", "b"):
        total: dict[str, Fraction] = {}
        for text, probability in everything(terms, label):
            total[text] = total.get(text, Fraction(0)) + probability
        assert sum(total.values()) == 1
        assert max(total.values()) <= Fraction(1, 2**terms.signature_bits)
        assert all(text == text.strip() and text.isprintable() for text in total)


def test_no_signature_begins_another() -> None:
    """Given the phrases: one answer can so begin with at most one of all signatures."""
    texts = sorted(text for text, _ in everything(plan(), "a"))
    assert not any(b.startswith(a) for a, b in itertools.pairwise(texts))


def test_bits_are_counted_at_the_chosen_phrases() -> None:
    signature = sample_by_choice(MODEL, "", plan(bits=64), SecretStream(SEED, "s"))
    bits = [Decimal(text) for text in signature.token_bits]
    assert signature.bits == 64
    assert [b for b in bits if b] == [2] * 32
    assert len(bits) >= 32 * PHRASE_WORDS - 4
    assert bits[0] == 2


def test_a_cap_between_two_powers_pays_what_it_is_worth() -> None:
    signature = sample_by_choice(MODEL, "", plan(bits=64, cap="0.2"), SecretStream(SEED, "s"))
    first = Decimal(signature.token_bits[0])
    assert first == Decimal("2.321928")  # log2(5), rounded down
    assert sum(map(Decimal, signature.token_bits)) >= 64 > sum(map(Decimal, signature.token_bits)) - first


def test_the_same_stream_draws_the_same() -> None:
    first, again, other = (sample_by_choice(MODEL, "", plan(bits=20), SecretStream(SEED, label)) for label in "aab")
    assert first == again != other


def test_choices_are_even_whatever_the_phrases_are() -> None:
    """The first phrase of 800 signatures that share their phrases: chi-squared with 3 degrees of freedom."""
    counts: Counter[str] = Counter()
    for number in range(800):
        phrases = draw_phrases(MODEL, "", "", plan(), 100, SecretStream(SEED, "shared"))
        counts[phrases[SecretStream(SEED, f"choice/{number}").below(4)]] += 1
    assert len(counts) == 4
    assert sum((seen - 200) ** 2 / 200 for seen in counts.values()) < 30


def test_phrases_of_a_step_are_prefix_free() -> None:
    for number in range(30):
        found = draw_phrases(MODEL, "", "The lamp", plan(cap="0.0625"), 200, SecretStream(SEED, f"p{number}"))
        assert len(found) == 16
        assert not any(a != b and b.startswith(a) for a in found for b in found)
        assert len(set(found)) == 16


def test_too_dull_a_model_is_an_error_not_a_loop() -> None:
    dull = ToyModel(("a ", "\n"), scores=lambda _: [0.0, -60.0])
    with fails(PlanError, cause="ways", found="1"):
        sample_by_choice(dull, "", plan(), SecretStream(SEED, "a"))


@pytest.mark.parametrize(
    ("terms", "metadata"),
    [
        (plan(top_p="0.9"), {"setting": "canaries.top_p"}),
        (plan(cap="0.001"), {"setting": "canaries.cap", "cause": "phrases"}),
        (plan(bits=1024, cap="0.5"), {"setting": "canaries.signature_bits", "cause": "choices"}),
        (plan(cap="0.9"), {"setting": "canaries.cap"}),
    ],
)
def test_plans_that_do_not_go_with_choices(terms: CanaryPlan, metadata: dict[str, str]) -> None:
    with fails(PlanError, **metadata):
        sample_by_choice(MODEL, "", terms, SecretStream(SEED, "a"))


@pytest.mark.parametrize(
    ("text", "written", "phrase"),
    [
        ("one two three fo", "", "one two three"),
        ("one two three", "", None),
        ("  one two\nthree fo", "", "one two three"),
        (" one two, three. Fo", "so", " one two, three."),
        ("ne two three fo", "o", "ne two three"),
        ("one \x07two three fo", "", None),
        ("one two \ufffd three four five", "", None),
        ("", "", None),
    ],
)
def test_a_phrase_is_cut_where_a_word_is_whole(text: str, written: str, phrase: str | None) -> None:
    assert cut_phrase(text, written) == phrase


@given(st.text(max_size=60), st.booleans())
def test_any_text_is_cut_without_an_error(text: str, first: bool) -> None:
    phrase = cut_phrase(text, "" if first else "x")
    assert phrase is None or (
        phrase.isprintable() and phrase == phrase.rstrip() and (not first or phrase == phrase.strip())
    )


def test_the_stream_for_writing_is_not_the_stream_for_choosing() -> None:
    """Whoever knows how the phrases were drawn knows nothing of the choices."""
    stream = SecretStream(SEED, "s")
    handed_on = stream.bytes(SEED_BYTES)
    signature = sample_by_choice(MODEL, "", plan(), SecretStream(SEED, "s"))
    phrases = draw_phrases(MODEL, "", "", plan(), 2000, SecretStream(handed_on, "phrases"))
    assert signature.text.startswith(phrases[stream.below(4)])
