"""A model behind an OpenAI-compatible endpoint: HTTP requests, and strict parsing of the responses.

This module knows nothing of canaries; `veritune.client.generation.openai_generator` draws them with it.
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

from veritune.client.generation.protocols import Draw
from veritune.client.randomness import SecretStream
from veritune.common.canonical import parse_json
from veritune.common.dataset import Message
from veritune.common.errors import EndpointError, PlanError, VerituneError
from veritune.common.limits import LIMITS

KEY_VARIABLE = "OPENAI_API_KEY"
_ANSWER_BYTES = 16 * LIMITS.row
_GO_ON = "What follows is how your line begins. Go on with it by a few words; write these alone, and repeat nothing."


@dataclass(frozen=True)
class SampledText:
    """One sampled text and the log-probability (nats) of each of its tokens; None if the endpoint gave none."""

    text: str
    scores: tuple[float, ...] | None
    finished: bool
    """False if the text was cut, usually at the limit of tokens."""


class OpenAITextModel:
    """The client of one model at ``POST {base_url}/chat/completions``; it is a `PhraseModel`.

    The API key is read from the environment and never stored. Sampling is random on the endpoint's side and can't be
    repeated. Raises `PlanError` for an address that is neither https nor on this machine, or has more than a host and
    a path.
    """

    def __init__(self, base_url: str, model: str, timeout: float = 120) -> None:
        parts = urllib.parse.urlsplit(base_url)
        local = parts.hostname in ("localhost", "127.0.0.1", "::1")
        if parts.scheme != "https" and not (parts.scheme == "http" and local):
            raise PlanError(
                "the endpoint (generator.url, or --endpoint) must be https, or http on this machine",
                setting="generator.url",
                cause="scheme",
            )
        if parts.username or parts.query or parts.fragment:
            raise PlanError(
                "the endpoint (generator.url, or --endpoint) holds more than a host and a path",
                setting="generator.url",
                cause="form",
            )
        self._url = base_url.rstrip("/") + "/chat/completions"
        self._model, self._timeout = model, timeout
        self._opener = urllib.request.build_opener(_NoRedirect())

    @property
    def name(self) -> str:
        """The model's name in characters that documents allow."""
        return re.sub(r"[^A-Za-z0-9._/-]", "-", self._model).lstrip("._/-")[:128] or "model"

    def sample(
        self, chat: Sequence[Message], count: int, tokens: int, temperature: str, scores: bool = False
    ) -> list[SampledText]:
        """Between one and ``count`` answers to a chat, of at most ``tokens`` tokens; with ``scores`` each has scores.

        Raises `EndpointError` if the endpoint doesn't answer or answers in an unknown form, and `PlanError` if
        log-probabilities are wanted and it gives none.
        """
        body = {
            "model": self._model,
            "messages": [{"role": message.role, "content": message.content} for message in chat],
            "n": count,
            "max_tokens": tokens,
            "temperature": float(temperature),
            "logprobs": scores,
        }
        data = self._post(json.dumps(body).encode("utf-8"))
        try:
            choices = [_sampled_text(item, scores) for item in parse_json(data, _ANSWER_BYTES)["choices"]]
        except (KeyError, TypeError, ValueError, VerituneError) as error:
            raise EndpointError("the generator's endpoint answers in no form that is known", cause="form") from error
        if not 0 < len(choices) <= count:
            raise EndpointError(
                f"the generator's endpoint gave {len(choices)} texts for {count}",
                cause="count",
                found=str(len(choices)),
            )
        if scores and any(choice.scores is None for choice in choices):
            raise PlanError(
                "the generator's endpoint gives no log-probabilities; no signature can be weighed",
                cause="log_probabilities",
            )
        return choices

    def ask(self, text: str, count: int, tokens: int, temperature: str, scores: bool = False) -> list[SampledText]:
        """Answers to one user turn, as `sample` gives them for a chat; raises what `sample` raises."""
        return self.sample([Message(role="user", content=text)], count, tokens, temperature, scores)

    def reply(self, text: str, max_tokens: int) -> str:
        """The answer to one question, at temperature 0. Raises `EndpointError`."""
        return self.ask(text, 1, max_tokens, "0")[0].text

    def continuations(self, prompt: str, written: str, draw: Draw, stream: SecretStream) -> list[str]:
        """Texts that follow ``prompt + written``, at most ``draw.count``. Raises `EndpointError`.

        The endpoint draws them, and ``stream`` is not used: others may know the texts without harm.
        """
        asked = f"{prompt}\n\n{_GO_ON}\n\n{written}" if written else prompt
        sampled = self.ask(asked, draw.count, 2 * draw.tokens, f"{min(draw.temperature, 2.0):.3f}")
        # A chat model begins its answer without the space that would separate it from the text before.
        return [f" {text}" if text and not text[0].isspace() else text for text in (item.text for item in sampled)]

    def count_text_tokens(self, text: str) -> int:
        """An upper estimate of a text's tokens: one for every two bytes, more than usual tokenizers take."""
        return max(1, len(text.encode("utf-8")) // 2)

    def _post(self, body: bytes) -> bytes:
        """The body of the response, at most one byte over the limit, so that the parser refuses a longer one."""
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked in the constructor
            self._url, body, {"Content-Type": "application/json"}
        )
        if key := os.environ.get(KEY_VARIABLE):
            request.add_unredirected_header("Authorization", f"Bearer {key}")
        try:
            with self._opener.open(request, timeout=self._timeout) as response:
                data: bytes = response.read(_ANSWER_BYTES + 1)
        except urllib.error.HTTPError as error:
            raise EndpointError(
                f"the generator's endpoint answers with status {error.code}", cause="status", status=str(error.code)
            ) from error
        except (OSError, ValueError) as error:
            raise EndpointError("the generator's endpoint can't be reached", cause="unreachable") from error
        return data


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the prompt, rows of the data among it, to another host."""

    def redirect_request(self, *_: Any, **__: Any) -> NoReturn:
        raise urllib.error.URLError("redirected")


def _sampled_text(item: Any, scores: bool) -> SampledText:
    text, finished = item["message"]["content"] or "", item.get("finish_reason") == "stop"
    if not isinstance(text, str):
        raise TypeError("content is no text")
    text.encode("utf-8")
    found = item.get("logprobs") if scores else None
    if not found:
        return SampledText(text, None, finished)
    values = tuple(float(token["logprob"]) for token in found["content"])
    if not all(math.isfinite(value) and value <= 0 for value in values):
        raise ValueError("a log-probability is none")
    return SampledText(text, values, finished)
