"""The generator that runs a transformers model, a real (tiny) one."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.errors import fails
from tests.support.parcel_rows import PLAN, ROWS, SEED, row, stream
from tests.support.tinymodel import make_tiny_model
from veritune.arbiter.documents.canary import Generator, example_chat
from veritune.client.generation.local_generator import TransformersGenerator
from veritune.client.generation.prompts import phrase_prompt
from veritune.client.job.canary_plan import CanaryPlan
from veritune.client.progress import no_progress
from veritune.client.sowing.prepare import prepare
from veritune.client.sowing.sealed import open_sealed
from veritune.common.dataset import Message, Row
from veritune.common.errors import ModelFolderError, PlanError
from veritune.common.model.files import model_digest


@pytest.fixture(scope="module")
def tiny(tiny_model: Path) -> TransformersGenerator:
    return TransformersGenerator(tiny_model, dtype="float32")


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
    with fails(PlanError, cause="prompt"):  # it writes line breaks and nothing else
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
        assert len(tiny.model.encode(signature.text)) == len(bits)
        seen.add(signature.text)
    assert len(seen) == 6


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

    from veritune.client.generation.batch_decoder import sample_answers

    model = small_gemma() if windowed else tiny.model.network
    prompts = [tiny.model.chat_ids(r.prompt) for r in (ROWS[0], row("Short one?"), ROWS[7])]
    stop = frozenset({tiny.model.tokenizer.eos_token_id})
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
                    ids = torch.tensor([prompt + plain], device=model.device)
                    logits = model(input_ids=ids).logits[0, -1].float().cpu()
                values, likeliest = logits.topk(30)
                cumulative = (values / 1.3).softmax(-1).double().cumsum(-1)
                plain.append(
                    int(likeliest[int((cumulative <= numbers[step * max(counts) + j] * cumulative[-1]).sum())])
                )
                if plain[-1] in stop:
                    break
            assert answer == plain


def test_fitting_changes_answers_and_nothing_else(tiny: TransformersGenerator, tiny_model: Path) -> None:
    """Signatures and triggers stay the base model's."""
    fitted, told = TransformersGenerator(tiny_model, dtype="float32"), list[tuple[str, int, int]]()
    fitted.fit(ROWS[:32], 4, stream("fit"), lambda what, done, of: told.append((what, done, of)))
    assert told == [("fit generator", step, 16) for step in range(1, 17)]

    def answers(generator: TransformersGenerator, examples: Sequence[Row] = ()) -> tuple[str, ...]:
        return generator.answers(examples, [ROWS[35].prompt], PLAN, [stream("a")], no_progress)[0]

    assert answers(fitted) != answers(tiny)
    assert answers(fitted, ROWS[:2]) == answers(fitted, ROWS[2:4])
    assert answers(tiny, ROWS[:2]) != answers(tiny, ROWS[2:4])
    assert fitted.signature("P", PLAN, stream("s")) == tiny.signature("P", PLAN, stream("s"))
    assert fitted.trigger("P", PLAN, stream("t")) == tiny.trigger("P", PLAN, stream("t"))
    assert answers(fitted) == answers(fitted)
    plan = PLAN.model_copy(update={"fitted_epochs": 4})
    assert fitted.describe("P", (), plan).fitted_epochs == 4
    with pytest.raises(RuntimeError, match="once"):
        fitted.fit(ROWS, 1, stream("fit"), no_progress)


def test_rows_that_are_too_long_can_not_be_fitted_to(tiny_model: Path) -> None:
    generator = TransformersGenerator(tiny_model, dtype="float32")
    with fails(PlanError, setting="canaries.fitted_epochs", cause="rows"):
        generator.fit([row("why? " * 5000)], 1, stream("fit"), no_progress)


def test_too_long_a_prompt_and_too_many_answers(tiny: TransformersGenerator) -> None:
    with fails(PlanError, cause="room"):
        tiny.answers(ROWS[:4], [row("word " * 2000).prompt], PLAN, [stream("a")], no_progress)
    greedy = PLAN.model_copy(update={"top_k": 2, "candidate_tokens": 4, "candidates": 256})
    with fails(PlanError, setting="canaries.candidates"):
        tiny.answers(ROWS[:4], [ROWS[0].prompt], greedy, [stream("a")], no_progress)


def test_counts_tokens_like_training(tiny: TransformersGenerator) -> None:
    rows = [row("one two"), row("three"), row("four", "a longer answer of some words")]
    expected = [len(tiny.model.chat_ids(r.prompt)) + len(tiny.model.encode(r.completion)) + 1 for r in rows]
    assert tiny.count_tokens(rows) == expected


def test_no_model_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError):
        TransformersGenerator(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with fails(ModelFolderError, cause="load"):
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
