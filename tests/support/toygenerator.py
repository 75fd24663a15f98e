"""A language model of a few tokens: everything that it can write can be listed. And a generator over such a one."""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate

from veritune.arbiter.documents.canary import Chat, Generator, Rewording
from veritune.client.generation import signatures
from veritune.client.generation.prompts import phrase_prompt
from veritune.client.generation.protocols import Draw, DrawnSignature
from veritune.client.generation.signatures_by_choice import sample_by_choice
from veritune.client.job.canary_plan import CanaryPlan
from veritune.client.progress import Progress
from veritune.client.randomness import SecretStream
from veritune.common.dataset import Row

Scores = Callable[[tuple[int, ...]], Sequence[float]]

WORDS = (" lamp", " sofa", " mug", " tent", " broken", " late", " refund", " order", " parcel", " blue", " heavy")
STARTS = ("The", "My", "Our", "Any")


class ToyModel:
    """Tokens are strings; a text is split by the longest token first, so some token sequences are not canonical.

    Scores are unnormalised logits, pseudo-random in what was written unless ``scores`` says otherwise.
    """

    def __init__(
        self, tokens: Sequence[str], special: frozenset[int] = frozenset(), scores: Scores | None = None
    ) -> None:
        self.tokens = tuple(tokens)
        self.special = special
        self._scores = scores or self._hashed

    @property
    def vocabulary(self) -> int:
        return len(self.tokens)

    def begin(self, prompt: str) -> ToyCursor:
        return ToyCursor(self)

    def encode(self, text: str) -> list[int]:
        ids = []
        while text:
            best = max((t for t in self.tokens if t and text.startswith(t)), key=len, default="")
            if not best:
                return []
            ids.append(self.tokens.index(best))
            text = text[len(best) :]
        return ids

    def decode(self, tokens: Sequence[int]) -> str:
        return "".join(self.tokens[token] for token in tokens)

    def continuations(self, prompt: str, written: str, draw: Draw, stream: SecretStream) -> list[str]:
        texts = []
        start = tuple(self.encode(written) or self.encode(f" {written}"))  # a text's first space is no part of it
        for _ in range(draw.count):
            cursor = ToyCursor(self)
            cursor.written = start
            for _ in range(draw.tokens):
                likely = [(t, s) for t, s in cursor.top(draw.top_k) if t not in self.special]
                sums = list(accumulate(math.exp(score / draw.temperature) for _, score in likely))
                cursor.advance(likely[bisect_right(sums, stream.uniform() * sums[-1])][0])
            texts.append(self.decode(cursor.written[len(start) :]))
        return texts

    def count_text_tokens(self, text: str) -> int:
        return len(self.encode(text))

    def log_probabilities(self, written: tuple[int, ...]) -> list[float]:
        scores = self._scores(written)
        total = math.log(math.fsum(math.exp(score) for score in scores))
        return [score - total for score in scores]

    def _hashed(self, written: tuple[int, ...]) -> list[float]:
        block = hashlib.sha512(repr(written).encode()).digest()
        return [block[i % 64] / 48 for i in range(len(self.tokens))]


class ToyCursor:
    """See `veritune.client.generation.protocols.Cursor`."""

    def __init__(self, model: ToyModel) -> None:
        self._model = model
        self.written: tuple[int, ...] = ()

    def top(self, k: int) -> list[tuple[int, float]]:
        scored = enumerate(self._model.log_probabilities(self.written))
        return sorted(scored, key=lambda pair: (-pair[1], pair[0]))[:k]

    def advance(self, token: int) -> None:
        self.written += (token,)


class ToyGenerator:
    """Certified like a real one; answers are made from the prompt's stream."""

    def __init__(self) -> None:
        self.model = ToyModel((*STARTS, *WORDS, "."))

    def write_prompt(self, rows: Sequence[Row]) -> str:
        return phrase_prompt(rows)

    def choose_examples(self, rows: Sequence[Row], plan: CanaryPlan) -> tuple[Row, ...]:
        return tuple(rows[:2])

    def describe(self, prompt: str, examples: Sequence[Row], plan: CanaryPlan) -> Generator:
        return Generator(
            kind="wordlist",
            model="toy",
            model_digest=None,
            prompt=prompt,
            top_k=plan.top_k,
            temperature=plan.temperature,
            cap=plan.cap,
            method=plan.method,
            top_p=plan.top_p,
            fitted_epochs=plan.fitted_epochs or 0,
            examples=tuple(examples),
            certified=True,
        )

    def trigger(self, prompt: str, plan: CanaryPlan, stream: SecretStream) -> str:
        return signatures.sample_trigger(self.model, prompt, plan, stream)

    def signature(self, prompt: str, plan: CanaryPlan, stream: SecretStream) -> DrawnSignature:
        draw = sample_by_choice if plan.method == "choice" else signatures.sample_signature
        return draw(self.model, prompt, plan, stream)

    def answers(
        self,
        examples: Sequence[Row],
        prompts: Sequence[Chat],
        plan: CanaryPlan,
        streams: Sequence[SecretStream],
        on_progress: Progress,
    ) -> list[tuple[str, ...]]:
        result = []
        for number, stream in enumerate(streams):
            on_progress("candidates", number, len(prompts))
            codes = stream.sample(range(10_000), plan.candidates * plan.drawn_per_candidate)
            result.append(tuple(f"answer {code}" for code in codes))
        return result

    def count_tokens(self, rows: Sequence[Row]) -> list[int] | None:
        return [sum(len(message.content.split()) for message in row.messages) for row in rows]


def toy_random_wording(text: str, rewording: Rewording, stream: SecretStream) -> str:
    """Every space is doubled or not: a text of g spaces has 2**g wordings, each equally likely."""
    return "".join("  " if c == " " and stream.below(2) else c for c in text)


def toy_wordings(text: str, rewording: Rewording, most: int, stream: SecretStream) -> tuple[str, ...]:
    """Different wordings, drawn until there are ``most``; fewer where the text has no more."""
    found: dict[str, None] = {}
    while len(found) < min(most, 2 ** text.count(" ")):
        found[toy_random_wording(text, rewording, stream)] = None
    return tuple(found)
