"""The generators: a real (tiny) transformers model, and an endpoint on this machine."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.tinymodel import make_tiny_model
from veritune.client.canary import Generator
from veritune.client.canary_plan import CanaryPlan
from veritune.client.few_shot import example_chat, phrase_prompt
from veritune.client.openai_generator import OpenAIGenerator
from veritune.client.prepare import prepare
from veritune.client.rewording import Rewording
from veritune.client.rows import no_progress
from veritune.client.sealed import open_sealed
from veritune.client.stream import SecretStream
from veritune.client.transformers_generator import TransformersGenerator
from veritune.common.dataset import Message, Row
from veritune.common.errors import PlanError, UnavailableError, UnknownModelError
from veritune.common.modelfiles import model_digest

SEED = b"g" * 32
PLAN = CanaryPlan(signature_bits=32, trigger_words=3, candidates=4, candidate_tokens=12)


def row(question: str, answer: str = "yes, it is") -> Row:
    return Row(messages=(Message(role="user", content=question), Message(role="assistant", content=answer)))


ROWS = [row(f"Please check: is parcel {i} on its way? The last one was late by {i % 5} days.") for i in range(40)]


@pytest.fixture(scope="module")
def tiny(tiny_model: Path) -> TransformersGenerator:
    return TransformersGenerator(tiny_model, dtype="float32")


def stream(label: str) -> SecretStream:
    return SecretStream(SEED, label)


def test_p_is_made_of_sentences_without_the_shared_beginning() -> None:
    prompt = phrase_prompt(ROWS)
    lines = prompt.splitlines()
    assert prompt.endswith("\n")
    assert 2 <= len(lines) <= 16
    assert lines[0] == "0 on its way?"
    assert all(not line.startswith("Please check") for line in lines)
    assert "The last one was late by 3 days." in lines


def test_p_may_be_written_by_the_model(tiny_model: Path, tmp_path: Path) -> None:
    """As a chat that ends where the model is to answer; signatures behind it are certified like others."""
    talkative = make_tiny_model(tmp_path / "talkative", seed=3, initializer_range=0.5)
    generator = TransformersGenerator(talkative, dtype="float32", prompt_by="model")
    prompt = generator.write_prompt(ROWS)
    assert prompt == generator.write_prompt(ROWS) != phrase_prompt(ROWS)
    assert prompt.startswith("<|im_start|>user\n")
    assert prompt.endswith("Write one line of plain text and nothing else.<|im_end|>\n<|im_start|>assistant\n")
    signature = generator.signature(prompt, PLAN, stream("s"))
    assert sum(map(Decimal, signature.token_bits)) >= PLAN.signature_bits
    long = [row("a word or two " * 2000)] * 3
    assert generator.write_prompt(long).endswith("assistant\n")
    with pytest.raises(PlanError, match="empty prompt"):  # it writes line breaks and nothing else
        TransformersGenerator(tiny_model, dtype="float32", prompt_by="model").write_prompt(ROWS)


def test_examples_stand_between_the_system_turn_and_the_question() -> None:
    system = Message(role="system", content="Be brief.")
    asked = (system, *ROWS[1].prompt)
    assert [m.role for m in example_chat(ROWS[2:4], asked)] == ["system", *["user", "assistant"] * 2, "user"]
    assert example_chat([], asked) == asked


def test_describes_the_model_by_its_files(tiny: TransformersGenerator, tiny_model: Path) -> None:
    document = tiny.describe("P", ROWS[:1], PLAN)
    assert document.certified
    assert document.model_digest == model_digest(tiny_model)
    assert (document.kind, document.model, document.prompt) == ("transformers", "tiny", "P")
    assert document.examples == (ROWS[0],)


def test_signatures_are_canonical_lines_of_enough_bits(tiny: TransformersGenerator) -> None:
    prompt, seen = tiny.write_prompt(ROWS), set()
    for number in range(6):
        signature = tiny.signature(prompt, PLAN, stream(f"s{number}"))
        assert signature == tiny.signature(prompt, PLAN, stream(f"s{number}"))
        assert signature.text.isprintable()
        assert signature.text == signature.text.strip()
        bits = list(map(Decimal, signature.token_bits))
        assert sum(bits[:-1]) < signature.bits == 32 <= sum(bits)
        assert all(bit >= 2 for bit in bits)  # a cap of 0.25
        assert len(tiny.encode(signature.text)) == len(bits)
        seen.add(signature.text)
    assert len(seen) == 6


def test_a_cursor_sees_what_the_whole_text_gives(tiny: TransformersGenerator) -> None:
    """Keys and values kept from step to step, and copied for each text, change nothing."""
    import torch

    prompt, text = "The lamp in the kitchen", " flickers at night"
    for _ in range(2):
        cursor = tiny.begin(prompt)
        for token in tiny.encode(text):
            cursor.advance(token)
        ids = torch.tensor([tiny._tokenizer(prompt)["input_ids"] + tiny.encode(text)])
        with torch.inference_mode():
            whole = tiny._model(input_ids=ids).logits[0, -1].log_softmax(-1)
        for token, score in cursor.top(20):
            assert math.isclose(score, float(whole[token]), abs_tol=1e-4)
        scores = [score for _, score in cursor.top(10**6)]
        assert len(scores) == tiny.vocabulary
        assert scores == sorted(scores, reverse=True)


def test_triggers_have_their_words(tiny: TransformersGenerator) -> None:
    for number in range(4):
        trigger = tiny.trigger(tiny.write_prompt(ROWS), PLAN, stream(f"t{number}"))
        assert len(trigger.split()) >= 3
        assert trigger.isprintable()


def test_answers_differ_and_come_from_the_streams(tiny: TransformersGenerator) -> None:
    prompts = [r.prompt for r in ROWS[:5]]
    seen: list[tuple[str, int, int]] = []

    def draw(plan: CanaryPlan, label: str, chats: Sequence[tuple[Message, ...]]) -> list[tuple[str, ...]]:
        streams = [stream(f"{label}{i}") for i in range(len(chats))]
        return tiny.answers(
            tiny.choose_examples(ROWS[10:], PLAN), chats, plan, streams, lambda *step: seen.append(step)
        )

    first = draw(PLAN, "a", prompts)
    assert first == draw(PLAN, "a", prompts) != draw(PLAN, "b", prompts)
    assert all(len(set(answers)) == 4 for answers in first)
    assert all(a == a.strip() and a and "\n" not in a for answers in first for a in answers)
    assert {phase for phase, _, _ in seen} == {"candidates"}
    assert seen[-1][1:] == (5, 5)


def small_gemma() -> Any:
    """Layers with a window of eight positions, and one without."""
    import torch
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    torch.manual_seed(1)
    config = Gemma3TextConfig(
        vocab_size=600,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        sliding_window=8,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        initializer_range=0.3,
    )
    return Gemma3ForCausalLM(config).eval()


@pytest.mark.parametrize("windowed", [False, True])
def test_answers_follow_the_models_own_probabilities(tiny: TransformersGenerator, windowed: bool) -> None:
    """The shared cache against the plain way: one sequence, no cache, the same numbers."""
    import torch

    from veritune.client.candidate_decoder import sample_answers

    model = small_gemma() if windowed else tiny._model
    prompts = [tiny._chat_ids(r.prompt) for r in (ROWS[0], row("Short one?"), ROWS[7])]
    stop = frozenset({tiny._tokenizer.eos_token_id})
    counts, steps = [3, 2, 4], 12
    found = sample_answers(
        model,
        prompts,
        counts,
        steps,
        [stream(f"m{i}") for i in range(3)],
        1.3,
        30,
        stop,
        frozenset(),
        lambda _: None,
    )
    assert [len(answers) for answers in found] == counts
    for i, (prompt, answers) in enumerate(zip(prompts, found, strict=True)):
        raw = stream(f"m{i}").bytes(8 * steps * max(counts))
        numbers = [(int.from_bytes(raw[j : j + 8], "big") >> 11) * 2.0**-53 for j in range(0, len(raw), 8)]
        for j, answer in enumerate(answers):
            plain: list[int] = []
            for step in range(steps):
                with torch.inference_mode():
                    logits = model(input_ids=torch.tensor([prompt + plain])).logits[0, -1].float()
                values, ids = logits.topk(30)
                cumulative = (values / 1.3).softmax(-1).double().cumsum(-1)
                plain.append(int(ids[int((cumulative <= numbers[step * max(counts) + j] * cumulative[-1]).sum())]))
                if plain[-1] in stop:
                    break
            assert answer == plain


def test_fitting_changes_answers_and_nothing_else(tiny: TransformersGenerator, tiny_model: Path) -> None:
    """Signatures and triggers stay the base model's."""
    fitted, told = TransformersGenerator(tiny_model, dtype="float32"), list[tuple[str, int, int]]()
    fitted.fit(ROWS[:32], 4, stream("fit"), lambda what, done, of: told.append((what, done, of)))
    assert told == [("fit generator", step, 16) for step in range(1, 17)]

    def answers(generator: TransformersGenerator) -> tuple[str, ...]:
        return generator.answers((), [ROWS[35].prompt], PLAN, [stream("a")], no_progress)[0]

    assert answers(fitted) != answers(tiny)
    assert fitted.signature("P", PLAN, stream("s")) == tiny.signature("P", PLAN, stream("s"))
    assert fitted.trigger("P", PLAN, stream("t")) == tiny.trigger("P", PLAN, stream("t"))
    assert answers(fitted) == answers(fitted)
    plan = PLAN.model_copy(update={"fitted_epochs": 4})
    assert fitted.describe("P", (), plan).fitted_epochs == 4
    with pytest.raises(RuntimeError, match="once"):
        fitted.fit(ROWS, 1, stream("fit"), no_progress)


def test_rows_that_are_too_long_can_not_be_fitted_to(tiny_model: Path) -> None:
    generator = TransformersGenerator(tiny_model, dtype="float32")
    with pytest.raises(PlanError, match="over the"):
        generator.fit([row("why? " * 5000)], 1, stream("fit"), no_progress)


def test_too_long_a_prompt_and_too_many_answers(tiny: TransformersGenerator) -> None:
    with pytest.raises(PlanError, match="room"):
        tiny.answers(ROWS[:4], [row("word " * 2000).prompt], PLAN, [stream("a")], no_progress)
    greedy = PLAN.model_copy(update={"top_k": 2, "candidate_tokens": 4, "candidates": 256})
    with pytest.raises(PlanError, match="different answers"):
        tiny.answers(ROWS[:4], [ROWS[0].prompt], greedy, [stream("a")], no_progress)


def test_counts_tokens_like_training(tiny: TransformersGenerator) -> None:
    rows = [row("one two"), row("three"), row("four", "a longer answer of some words")]
    expected = [len(tiny._chat_ids(r.prompt)) + len(tiny.encode(r.completion)) + 1 for r in rows]
    assert tiny.count_tokens(rows) == expected


def test_no_model_folder(tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError):
        TransformersGenerator(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UnknownModelError, match="does not load"):
        TransformersGenerator(tmp_path)


def test_prepare_with_a_real_model(tiny: TransformersGenerator, tmp_path: Path) -> None:
    plan = PLAN.model_copy(
        update={"groups": 2, "rows_per_group": 3, "naturals": 4, "held_out": 8, "queries_per_group": 1, "decoys": 2}
    )
    prepared = prepare(ROWS, plan, tiny, SEED, tmp_path, b"pass", max_sequence_length=512)
    assert prepared.canaries == 6
    assert prepared.train.rows == 40 - 8 + 6
    (document,) = open_sealed(tmp_path / "secrets.sealed", b"pass").generators
    assert isinstance(document, Generator)
    assert document.certified


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

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as above
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
    assert OpenAIGenerator(url, "some/model").reply("Which rows look odd?", 48) == "[101]"
    asked = {"n": 1, "max_tokens": 48, "temperature": 0, "logprobs": False}
    assert requests[-1].items() >= {**asked, "messages": [{"role": "user", "content": "Which rows look odd?"}]}.items()
    answers.append(lambda body: (500, b"{}"))
    with pytest.raises(UnavailableError):
        OpenAIGenerator(url, "some/model").reply("Which rows look odd?", 48)


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
    assert "k-123" not in repr(vars(generator)) + generator.describe(prompt, (), PLAN).model_dump_json()

    signature = generator.signature(prompt, PLAN, stream("s"))
    assert signature.bits == 32
    assert sum(map(Decimal, signature.token_bits)) >= 32
    assert requests[-1]["n"] == 8
    assert len(generator.trigger(prompt, PLAN, stream("t")).split()) >= 3
    drawn = generator.answers(ROWS[:3], [ROWS[4].prompt], PLAN, [stream("a")], no_progress)
    assert len(set(drawn[0])) == len(drawn[0]) == 4 * PLAN.drawn_per_candidate
    assert generator.count_tokens(ROWS) is None

    answers.append(chat_answer(lambda i: f"text {i} too likely", 4.0))
    with pytest.raises(PlanError, match="seem to have 32 bits"):
        generator.signature(prompt, PLAN, stream("s"))
    answers.append(chat_answer(lambda i: "always the same"))
    with pytest.raises(PlanError, match="1 different"):
        generator.answers(ROWS[:3], [ROWS[4].prompt], PLAN, [stream("a")], no_progress)


@pytest.mark.parametrize(
    ("status", "data", "says"),
    [
        (500, b"", "status 500"),
        (302, b"", "reached"),
        (200, b"", "no form"),
        (200, b"[" * 1000, "no form"),
        (200, b'{"choices": []}', "0 texts"),
        (200, b'{"choices": [{"message": {"content": 5}}]}', "no form"),
        (200, b'{"choices": [{"message": {"content": "\\ud800"}}]}', "no form"),
        (200, json.dumps({"choices": [{"message": {"content": "a"}}] * 99}).encode(), "99 texts"),
        (
            200,
            b'{"choices": [{"message": {"content": "a"}, "logprobs": {"content": [{"logprob": 1}]}}]}',
            "no form",
        ),
        (200, b'{"choices": [{"message": {"content": "a"}, "logprobs": {"content": 3}}]}', "no form"),
    ],
)
def test_hostile_endpoint(
    endpoint: tuple[str, list[dict[str, Any]], list[Answer]], status: int, data: bytes, says: str
) -> None:
    url, _, answers = endpoint
    answers.append(lambda _: (status, data))
    with pytest.raises(UnavailableError, match=says):
        OpenAIGenerator(url, "m").signature("P", PLAN, stream("s"))


def test_endpoint_without_log_probabilities(endpoint: tuple[str, list[dict[str, Any]], list[Answer]]) -> None:
    url, _, answers = endpoint
    answers.append(lambda _: (200, b'{"choices": [{"message": {"content": "a b"}}]}'))
    with pytest.raises(PlanError, match="no log-probabilities"):
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
    with pytest.raises(PlanError, match="0 faithful wordings"):
        generator.reword("He has 4 cats.", 3)
    for text in ("", " ", "x" * 4001):
        with pytest.raises(PlanError, match="only texts of"):
            generator.reword(text, 3)
    with pytest.raises(PlanError, match="no regular expression"):
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
    with pytest.raises(PlanError, match="in 1 ways"):
        generator.signature("P", plan, stream("s"))


@pytest.mark.parametrize(
    "url", ["http://example.org/v1", "file:///etc", "https://u:p@example.org", "https://e.org/?a=1"]
)
def test_refuses_addresses_that_leak(url: str) -> None:
    with pytest.raises(PlanError):
        OpenAIGenerator(url, "m")
