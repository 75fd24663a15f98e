"""The local model that generators write with: a real (tiny) one."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from tests.support.errors import fails
from tests.support.parcel_rows import ROWS, stream
from veritune.client.generation import local_text_model
from veritune.client.generation.fitting import FittingRow
from veritune.client.generation.local_text_model import LocalTextModel
from veritune.client.generation.protocols import Draw
from veritune.common.errors import ModelFolderError, PlanError


@pytest.fixture(scope="module")
def tiny(tiny_model: Path) -> LocalTextModel:
    return LocalTextModel(tiny_model, dtype="float32")


def test_a_cursor_sees_what_the_whole_text_gives(tiny: LocalTextModel) -> None:
    """Keys and values kept from step to step, and copied for each text, change nothing."""
    prompt, text = "The lamp in the kitchen", " flickers at night"
    for _ in range(2):
        cursor = tiny.begin(prompt)
        for token in tiny.encode(text):
            cursor.advance(token)
        ids = tiny.tokenizer(prompt)["input_ids"] + tiny.encode(text)
        with torch.inference_mode():
            output = tiny.network(input_ids=torch.tensor([ids], device=tiny.network.device))
        whole = output.logits[0, -1].log_softmax(-1)
        for token, score in cursor.top(20):
            assert math.isclose(score, float(whole[token]), abs_tol=1e-4)
        scores = [score for _, score in cursor.top(10**6)]
        assert len(scores) == tiny.vocabulary
        assert scores == sorted(scores, reverse=True)


def test_continuations_are_of_the_stream_and_hold_no_special_token(tiny: LocalTextModel) -> None:
    def drawn(label: str, top_k: int = 50) -> list[str]:
        return tiny.continuations("The lamp", " in the kitchen", Draw(6, 12, 1.0, top_k), stream(label))

    texts = drawn("a")
    assert texts == drawn("a") != drawn("b")
    assert len(texts) == 6 == len(set(texts))
    for token in tiny.special:
        spelt = tiny.decode([token])
        assert not spelt or not any(spelt in text for text in texts)
    assert len(set(drawn("a", top_k=1))) == 1  # the likeliest text alone


def test_counts_and_renders_by_its_own_tokenizer(tiny: LocalTextModel) -> None:
    assert tiny.encode_all(["one two", "three"]) == [tiny.encode("one two"), tiny.encode("three")]
    assert tiny.count_text_tokens("one two") == len(tiny.encode("one two"))
    assert tiny.chat_ids(ROWS[0].prompt) == tiny.encode(tiny.render(ROWS[0].prompt))
    assert tiny.turn_end in tiny.stop <= tiny.special
    assert not tiny.newlines & tiny.special


def test_no_model_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError):
        LocalTextModel(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with fails(ModelFolderError, cause="load"):
        LocalTextModel(tmp_path)


def test_too_little_memory_to_fit(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(local_text_model, "with_fitted_adapter", full)
    with fails(PlanError, cause="memory"):
        LocalTextModel(tiny_model, dtype="float32").fit([FittingRow([5], [6])], 1, 0, lambda step, of: None)
