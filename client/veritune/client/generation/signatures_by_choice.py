"""Certified signatures from choices among natural phrases (docs/statistics.md, equation (C)).

S is running text, written phrase by phrase. At each step the model continues the text by ordinary sampling until it has
written N different phrases, N = ceil(1 / cap), and one of them is drawn uniformly: that adds log2(N) bits, whatever the
phrases are. Phrases come from another stream than the draw, so the bound holds even if a guesser knows all of them. Two
conditions make the bound exact, and are enforced:

* No phrase of a step begins another (the set is prefix-free). So a text determines the choices that led to it, and
  P(S = s) is 2**-b for each choice that had to be made, never a sum over several ways to write the same text.
* The number of choices is fixed beforehand, and no chosen text is ever dropped for what it says.

The model need not show probabilities, so signatures from an endpoint without logits are certified too. This costs more
tokens than `signatures`, and the text reads like what the model would have written anyway.
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
"""Words of one phrase. With fewer, N different phrases would not be what the model usually writes."""
MOST_PHRASES = 256
_ROUNDS = 8
_PHRASE_TOKENS = 8
"""Tokens of a continuation in the first round, enough for a phrase and the start of the next word; doubled in every
second round."""
_LEAST_CHARACTERS = 8 * PHRASE_WORDS
_SPARE = Fraction(3, 2)
"""Number of phrases drawn for each one that is missing, since some come twice."""
_WARMER = 1.15
"""Factor by which the temperature rises from round to round while too few phrases differ."""
_SPACE = re.compile(r"\s+")


def sample_by_choice(model: PhraseModel, prompt: str, plan: CanaryPlan, stream: SecretStream) -> DrawnSignature:
    """A signature S of ``plan.signature_bits`` bits, drawn phrase by phrase after the prompt P (equation (C)).

    Raises `PlanError` if the model writes too few different phrases or the plan doesn't fit the method, and
    `EndpointError` if the model is remote and can't be asked.
    """
    phrases = phrases_needed(plan)
    bits = floor_log2(Fraction(phrases))
    choices = math.ceil(plan.signature_bits / Fraction(bits))
    # Each phrase has its share of the limit, so that no chosen text can turn out too long and be dropped.
    longest = LIMITS.phrase // choices
    if longest < _LEAST_CHARACTERS:
        raise PlanError(
            f"{plan.signature_bits} bits take too many choices among {phrases} phrases",
            setting="canaries.signature_bits",
            cause="choices",
        )
    writing = SecretStream(stream.bytes(SEED_BYTES), "phrases")
    text, token_bits = "", list[str]()
    for _ in range(choices):
        different = draw_phrases(model, prompt, text, plan, longest, writing)
        phrase = different[stream.below(phrases)]
        text += phrase
        token_bits += [f"{bits:.6f}", *["0"] * (model.count_text_tokens(phrase) - 1)]
    return DrawnSignature(text, plan.signature_bits, tuple(token_bits))


def phrases_needed(plan: CanaryPlan) -> int:
    """The number N of phrases of which each step draws one. Raises `PlanError` if the plan doesn't fit the method."""
    flattening = Flattening.of(plan)
    if flattening.top_p != 1:
        raise PlanError(
            'canaries.top_p belongs to canaries.method = "tokens"; choices among phrases are uniform',
            setting="canaries.top_p",
        )
    if flattening.needed > MOST_PHRASES:
        raise PlanError(
            f"canaries.cap must be at least 1/{MOST_PHRASES} for choices among so many phrases",
            setting="canaries.cap",
            cause="phrases",
        )
    return flattening.needed


def draw_phrases(
    model: PhraseModel, prompt: str, written: str, plan: CanaryPlan, longest: int, stream: SecretStream
) -> list[str]:
    """N different phrases that continue the text, none of which is a prefix of another (`phrases_needed`).

    Each has at most ``longest`` characters. While too few differ, more are drawn, longer and at a higher temperature.
    Raises `PlanError` if too few differ in the last round, `EndpointError` if a remote model can't be asked.
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
    raise PlanError(
        f"the generator goes on with a text in {len(found)} ways; a cap of {plan.cap} takes {needed}",
        cause="ways",
        found=str(len(found)),
    )


def cut_phrase(text: str, written: str) -> str | None:
    """The first `PHRASE_WORDS` words of a continuation, with line breaks as spaces; None if they aren't complete.

    The phrase doesn't end in white space. It doesn't begin with any if nothing is ``written`` yet.
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
    """True if ``phrase`` is a prefix of a phrase that was found before, or the other way round."""
    return any(phrase.startswith(other) or other.startswith(phrase) for other in found)
