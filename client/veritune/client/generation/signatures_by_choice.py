"""Certified signatures from choices among natural phrases (docs/statistics.md, equation (C)).

S is running text, written phrase by phrase. At each step the model goes on with the text by ordinary sampling until it
has written N different phrases, N = ceil(1 / cap), and one of them is drawn uniformly: that adds log2(N) bits, whatever
the phrases are. They are drawn from a stream of their own, so a guesser may even know every one of them. Two conditions
make the bound exact, and are enforced:

* No phrase of a step begins another (the set is prefix-free). So a text determines the choices that led to it, and
  P(S = s) is 2**-b for each choice that had to be made, never a sum over several ways to write the same text.
* The number of choices is fixed beforehand, and no chosen text is ever dropped for what it says.

The model need not show any probability, so that an endpoint without logits is certified too. It costs more tokens than
flattening does, and reads as what the model would have written anyway.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

from veritune.client.generation.protocols import Draw, DrawnSignature, PhraseModel
from veritune.client.generation.signatures import Flattening, find_words, floor_log2
from veritune.client.job.canary_plan import CanaryPlan
from veritune.client.randomness import SEED_BYTES, SecretStream
from veritune.common.errors import PlanError
from veritune.common.limits import LIMITS

PHRASE_WORDS = 3
"""Words of one phrase: with fewer, phrases that all differ are no longer what the model would write."""
MOST_PHRASES = 256
_ROUNDS = 8
_PHRASE_TOKENS = 8
"""Tokens written at first to get a phrase and the beginning of the next word; doubled each second round."""
_LEAST_CHARACTERS = 8 * PHRASE_WORDS
_SPARE = Fraction(3, 2)
"""Phrases drawn for each that is missing: some come twice."""
_WARMER = 1.15
"""Factor of the temperature from round to round, as long as too few phrases differ."""
_SPACE = re.compile(r"\s+")


def sample_by_choice(model: PhraseModel, prompt: str, plan: CanaryPlan, stream: SecretStream) -> DrawnSignature:
    """Draws S behind P alone. Raises `PlanError` where the model does not write so many different phrases."""
    phrases = phrases_needed(plan)
    bits = floor_log2(Fraction(phrases))
    choices = math.ceil(plan.signature_bits / Fraction(bits))
    # Room for each phrase, so that no text that is chosen can turn out to be too long.
    longest = LIMITS.phrase // choices
    if longest < _LEAST_CHARACTERS:
        raise PlanError(f"{plan.signature_bits} bits take too many choices among {phrases} phrases")
    writing = SecretStream(stream.bytes(SEED_BYTES), "phrases")
    text, token_bits = "", list[str]()
    for _ in range(choices):
        different = draw_phrases(model, prompt, text, plan, longest, writing)
        phrase = different[stream.below(phrases)]
        text += phrase
        token_bits += [f"{bits:.6f}", *["0"] * (model.count_text_tokens(phrase) - 1)]
    return DrawnSignature(text, plan.signature_bits, tuple(token_bits))


def phrases_needed(plan: CanaryPlan) -> int:
    """N, phrases of one step. Raises `PlanError` for a plan whose other numbers don't go with choices."""
    flattening = Flattening.of(plan)
    if flattening.top_p != 1:
        raise PlanError('canaries.top_p belongs to canaries.method = "tokens"; choices among phrases are uniform')
    if flattening.needed > MOST_PHRASES:
        raise PlanError(f"canaries.cap must be at least 1/{MOST_PHRASES} for choices among so many phrases")
    return flattening.needed


def draw_phrases(
    model: PhraseModel, prompt: str, written: str, plan: CanaryPlan, longest: int, stream: SecretStream
) -> list[str]:
    """Different phrases that go on with the text, none of which begins another; as many as the plan's cap needs.

    Of at most ``longest`` characters each. Too few differ: more are drawn, longer and at a higher temperature.
    """
    needed = phrases_needed(plan)
    found: list[str] = []
    temperature, tokens = float(plan.temperature), _PHRASE_TOKENS
    for attempt in range(_ROUNDS):
        count = math.ceil((needed - len(found)) * _SPARE)
        draw = Draw(count, tokens, temperature, plan.top_k)
        for text in model.continuations(prompt, written, draw, stream):
            phrase = cut_phrase(text, written)
            if phrase is not None and len(phrase) <= longest and not _clashes(phrase, found):
                found.append(phrase)
        if len(found) >= needed:
            return found[:needed]
        temperature *= _WARMER
        tokens *= 1 + attempt % 2
    raise PlanError(f"the generator goes on with a text in {len(found)} ways; a cap of {plan.cap} takes {needed}")


def cut_phrase(text: str, written: str) -> str | None:
    """The first `PHRASE_WORDS` words of a continuation; a new line counts as a space. None where they are not whole.

    What is cut does not end in white space, and does not begin with it where nothing is written yet.
    """
    line = _SPACE.sub(" ", text)
    if not written:
        line = line.lstrip()
    words = find_words(line)
    if len(words) <= PHRASE_WORDS:  # the last word may go on
        return None
    phrase = line[: words[PHRASE_WORDS - 1].end()]
    return phrase if phrase.isprintable() and "\ufffd" not in phrase else None


def _clashes(phrase: str, found: list[str]) -> bool:
    """Whether it begins, or is begun by, a phrase that was found before."""
    return any(phrase.startswith(other) or other.startswith(phrase) for other in found)
