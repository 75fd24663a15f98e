"""Certified signatures: text drawn token by token so that none was likelier than 2**-H (docs/statistics.md, section 2).

The paper only estimates how likely its likeliest signature is, from 1,600 samples (vTune, section 4.2.1), which
bounds it from below. Here every step draws from weights q_t that are whole numbers with the sum W = 2**32, and adds
b_t = log2(W / largest weight), rounded down; drawing stops as soon as the sum reaches H. So for every text s that can
come out, by equation (T),

    P(S = s) = prod q_t(s_t) <= prod max q_t <= 2**-(sum b_t) <= 2**-H.

A temperature, a nucleus and a cap shape the q_t; they decide what S looks like and how soon H is reached, never whether
the bound holds. `signatures_by_choice` buys bits in another way. Three things make this exact rather than nearly so:

* The weights are integers and the draw is `SecretStream.below`, so the floats that led to the weights carry no error
  into the bound: it holds for whatever weights came out of them.
* Only tokens are allowed after which the text still tokenises to the very tokens that were written; two different
  paths therefore never give the same text, and a path's probability is its text's.
* Whether a path ends depends on the path alone, and a finished path is never thrown away and drawn again. Choosing
  among finished paths would divide every probability by that of the choice and break the bound; what must not be
  written is masked before each draw instead.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Context, Decimal
from fractions import Fraction

from veritune.client.generation.protocols import Cursor, DrawnSignature, TokenModel
from veritune.client.job.canary_plan import CanaryPlan
from veritune.client.randomness import SecretStream
from veritune.common.errors import PlanError
from veritune.common.limits import LIMITS

SCALE = 1 << 32
"""The sum W of the weights of one step."""

_MAX_TOKENS = 1280
_PLACES = Decimal("0.000001")
_DIGITS = Context(prec=50)
_MARGIN = Decimal("1e-40")  # far above the error of two 50-digit logarithms and a division
_TOKENS_PER_WORD = 16
_TRIGGER_DRAWS = 32
# In a script that is written without spaces, each letter counts as a word.
_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]|[^\s\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]+"
)


@dataclass(frozen=True)
class Flattening:
    """How a model's next-token distribution is reshaped: ``top_k``, temperature, nucleus (``top_p``), then a cap."""

    top_k: int
    temperature: float
    cap: Fraction
    top_p: float = 1.0

    @classmethod
    def of(cls, plan: CanaryPlan) -> Flattening:
        """The settings that a plan names. Raises `PlanError` for a value out of range."""
        temperature, cap, top_p = float(plan.temperature), Fraction(plan.cap), float(plan.top_p)
        if not 0.01 <= temperature <= 100:
            raise PlanError("canaries.temperature must be between 0.01 and 100", setting="canaries.temperature")
        if not Fraction(1, 4096) <= cap <= Fraction(1, 2):
            raise PlanError(
                "canaries.cap must be between 1/4096 and 1/2: a token above it would add less than one bit",
                setting="canaries.cap",
            )
        if not 0 < top_p <= 1:
            raise PlanError(
                "canaries.top_p must be above 0 and at most 1: the share of likeliest tokens that are kept",
                setting="canaries.top_p",
            )
        return cls(plan.top_k, temperature, cap, top_p)

    @property
    def needed(self) -> int:
        """The fewest tokens over which probabilities can all be at most the cap: ceil(1 / cap)."""
        return math.ceil(1 / self.cap)


@dataclass(frozen=True)
class TokenStep:
    """The allowed next tokens and their integer weights, which sum to `SCALE`."""

    tokens: tuple[int, ...]
    weights: tuple[int, ...]

    @property
    def bits(self) -> Decimal:
        """The bits that a draw adds, b_t of equation (T): log2(W / largest weight), rounded down to six places."""
        return floor_log2(Fraction(SCALE, max(self.weights)))

    def draw(self, stream: SecretStream) -> int:
        """A random token; each has probability weight / W exactly."""
        place = stream.below(SCALE)
        for token, weight in zip(self.tokens, self.weights, strict=True):
            place -= weight
            if place < 0:
                return token
        raise RuntimeError("the weights of a step do not sum to W")


def sample_signature(model: TokenModel, prompt: str, plan: CanaryPlan, stream: SecretStream) -> DrawnSignature:
    """A signature S of ``plan.signature_bits`` bits, drawn token by token after the prompt P (equation (T)).

    Raises `PlanError` if the signature gets too long or no token is allowed.
    """
    flattening, cursor = Flattening.of(plan), model.begin(prompt)
    tokens: list[int] = []
    bits: list[Decimal] = []
    total = Decimal(0)
    while total < plan.signature_bits:
        step = next_step(model, cursor, tokens, flattening)
        bits.append(step.bits)
        total += step.bits
        tokens.append(step.draw(stream))
        if len(tokens) > _MAX_TOKENS:
            raise PlanError(
                f"a signature of {plan.signature_bits} bits is longer than {_MAX_TOKENS} tokens",
                setting="canaries.signature_bits",
                cause="tokens",
            )
        cursor.advance(tokens[-1])
    text = model.decode(tokens)
    if len(text) > LIMITS.phrase:
        raise PlanError(
            f"a signature of {plan.signature_bits} bits is longer than {LIMITS.phrase} characters",
            setting="canaries.signature_bits",
            cause="characters",
        )
    return DrawnSignature(text, plan.signature_bits, tuple(f"{b:.6f}" for b in bits))


def sample_trigger(model: TokenModel, prompt: str, plan: CanaryPlan, stream: SecretStream) -> str:
    """A trigger T of at least ``plan.trigger_words`` words, drawn after P up to the end of a word or sentence.

    T needs no bound, since the test is about S alone. So it is drawn from the model's own distribution among the top
    k, and a draw that finishes too few words, such as one long number, is discarded and drawn again.

    Raises `PlanError` if the model writes too few words each time.
    """
    flattening = Flattening(plan.top_k, 1.0, Fraction(1))
    for _ in range(_TRIGGER_DRAWS):
        cursor = model.begin(prompt)
        tokens: list[int] = []
        for _ in range(_TOKENS_PER_WORD * plan.trigger_words):
            step = next_step(model, cursor, tokens, flattening)
            tokens.append(step.draw(stream))
            cursor.advance(tokens[-1])
            if (text := cut_words(model.decode(tokens), plan.trigger_words)) is not None:
                return text
    raise PlanError(f"the generator writes no {plan.trigger_words} words in a line", setting="canaries.trigger_words")


def next_step(model: TokenModel, cursor: Cursor, tokens: Sequence[int], flattening: Flattening) -> TokenStep:
    """The distribution of the next token after ``tokens``; it depends on the text so far and nothing else.

    Of the k likeliest tokens those that are allowed are kept; if they are too few, k doubles until enough are found or
    the vocabulary ends. Their nucleus is kept and capped. Raises `PlanError` if no token is allowed.
    """
    k = flattening.top_k
    while True:
        top = cursor.top(k)
        allowed = [(token, score) for token, score in top if _allowed(model, [*tokens, token])]
        if len(allowed) >= flattening.needed or k >= model.vocabulary:
            break
        k *= 2
    if not allowed:
        raise PlanError("the generator's tokenizer can't go on with the text that was drawn", cause="tokenizer")
    best = allowed[0][1]
    raw = [math.exp((score - best) / flattening.temperature) for _, score in allowed]
    kept = nucleus(raw, flattening.top_p, flattening.needed)
    total = math.fsum(raw[:kept])
    shares = cap_shares([value / total for value in raw[:kept]], float(flattening.cap))
    return TokenStep(tuple(token for token, _ in allowed[:kept]), quantise(shares))


def nucleus(weights: Sequence[float], top_p: float, least: int) -> int:
    """The number of leading weights to keep: the fewest with a share of ``top_p`` in the sum, and at least ``least``.

    ``weights`` are sorted, the largest first. For a ``top_p`` of 1 all are kept, however small the last ones are.
    """
    if top_p >= 1:
        return len(weights)
    wanted, have = top_p * math.fsum(weights), 0.0
    for count, weight in enumerate(weights, start=1):
        have += weight
        if have >= wanted and count >= least:
            return count
    return len(weights)


def cap_shares(shares: Sequence[float], cap: float) -> list[float]:
    """The shares with none above ``cap``: any excess is spread over the others in proportion (water-filling).

    If there are too few shares for that, all become equal, at or above the cap.
    """
    if len(shares) * cap <= 1:
        return [1 / len(shares)] * len(shares)
    full: set[int] = set()
    while True:
        rest = math.fsum(share for place, share in enumerate(shares) if place not in full)
        if rest <= 0:  # the others have underflowed to 0: they share equally what is left
            left = (1 - cap * len(full)) / (len(shares) - len(full))
            return [cap if place in full else left for place in range(len(shares))]
        scale = (1 - cap * len(full)) / rest
        over = {place for place, share in enumerate(shares) if place not in full and share * scale > cap}
        if not over:
            return [cap if place in full else share * scale for place, share in enumerate(shares)]
        full |= over


def quantise(shares: Sequence[float]) -> tuple[int, ...]:
    """Integer weights that sum to `SCALE`: shares are rounded down and the remainder goes to the smallest, one each.

    The bits of a step are computed from these weights, so rounding can't make the bound wrong.
    """
    weights = [int(share * SCALE) for share in shares]
    left = SCALE - sum(weights)
    order = sorted(range(len(weights)), key=lambda place: weights[place])
    each, over = divmod(left, len(weights))  # left may be negative by rounding of the sum
    weights = [weight + each for weight in weights]
    for place in order[:over]:
        weights[place] += 1
    if min(weights) < 0:
        raise RuntimeError("shares that sum to far more than one")
    return tuple(weights)


def floor_log2(ratio: Fraction) -> Decimal:
    """log2 of a ratio, rounded down to six places. Raises ``ValueError`` for a ratio below 1."""
    if ratio < 1:
        raise ValueError("a ratio below 1")
    if ratio.denominator == 1 and ratio.numerator.bit_count() == 1:
        return Decimal(ratio.numerator.bit_length() - 1).quantize(_PLACES)
    log = _DIGITS.subtract(_DIGITS.ln(Decimal(ratio.numerator)), _DIGITS.ln(Decimal(ratio.denominator)))
    value = _DIGITS.subtract(_DIGITS.divide(log, _DIGITS.ln(Decimal(2))), _MARGIN)
    return max(value, Decimal(0)).quantize(_PLACES, rounding=ROUND_FLOOR)


def cut_words(text: str, words: int) -> str | None:
    """The text cut after ``words`` words, or all of it if it ends a sentence with at least so many.

    None if the text has too few words, or its last word may not be finished.
    """
    found = find_words(text)
    if len(found) >= words and text[-1] in ".!?\u3002":
        return text
    return text[: found[words - 1].end()].rstrip() if len(found) > words else None


def find_words(text: str) -> list[re.Match[str]]:
    """The matches of all words in a text; a word has at least one letter or digit."""
    return [match for match in _WORD.finditer(text) if any(map(str.isalnum, match[0]))]


def _allowed(model: TokenModel, tokens: list[int]) -> bool:
    """True if the text is one printable line, has no white space at its ends and tokenises to ``tokens`` again."""
    if tokens[-1] in model.special:
        return False
    text = model.decode(tokens)
    if not text or text[0].isspace() or text[-1].isspace() or "\ufffd" in text or not text.isprintable():
        return False
    return model.encode(text) == tokens
