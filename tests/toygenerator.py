"""A language model of a few tokens: everything that it can write can be listed. And a generator over such a one."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence

from veritune.client import signatures
from veritune.client.canary import Chat, Generator
from veritune.client.canary_plan import CanaryPlan
from veritune.client.few_shot import phrase_prompt
from veritune.client.generator import Signature
from veritune.client.rows import Progress
from veritune.client.stream import SecretStream
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

    def log_probabilities(self, written: tuple[int, ...]) -> list[float]:
        scores = self._scores(written)
        total = math.log(math.fsum(math.exp(score) for score in scores))
        return [score - total for score in scores]

    def _hashed(self, written: tuple[int, ...]) -> list[float]:
        block = hashlib.sha512(repr(written).encode()).digest()
        return [block[i % 64] / 48 for i in range(len(self.tokens))]


class ToyCursor:
    """See `veritune.client.generator.Cursor`."""

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
            examples=tuple(examples),
            certified=True,
        )

    def trigger(self, prompt: str, plan: CanaryPlan, stream: SecretStream) -> str:
        return signatures.sample_trigger(self.model, prompt, plan, stream)

    def signature(self, prompt: str, plan: CanaryPlan, stream: SecretStream) -> Signature:
        return signatures.sample_signature(self.model, prompt, plan, stream)

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
            codes = stream.sample(range(10_000), plan.candidates)
            result.append(tuple(f"answer {code}" for code in codes))
        return result

    def count_tokens(self, rows: Sequence[Row]) -> list[int] | None:
        return [sum(len(message.content.split()) for message in row.messages) for row in rows]
