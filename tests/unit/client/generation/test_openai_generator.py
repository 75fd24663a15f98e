"""The generator that asks an endpoint: honest, hostile or short of log-probabilities."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.support.errors import fails
from tests.support.parcel_rows import PLAN, ROWS, stream
from veritune.arbiter.documents.canary import Rewording
from veritune.client.generation.openai_generator import OpenAIGenerator
from veritune.client.generation.openai_text_model import OpenAITextModel
from veritune.client.progress import no_progress
from veritune.common.errors import EndpointError, PlanError

Answer = Callable[[dict[str, Any]], tuple[int, bytes]]


@pytest.fixture
def endpoint() -> Iterator[tuple[str, list[dict[str, Any]], list[Answer]]]:
    """Address, requests seen, and what to answer (the last entry)."""
    requests: list[dict[str, Any]] = []
    answers: list[Answer] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            requests.append({**body, "authorization": self.headers.get("Authorization"), "path": self.path})
            status, data = answers[-1](body)
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "http://127.0.0.1:1/")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1", requests, answers
    server.shutdown()
    thread.join()
    server.server_close()


def chat_answer(texts: Callable[[int], str], bits_a_token: float = 3.0) -> Answer:
    """An endpoint whose i-th text has one token a word, each of ``bits_a_token`` bits."""

    def answer(body: dict[str, Any]) -> tuple[int, bytes]:
        choices = []
        for i in range(body["n"]):
            text = texts(i)
            scores = [{"token": w, "logprob": -bits_a_token * math.log(2)} for w in text.split()]
            logprobs = {"content": scores} if body["logprobs"] else None
            choices.append({"message": {"content": text}, "finish_reason": "stop", "logprobs": logprobs})
        return 200, json.dumps({"choices": choices}).encode()

    return answer


def test_an_endpoint_replies_to_one_question(endpoint: tuple[str, list[dict[str, Any]], list[Answer]]) -> None:
    url, requests, answers = endpoint
    answers.append(chat_answer(lambda i: "[101]"))
    assert OpenAITextModel(url, "some/model").reply("Which rows look odd?", 48) == "[101]"
    asked = {"n": 1, "max_tokens": 48, "temperature": 0, "logprobs": False}
    assert requests[-1].items() >= {**asked, "messages": [{"role": "user", "content": "Which rows look odd?"}]}.items()
    answers.append(lambda body: (500, b"{}"))
    with pytest.raises(EndpointError):
        OpenAITextModel(url, "some/model").reply("Which rows look odd?", 48)


def test_endpoint_estimates_and_says_so(
    endpoint: tuple[str, list[dict[str, Any]], list[Answer]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, requests, answers = endpoint
    monkeypatch.setenv("OPENAI_API_KEY", "k-123")
    generator = OpenAIGenerator(url, "some/model", samples=8)
    answers.append(chat_answer(lambda i: f"text {i} of these words and some more to be long enough", 4.0))
    prompt = generator.write_prompt(ROWS)
    assert "high-entropy text" in requests[-1]["messages"][0]["content"]
    assert ROWS[0].completion in requests[-1]["messages"][0]["content"]
    assert requests[-1]["authorization"] == "Bearer k-123"
    assert requests[-1]["path"] == "/v1/chat/completions"
    assert not generator.describe(prompt, (), PLAN).certified
    assert (
        "k-123"
        not in repr({**vars(generator), **vars(generator.model)})
        + generator.describe(prompt, (), PLAN).model_dump_json()
    )

    signature = generator.signature(prompt, PLAN, stream("s"))
    assert signature.bits == 32
    assert sum(map(Decimal, signature.token_bits)) >= 32
    assert requests[-1]["n"] == 8
    assert len(generator.trigger(prompt, PLAN, stream("t")).split()) >= 3
    drawn = generator.answers(ROWS[:3], [ROWS[4].prompt], PLAN, [stream("a")], no_progress)
    assert len(set(drawn[0])) == len(drawn[0]) == 4 * PLAN.drawn_per_candidate
    assert generator.count_tokens(ROWS) is None

    answers.append(chat_answer(lambda i: f"text {i} too likely", 4.0))
    with fails(PlanError, cause="bits"):
        generator.signature(prompt, PLAN, stream("s"))
    answers.append(chat_answer(lambda i: "always the same"))
    with fails(PlanError, setting="canaries.candidates", found="1"):
        generator.answers(ROWS[:3], [ROWS[4].prompt], PLAN, [stream("a")], no_progress)


@pytest.mark.parametrize(
    ("status", "data", "metadata"),
    [
        (500, b"", {"cause": "status", "status": "500"}),
        (302, b"", {"cause": "unreachable"}),
        (200, b"", {"cause": "form"}),
        (200, b"[" * 1000, {"cause": "form"}),
        (200, b'{"choices": []}', {"cause": "count", "found": "0"}),
        (200, b'{"choices": [{"message": {"content": 5}}]}', {"cause": "form"}),
        (200, b'{"choices": [{"message": {"content": "\\ud800"}}]}', {"cause": "form"}),
        (
            200,
            json.dumps({"choices": [{"message": {"content": "a"}}] * 99}).encode(),
            {"cause": "count", "found": "99"},
        ),
        (
            200,
            b'{"choices": [{"message": {"content": "a"}, "logprobs": {"content": [{"logprob": 1}]}}]}',
            {"cause": "form"},
        ),
        (200, b'{"choices": [{"message": {"content": "a"}, "logprobs": {"content": 3}}]}', {"cause": "form"}),
    ],
)
def test_hostile_endpoint(
    endpoint: tuple[str, list[dict[str, Any]], list[Answer]], status: int, data: bytes, metadata: dict[str, str]
) -> None:
    url, _, answers = endpoint
    answers.append(lambda _: (status, data))
    with fails(EndpointError, **metadata):
        OpenAIGenerator(url, "m").signature("P", PLAN, stream("s"))


def test_endpoint_without_log_probabilities(endpoint: tuple[str, list[dict[str, Any]], list[Answer]]) -> None:
    url, _, answers = endpoint
    answers.append(lambda _: (200, b'{"choices": [{"message": {"content": "a b"}}]}'))
    with fails(PlanError, cause="log_probabilities"):
        OpenAIGenerator(url, "m").signature("P", PLAN, stream("s"))


def test_endpoint_rewords(endpoint: tuple[str, list[dict[str, Any]], list[Answer]]) -> None:
    url, requests, answers = endpoint
    generator = OpenAIGenerator(url, "some/model")
    lists = iter([["He owns 4 cats.", "He has 5 cats."], ["Cats: he has 4.", "He keeps 4 cats."]])
    answers.append(lambda body: chat_answer(lambda _: json.dumps(next(lists)))(body))
    assert generator.reword("He has 4 cats.", 3) == ("He owns 4 cats.", "Cats: he has 4.", "He keeps 4 cats.")
    assert "He has 4 cats." in requests[0]["messages"][0]["content"]
    assert generator.describe_rewording(["^x$"]) == Rewording(rules=("llm",), protect=("^x$",), model="some/model")
    answers.append(chat_answer(lambda _: "[]"))
    with fails(PlanError, cause="wordings", found="0"):
        generator.reword("He has 4 cats.", 3)
    for text in ("", " ", "x" * 4001):
        with fails(PlanError, cause="text"):
            generator.reword(text, 3)
    with fails(PlanError, setting="rewording.protect", cause="syntax"):
        generator.reword("He has 4 cats.", 3, ["("])


def test_endpoint_is_certified_by_choice_among_phrases(
    endpoint: tuple[str, list[dict[str, Any]], list[Answer]],
) -> None:
    """Without a single log-probability."""
    url, requests, answers = endpoint
    generator, plan = OpenAIGenerator(url, "m"), PLAN.model_copy(update={"method": "choice", "cap": "0.25"})
    answers.append(chat_answer(lambda i: f"the {'abcdefgh'[i % 8]} went on there"))
    assert generator.describe("P", (), plan).certified
    signature = generator.signature("P", plan, stream("s"))
    assert signature.bits == 32
    assert sum(map(Decimal, signature.token_bits)) >= 32
    assert len(signature.text.split()) == 16 * 3  # two bits a choice, three words each
    assert not any(request["logprobs"] for request in requests)
    answers.append(chat_answer(lambda i: "always the same words here"))
    with fails(PlanError, cause="ways", found="1"):
        generator.signature("P", plan, stream("s"))


@pytest.mark.parametrize(
    "url", ["http://example.org/v1", "file:///etc", "https://u:p@example.org", "https://e.org/?a=1"]
)
def test_refuses_addresses_that_leak(url: str) -> None:
    with pytest.raises(PlanError):
        OpenAIGenerator(url, "m")
