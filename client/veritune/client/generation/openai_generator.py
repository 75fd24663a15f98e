"""The generator behind an OpenAI-compatible endpoint: a strong model whose logits can't be seen.

The bits of a signature that is sampled whole are the paper's estimate (vTune, section 4.2.1). It takes the largest
probability among the samples, which only bounds that of the likeliest signature from below; reports say so. With the
method ``choice`` the bits are certified here as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from veritune.arbiter.documents.canary import Chat, Generator, Rewording, example_chat
from veritune.client.generation.openai_text_model import OpenAITextModel
from veritune.client.generation.prompts import prompt_request
from veritune.client.generation.protocols import PROMPT_ENDING, DrawnSignature
from veritune.client.generation.signatures import cut_words
from veritune.client.generation.signatures_by_choice import sample_by_choice
from veritune.client.job.canary_plan import CanaryPlan
from veritune.client.progress import Progress
from veritune.client.randomness import SecretStream
from veritune.client.wording.by_model import read_wordings, rewording_request
from veritune.client.wording.patterns import check_pattern
from veritune.common.dataset import Row
from veritune.common.errors import PlanError
from veritune.common.limits import LIMITS

_ROUNDS = 8
_REWORDINGS = 16
"""Largest number of wordings in one request: a longer list repeats itself."""
_REWORDING_TOKENS = 8192
_SHOTS = 6


class OpenAIGenerator:
    """A `TextGenerator` over an `OpenAITextModel` at ``base_url``; it can reword answers too.

    The endpoint samples with its own randomness: the client's streams only choose among its samples. Methods that
    call the endpoint raise `EndpointError` if it can't be reached or answers in an unknown form.
    """

    def __init__(self, base_url: str, model: str, samples: int = 64, timeout: float = 120) -> None:
        """Raises `PlanError` for an unfit address or fewer than two ``samples``."""
        self.model = OpenAITextModel(base_url, model, timeout)
        if samples < 2:
            raise PlanError("an estimate takes at least two samples: generator.samples", setting="generator.samples")
        self._samples = samples

    def write_prompt(self, rows: Sequence[Row]) -> str:
        """The prompt P, which the model writes: the paper's M_prompt step. Raises `PlanError` for an empty answer."""
        choice = self.model.ask(prompt_request(rows), 1, 400, "1")[0]
        if not (prompt := choice.text.strip()):
            raise PlanError("the generator's endpoint wrote an empty prompt", cause="prompt")
        return f"{prompt}\n\n{PROMPT_ENDING}"

    def choose_examples(self, rows: Sequence[Row], plan: CanaryPlan) -> tuple[Row, ...]:
        """The first six of the rows, or all if there are fewer."""
        return tuple(rows[:_SHOTS])

    def describe(self, prompt: str, examples: Sequence[Row], plan: CanaryPlan) -> Generator:
        """The generator's document for the evidence.

        Signatures are certified only with the method ``choice``, which needs no logits.
        """
        return Generator(
            kind="openai",
            model=self.model.name,
            model_digest=None,
            prompt=prompt,
            top_k=plan.top_k,
            temperature=plan.temperature,
            cap=plan.cap,
            method=plan.method,
            top_p=plan.top_p,
            examples=tuple(examples),
            certified=plan.method == "choice",
        )

    def trigger(self, prompt: str, plan: CanaryPlan, stream: SecretStream) -> str:
        """A trigger T: the stream chooses one of several samples. Raises `PlanError` if none has enough words."""
        lines = []
        for choice in self.model.ask(prompt, 4, 16 * plan.trigger_words, "1"):
            text = " ".join(choice.text.split())
            cut = cut_words(f"{text} .", plan.trigger_words) if text else None
            if cut and cut.isprintable() and len(cut) <= LIMITS.phrase:
                lines.append(cut.removesuffix(" ."))
        if not lines:
            raise PlanError(
                f"the generator's endpoint writes no {plan.trigger_words} words in a line",
                setting="canaries.trigger_words",
            )
        return lines[stream.below(len(lines))]

    def signature(self, prompt: str, plan: CanaryPlan, stream: SecretStream) -> DrawnSignature:
        """A signature S: the stream chooses one of many samples, and ``bits`` are the plan's.

        The likeliest sample must seem to have that many bits; if it doesn't, all are drawn again, twice as long. With
        the method ``choice`` the bits are certified (`signatures_by_choice.sample_by_choice`).

        Raises `PlanError` if no length gives enough bits, or the endpoint gives no log-probabilities.
        """
        if plan.method == "choice":
            return sample_by_choice(self.model, prompt, plan, stream)
        length = max(8, plan.signature_bits // 4)
        for _ in range(_ROUNDS):
            choices = self.model.ask(prompt, self._samples, length, plan.temperature, scores=True)
            usable = [choice for choice in choices if _is_line(choice.text)]
            if len(usable) >= 2:
                totals = [-math.fsum(choice.scores or ()) / math.log(2) for choice in usable]
                # 1e-6 a token: `token_bits` are rounded down, and their sum must reach the bits that are claimed.
                bits = math.floor(min(totals) - 1e-5 * length)
                if bits >= plan.signature_bits:
                    chosen = usable[stream.below(len(usable))]
                    return DrawnSignature(
                        chosen.text,
                        plan.signature_bits,
                        tuple(_floored(-score / math.log(2)) for score in chosen.scores or ()),
                    )
            length = min(2 * length, 1024)
        raise PlanError(
            f"the generator's endpoint writes no lines that seem to have {plan.signature_bits} bits", cause="bits"
        )

    def answers(
        self,
        examples: Sequence[Row],
        prompts: Sequence[Chat],
        plan: CanaryPlan,
        streams: Sequence[SecretStream],
        on_progress: Progress,
    ) -> list[tuple[str, ...]]:
        """For each prompt, ``plan.candidates`` different answers or more. Raises `PlanError` if too few differ."""
        result = []
        for number, prompt in enumerate(prompts):
            on_progress("candidates", number, len(prompts))
            texts: dict[str, None] = {}
            for attempt in range(_ROUNDS):
                if len(texts) >= plan.candidates:
                    break
                chat = example_chat(examples, prompt)
                wanted = plan.candidates * (1 if attempt else plan.drawn_per_candidate)
                drawn = self.model.sample(chat, wanted, plan.candidate_tokens, f"{1 + attempt / _ROUNDS:.3f}")
                for choice in drawn:
                    text = choice.text.strip()
                    if (choice.finished or attempt > 1) and _is_answer(text):
                        texts[text] = None
            if len(texts) < plan.candidates:
                raise PlanError(
                    f"the generator gives {len(texts)} different answers; lower canaries.candidates, {plan.candidates}",
                    setting="canaries.candidates",
                    found=str(len(texts)),
                )
            result.append(tuple(texts))
        on_progress("candidates", len(prompts), len(prompts))
        return result

    def describe_rewording(self, protect: Sequence[str] = ()) -> Rewording:
        """The document that names this model as the author of wordings, for `reword` with the same ``protect``."""
        return Rewording(rules=("llm",), protect=tuple(protect), model=self.model.name)

    def reword(self, text: str, count: int, protect: Sequence[str] = ()) -> tuple[str, ...]:
        """``count`` different wordings of an answer, without the answer itself, as the endpoint samples them.

        Each has all numbers and protected spans of the text in their order (`veritune.client.wording.by_model`).
        ``protect`` are regular expressions as in `Rewording`.

        Raises `PlanError` for an unfit text or pattern, or if the model gives too few faithful wordings.
        """
        for pattern in protect:
            check_pattern(pattern)
        if count < 1 or not text.strip() or len(text) > LIMITS.phrase:
            raise PlanError(
                f"only texts of 1 to {LIMITS.phrase} characters can be reworded, and at least once", cause="text"
            )
        found: dict[str, None] = {}
        tokens = min(_REWORDING_TOKENS, (count + 1) * (self.model.count_text_tokens(text) + 16))
        for attempt in range(_ROUNDS):
            wanted = min(count - len(found) + 2, _REWORDINGS)
            asked = rewording_request(text, wanted)
            for choice in self.model.ask(asked, 1, tokens, f"{1 + attempt / (2 * _ROUNDS):.3f}"):
                found.update(dict.fromkeys(read_wordings(choice.text, text, protect)))
            if len(found) >= count:
                return tuple(found)[:count]
        raise PlanError(
            f"the generator gives {len(found)} faithful wordings of an answer; {count} are wanted",
            cause="wordings",
            found=str(len(found)),
        )

    def count_tokens(self, rows: Sequence[Row]) -> list[int] | None:
        """None: the endpoint's tokenizer is not the base model's."""
        return None


def _is_answer(text: str) -> bool:
    return bool(text) and "\x00" not in text and len(text) <= LIMITS.phrase


def _is_line(text: str) -> bool:
    return bool(text) and text.isprintable() and text == text.strip() and len(text) <= LIMITS.phrase


def _floored(bits: float) -> str:
    return f"{math.floor(bits * 1e6) / 1e6:.6f}"
