"""Certified signatures: the bound holds for everything that can be written, by listing everything."""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.errors import fails
from tests.support.toygenerator import ToyCursor, ToyModel
from veritune.client.generation.signatures import (
    SCALE,
    Flattening,
    TokenStep,
    cap_shares,
    cut_words,
    floor_log2,
    next_step,
    quantise,
    sample_signature,
    sample_trigger,
)
from veritune.client.job.canary_plan import CanaryPlan
from veritune.client.randomness import SecretStream
from veritune.common.errors import PlanError

SEED = b"s" * 32
# "ab" can be written as one token or two; a space, a newline and an end token must never come.
TOKENS = ("a", "b", "ab", " c", "\n", "<end>", " ")
ALLOWED = {"a", "b", "ab", " c"}


def plan(bits: int = 8, cap: str = "0.3", temperature: str = "1.2", top_k: int = 64) -> CanaryPlan:
    return CanaryPlan(signature_bits=bits, cap=cap, temperature=temperature, top_k=top_k)


def everything(
    model: ToyModel, terms: CanaryPlan, written: tuple[int, ...] = (), bits: Decimal = Decimal(0)
) -> Iterator[tuple[str, Fraction]]:
    """Every signature with its exact probability."""
    if bits >= terms.signature_bits:
        yield model.decode(written), Fraction(1)
        return
    cursor = ToyCursor(model)
    cursor.written = written
    step = next_step(model, cursor, list(written), Flattening.of(terms))
    for token, weight in zip(step.tokens, step.weights, strict=True):
        for text, probability in everything(model, terms, (*written, token), bits + step.bits):
            yield text, probability * Fraction(weight, SCALE)


@pytest.mark.parametrize(
    "terms", [plan(), plan(cap="0.34"), plan(temperature="0.3"), plan(temperature="4"), plan(top_k=2), plan(bits=9)]
)
def test_no_signature_is_likelier_than_certified(terms: CanaryPlan) -> None:
    found = list(everything(ToyModel(TOKENS, frozenset({5})), terms))
    texts = [text for text, _ in found]
    assert len(texts) == len(set(texts)) > 50
    assert sum(probability for _, probability in found) == 1
    assert max(probability for _, probability in found) <= Fraction(1, 2**terms.signature_bits)
    assert all(text == text.strip() and text.isprintable() and "<end>" not in text for text in texts)


def test_the_bound_is_nearly_reached() -> None:
    """A bound that were far from the truth would make signatures longer than they need be."""
    terms = plan(bits=8, cap="0.3", temperature="0.1")
    likeliest = max(probability for _, probability in everything(ToyModel(TOKENS, frozenset({5})), terms))
    assert likeliest > Fraction(1, 2**11)


def test_samples_come_as_often_as_they_should() -> None:
    """Chi-square of 1,000 draws over the whole space, at the 1e-5 point by the normal approximation."""
    model, terms, draws = ToyModel(TOKENS, frozenset({5})), plan(bits=8, top_k=4), 1000
    expected = dict(everything(model, terms))
    stream, counts = SecretStream(SEED, "many"), dict.fromkeys(expected, 0)
    for _ in range(draws):
        signature = sample_signature(model, "", terms, stream)
        assert sum(map(Decimal, signature.token_bits)) >= terms.signature_bits
        counts[signature.text] += 1
    chi = math.fsum((counts[t] - float(p) * draws) ** 2 / (float(p) * draws) for t, p in expected.items() if p)
    cells = len(expected) - 1
    assert abs(chi - cells) < 4.5 * math.sqrt(2 * cells + math.fsum(1 / (float(p) * draws) for p in expected.values()))


def test_the_papers_estimate_falls_below_the_mode() -> None:
    """1,600 samples (vTune, section 4.2.1) miss the likeliest of 16 independent tokens; the certificate does not."""
    shares = (0.3, *[0.07] * 10)
    model = ToyModel(tuple("abcdefghijk"), scores=lambda _: [math.log(share) for share in shares])
    mode = 0.3**16
    stream, best = SecretStream(SEED, "paper"), 0.0
    for _ in range(1600):
        drawn = [stream.uniform() < 0.3 for _ in range(16)]
        best = max(best, math.prod(0.3 if hit else 0.07 for hit in drawn))
    assert best < mode / 100
    signature = sample_signature(model, "", plan(bits=27, temperature="1", cap="0.5"), SecretStream(SEED, "s"))
    assert len(signature.token_bits) == 16
    assert 2.0 ** -float(sum(map(Decimal, signature.token_bits))) >= mode


def test_the_same_stream_draws_the_same() -> None:
    model = ToyModel(TOKENS, frozenset({5}))
    first, again, other = (sample_signature(model, "", plan(20), SecretStream(SEED, label)) for label in "aab")
    assert first == again != other


def test_widens_until_the_cap_can_be_kept() -> None:
    """The two likeliest tokens are forbidden ones; the third and fourth are needed for the cap of one half."""
    model = ToyModel(("\n", " ", "a", "b"), scores=lambda _: [5.0, 4.0, 0.0, 0.0])
    step = next_step(model, model.begin(""), [], Flattening.of(plan(top_k=2, cap="0.5")))
    assert step.tokens == (2, 3)
    assert step.bits == 1


def test_nothing_to_write_is_an_error_not_a_loop() -> None:
    with fails(PlanError, cause="tokenizer"):
        sample_signature(ToyModel(("\n", " ")), "", plan(), SecretStream(SEED, "a"))
    with fails(PlanError, setting="canaries.signature_bits", cause="tokens"):
        sample_signature(ToyModel(("a", "\n")), "", plan(), SecretStream(SEED, "a"))
    with fails(PlanError, setting="canaries.trigger_words"):
        sample_trigger(ToyModel(("a", "b")), "", plan(), SecretStream(SEED, "a"))


@pytest.mark.parametrize(
    ("cap", "temperature"), [("0", "1"), ("-1", "1"), ("0.6", "1"), ("0.25", "0"), ("0.25", "1e9")]
)
def test_refuses_meaningless_terms(cap: str, temperature: str) -> None:
    with pytest.raises(PlanError):
        Flattening.of(plan(cap=cap, temperature=temperature))


shares = st.lists(st.floats(1e-300, 1), min_size=1, max_size=40).map(lambda v: [x / math.fsum(v) for x in v])


@given(shares, st.floats(0.01, 1))
def test_capping_keeps_order_sum_and_cap(values: list[float], cap: float) -> None:
    capped = cap_shares(values, cap)
    assert math.isclose(math.fsum(capped), 1, rel_tol=1e-9)
    assert max(capped) <= max(cap, 1 / len(values)) * (1 + 1e-9)
    for (a, x), (b, y) in zip(zip(values, capped, strict=True), zip(values[1:], capped[1:], strict=True), strict=False):
        assert a < b or x >= y * (1 - 1e-9)
    if max(values) <= cap:
        assert all(math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-15) for a, b in zip(values, capped, strict=True))


@given(shares)
def test_weights_are_whole_and_sum_to_scale(values: list[float]) -> None:
    weights = quantise(values)
    assert sum(weights) == SCALE
    assert all(abs(w - v * SCALE) < len(values) + 1 for w, v in zip(weights, values, strict=True))


def test_a_weight_is_a_number_of_draws() -> None:
    class Counting(SecretStream):
        def __init__(self, place: int) -> None:
            self.place = place

        def below(self, n: int) -> int:
            assert n == SCALE
            return self.place

    step = TokenStep((7, 8, 9), (SCALE - 3, 0, 3))
    assert [step.draw(Counting(place)) for place in (0, SCALE - 4, SCALE - 3, SCALE - 1)] == [7, 7, 9, 9]


@given(st.integers(1, SCALE))
def test_log_is_rounded_down_and_no_further(weight: int) -> None:
    bits = floor_log2(Fraction(SCALE, weight))
    assert bits == bits.quantize(Decimal("0.000001"))
    exact = 32 - math.log2(weight)
    assert exact - 1.1e-6 < float(bits) < exact + 1e-9


def test_log_of_powers_of_two_is_exact() -> None:
    assert [floor_log2(Fraction(2**n)) for n in (0, 1, 31)] == [0, 1, 31]
    assert floor_log2(Fraction(SCALE, SCALE // 2 + 1)) < 1
    with pytest.raises(ValueError, match="below 1"):
        floor_log2(Fraction(1, 2))


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("one two three", None),
        ("one two three.", "one two three."),
        ("one two three fo", "one two three"),
        ("one two three, f", "one two three,"),
        ("one two", None),
        ("one . - two fo", None),
        ("注文番号を", "注文番"),
    ],
)
def test_words(text: str, cut: str | None) -> None:
    assert cut_words(text, 3) == cut


def test_triggers_are_lines_of_enough_words() -> None:
    model = ToyModel(("The", " lamp", " mug", " late", ".", "\n"))
    for number in range(50):
        trigger = sample_trigger(model, "", plan(), SecretStream(SEED, f"t{number}"))
        assert len(trigger.split()) >= 8
        assert trigger == trigger.strip()
        assert trigger.isprintable()
