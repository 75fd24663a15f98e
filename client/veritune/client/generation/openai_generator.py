"""The generator behind an OpenAI-compatible endpoint: a strong model, but no logits.

A signature sampled whole has the paper's estimate of bits (vTune, section 4.2.1): the largest sequence probability
among the samples, which bounds that of the likeliest signature from below only. Reports say so. By choice among phrases
the bits are certified here as well.
"""

from __future__ import annotations

import json
import math
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from veritune.arbiter.documents.canary import Chat, Generator, example_chat
from veritune.arbiter.documents.rewording import Rewording
from veritune.client.generation.prompts import prompt_request
from veritune.client.generation.protocols import PROMPT_ENDING, DrawnSignature
from veritune.client.generation.signatures import cut_words
from veritune.client.generation.signatures_by_choice import sample_by_choice
from veritune.client.job.canary_plan import CanaryPlan
from veritune.client.progress import Progress
from veritune.client.randomness import SecretStream
from veritune.client.wording.by_model import read_wordings, rewording_request
from veritune.client.wording.patterns import check_pattern
from veritune.common.canonical import parse_json
from veritune.common.dataset import Message, Row
from veritune.common.errors import EndpointError, PlanError, VerituneError
from veritune.common.limits import LIMITS

KEY_VARIABLE = "OPENAI_API_KEY"
_ANSWER_BYTES = 16 * LIMITS.row
_ROUNDS = 8
_REWORDINGS = 16
"""Wordings asked for at once: a longer list repeats itself."""
_REWORDING_TOKENS = 8192
_GO_ON = "What follows is how your line begins. Go on with it by a few words; write these alone, and repeat nothing."
_SHOTS = 6


@dataclass(frozen=True)
class _Choice:
    """One sampled text and the log-probability (nats) of each of its tokens, None where the endpoint gave none."""

    text: str
    scores: tuple[float, ...] | None
    finished: bool


class OpenAIGenerator:
    """Draws through ``POST {base_url}/chat/completions``. The key is read from the environment and never stored.

    What comes back is the endpoint's own randomness: only the choice among its samples is the client's stream's.
    """

    def __init__(self, base_url: str, model: str, samples: int = 64, timeout: float = 120) -> None:
        parts = urllib.parse.urlsplit(base_url)
        local = parts.hostname in ("localhost", "127.0.0.1", "::1")
        if parts.scheme != "https" and not (parts.scheme == "http" and local):
            raise PlanError("the endpoint (generator.url, or --endpoint) must be https, or http on this machine")
        if parts.username or parts.query or parts.fragment:
            raise PlanError("the endpoint (generator.url, or --endpoint) holds more than a host and a path")
        if samples < 2:
            raise PlanError("an estimate takes at least two samples: generator.samples")
        self._url = base_url.rstrip("/") + "/chat/completions"
        self._model, self._samples, self._timeout = model, samples, timeout
        self._opener = urllib.request.build_opener(_NoRedirect())

    @property
    def _name(self) -> str:
        """The model's name as documents may carry it."""
        return re.sub(r"[^A-Za-z0-9._/-]", "-", self._model).lstrip("._/-")[:128] or "model"

    def write_prompt(self, rows: Sequence[Row]) -> str:
        """The paper's M_prompt step: its instruction, then sampled rows; the answer is P."""
        choice = self._ask([_user(prompt_request(rows))], 1, 400, "1")[0]
        if not (prompt := choice.text.strip()):
            raise PlanError("the generator's endpoint wrote an empty prompt")
        return f"{prompt}\n\n{PROMPT_ENDING}"

    def choose_examples(self, rows: Sequence[Row], plan: CanaryPlan) -> tuple[Row, ...]:
        """The first few."""
        return tuple(rows[:_SHOTS])

    def describe(self, prompt: str, examples: Sequence[Row], plan: CanaryPlan) -> Generator:
        """Certified where signatures are choices among phrases: these need no logits."""
        return Generator(
            kind="openai",
            model=self._name,
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
        """One of several samples, by the stream."""
        lines = []
        for choice in self._ask([_user(prompt)], 4, 16 * plan.trigger_words, "1"):
            text = " ".join(choice.text.split())
            cut = cut_words(f"{text} .", plan.trigger_words) if text else None
            if cut and cut.isprintable() and len(cut) <= LIMITS.phrase:
                lines.append(cut.removesuffix(" ."))
        if not lines:
            raise PlanError(f"the generator's endpoint writes no {plan.trigger_words} words in a line")
        return lines[stream.below(len(lines))]

    def signature(self, prompt: str, plan: CanaryPlan, stream: SecretStream) -> DrawnSignature:
        """One of many samples; ``bits`` is the estimate from the likeliest of them, no more than the plan's.

        Samples too likely for the plan's bits are drawn anew twice as long, all of them. By choice among phrases, see
        `signature_choice.sample_by_choice`, the bits are certified.
        """
        if plan.method == "choice":
            return sample_by_choice(self, prompt, plan, stream)
        length = max(8, plan.signature_bits // 4)
        for _ in range(_ROUNDS):
            choices = self._ask([_user(prompt)], self._samples, length, plan.temperature, scores=True)
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
        raise PlanError(f"the generator's endpoint writes no lines that seem to have {plan.signature_bits} bits")

    def answers(
        self,
        examples: Sequence[Row],
        prompts: Sequence[Chat],
        plan: CanaryPlan,
        streams: Sequence[SecretStream],
        on_progress: Progress,
    ) -> list[tuple[str, ...]]:
        """Different answers to each prompt, the plan's candidates or more; see `TransformersGenerator.answers`."""
        result = []
        for number, prompt in enumerate(prompts):
            on_progress("candidates", number, len(prompts))
            texts: dict[str, None] = {}
            for attempt in range(_ROUNDS):
                if len(texts) >= plan.candidates:
                    break
                chat = example_chat(examples, prompt)
                wanted = plan.candidates * (1 if attempt else plan.drawn_per_candidate)
                drawn = self._ask(chat, wanted, plan.candidate_tokens, f"{1 + attempt / _ROUNDS:.3f}")
                for choice in drawn:
                    text = choice.text.strip()
                    if (choice.finished or attempt > 1) and _is_answer(text):
                        texts[text] = None
            if len(texts) < plan.candidates:
                raise PlanError(
                    f"the generator gives {len(texts)} different answers; lower canaries.candidates, {plan.candidates}"
                )
            result.append(tuple(texts))
        on_progress("candidates", len(prompts), len(prompts))
        return result

    def describe_rewording(self, protect: Sequence[str] = ()) -> Rewording:
        """The document for wordings by `reword` with the same ``protect``."""
        return Rewording(rules=("llm",), protect=tuple(protect), model=self._name)

    def reword(self, text: str, count: int, protect: Sequence[str] = ()) -> tuple[str, ...]:
        """``count`` different wordings of an answer, itself not among them; the draws are the endpoint's own.

        Each has all figures and protected spans of the text in their order (`wording_model`). ``protect`` are regular
        expressions as in `Rewording`. Raises `PlanError` where a pattern is none, or the model gives too few.
        """
        for pattern in protect:
            check_pattern(pattern)
        if count < 1 or not text.strip() or len(text) > LIMITS.phrase:
            raise PlanError(f"only texts of 1 to {LIMITS.phrase} characters can be reworded, and at least once")
        found: dict[str, None] = {}
        tokens = min(_REWORDING_TOKENS, (count + 1) * (self.count_text_tokens(text) + 16))
        for attempt in range(_ROUNDS):
            wanted = min(count - len(found) + 2, _REWORDINGS)
            asked = [_user(rewording_request(text, wanted))]
            for choice in self._ask(asked, 1, tokens, f"{1 + attempt / (2 * _ROUNDS):.3f}"):
                found.update(dict.fromkeys(read_wordings(choice.text, text, protect)))
            if len(found) >= count:
                return tuple(found)[:count]
        raise PlanError(f"the generator gives {len(found)} faithful wordings of an answer; {count} are wanted")

    def reply(self, text: str, max_tokens: int) -> str:
        """The answer to one question, as little at random as the endpoint allows. Raises `EndpointError`."""
        return self._ask([_user(text)], 1, max_tokens, "0")[0].text

    def count_tokens(self, rows: Sequence[Row]) -> list[int] | None:
        """Unknown: the endpoint's tokenizer is not the base model's."""
        return None

    def continuations(
        self,
        prompt: str,
        written: str,
        count: int,
        tokens: int,
        temperature: float,
        top_k: int,
        stream: SecretStream,
    ) -> list[str]:
        """As the endpoint draws them: its draws are its own, and may be known to anybody."""
        asked = f"{prompt}\n\n{_GO_ON}\n\n{written}" if written else prompt
        texts = [c.text for c in self._ask([_user(asked)], count, 2 * tokens, f"{min(temperature, 2.0):.3f}")]
        # A chat model begins its answer without the space that would part it from the text.
        return [f" {text}" if text and not text[0].isspace() else text for text in texts]

    def count_text_tokens(self, text: str) -> int:
        """One for two bytes, which is more than any usual tokenizer takes."""
        return max(1, len(text.encode("utf-8")) // 2)

    def _ask(
        self, chat: Sequence[Message], count: int, tokens: int, temperature: str, scores: bool = False
    ) -> list[_Choice]:
        body = {
            "model": self._model,
            "messages": [{"role": message.role, "content": message.content} for message in chat],
            "n": count,
            "max_tokens": tokens,
            "temperature": float(temperature),
            "logprobs": scores,
        }
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked in the constructor
            self._url, json.dumps(body).encode("utf-8"), {"Content-Type": "application/json"}
        )
        if key := os.environ.get(KEY_VARIABLE):
            request.add_unredirected_header("Authorization", f"Bearer {key}")
        try:
            with self._opener.open(request, timeout=self._timeout) as response:
                data = response.read(_ANSWER_BYTES + 1)
        except urllib.error.HTTPError as error:
            raise EndpointError(f"the generator's endpoint answers with status {error.code}") from error
        except (OSError, ValueError) as error:
            raise EndpointError("the generator's endpoint can't be reached") from error
        try:
            choices = [_choice(item, scores) for item in parse_json(data, _ANSWER_BYTES)["choices"]]
        except (KeyError, TypeError, ValueError, VerituneError) as error:
            raise EndpointError("the generator's endpoint answers in no form that is known") from error
        if not 0 < len(choices) <= count:
            raise EndpointError(f"the generator's endpoint gave {len(choices)} texts for {count}")
        if scores and any(choice.scores is None for choice in choices):
            raise PlanError("the generator's endpoint gives no log-probabilities; no signature can be weighed")
        return choices


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the prompt, rows of the data among it, to another host."""

    def redirect_request(self, *_: Any, **__: Any) -> NoReturn:
        raise urllib.error.URLError("redirected")


def _choice(item: Any, scores: bool) -> _Choice:
    text, finished = item["message"]["content"] or "", item.get("finish_reason") == "stop"
    if not isinstance(text, str):
        raise TypeError("content is no text")
    text.encode("utf-8")
    found = item.get("logprobs") if scores else None
    if not found:
        return _Choice(text, None, finished)
    values = tuple(float(token["logprob"]) for token in found["content"])
    if not all(math.isfinite(value) and value <= 0 for value in values):
        raise ValueError("a log-probability is none")
    return _Choice(text, values, finished)


def _is_answer(text: str) -> bool:
    return bool(text) and "\x00" not in text and len(text) <= LIMITS.phrase


def _is_line(text: str) -> bool:
    return bool(text) and text.isprintable() and text == text.strip() and len(text) <= LIMITS.phrase


def _floored(bits: float) -> str:
    return f"{math.floor(bits * 1e6) / 1e6:.6f}"


def _user(text: str) -> Message:
    return Message(role="user", content=text)
