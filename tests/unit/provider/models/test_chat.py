"""Chats to token ids and token ids to text, as engines and training share them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from veritune.provider.models.chat import ChatFormat, ChatRefusedError


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_model)


@pytest.fixture(scope="module")
def chat(tiny_model: Path) -> ChatFormat:
    return ChatFormat.load(tiny_model)


def test_prompt_and_completion_are_the_beginning_of_the_whole_conversation(chat: ChatFormat, tokenizer: Any) -> None:
    messages = [("system", "Be brief."), ("user", "What is 12 + 30?")]
    whole = tokenizer.apply_chat_template(
        [{"role": role, "content": text} for role, text in [*messages, ("assistant", "42 it is.")]],
        return_dict=False,
    )
    row = chat.prompt_ids(messages) + chat.completion_ids("42 it is.")
    assert row == whole[: len(row)]
    assert tokenizer.decode(whole[len(row) :]) == "\n"
    assert tokenizer.convert_ids_to_tokens(row[-1]) == "<|im_end|>"


def test_the_end_of_a_turn_is_what_the_template_writes_not_what_the_tokenizer_calls_its_end(tiny_model: Path) -> None:
    from transformers import AutoTokenizer

    other = AutoTokenizer.from_pretrained(tiny_model)
    other.eos_token = "<|endoftext|>"
    format_ = ChatFormat(other)
    assert other.convert_ids_to_tokens(format_.end_of_turn) == "<|im_end|>"
    assert format_.stop_ids == {format_.end_of_turn, other.eos_token_id}


def test_a_tokenizer_without_a_template_is_refused(tiny_model: Path) -> None:
    from transformers import AutoTokenizer

    other = AutoTokenizer.from_pretrained(tiny_model)
    other.chat_template = None
    with pytest.raises(ValueError, match="no chat template"):
        ChatFormat(other)


def test_a_chat_that_the_template_refuses_is_refused_by_name(tiny_model: Path) -> None:
    from transformers import AutoTokenizer

    other = AutoTokenizer.from_pretrained(tiny_model)
    other.chat_template = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system here') }}{% endif %}"
        "{{ m.content }}<|im_end|>{% endfor %}"
    )
    with pytest.raises(ChatRefusedError, match="no system here"):
        ChatFormat(other).prompt_ids([("system", "x")])


@pytest.mark.parametrize(
    "text", ["plain", "käse, 東京 and 🦀🧀!", "  spaces \n\n kept ", "e\u0301", "\ufffd is a letter too"]
)
def test_streamed_text_is_the_text_and_no_piece_holds_half_a_character(chat: ChatFormat, text: str) -> None:
    stream = chat.stream()
    # Without its end-of-turn token the completion is the text's own tokens, several for each rare character.
    pieces = [stream.push([token]) for token in chat.completion_ids(text)[:-1]]
    assert "".join([*pieces, stream.flush()]) == text
    if "\ufffd" not in text:
        assert "\ufffd" not in "".join(pieces)


def test_bytes_that_never_become_a_character_come_out_once_at_the_end(chat: ChatFormat, tokenizer: Any) -> None:
    ids = chat.completion_ids("a🦀")[:-2]
    stream = chat.stream()
    pieces = [stream.push([token]) for token in ids]
    assert "".join(pieces) == "a"
    assert "a" + stream.flush() == tokenizer.decode(ids)
    assert stream.flush() == ""


def test_special_tokens_leave_no_text(chat: ChatFormat) -> None:
    stream = chat.stream()
    assert stream.push(chat.completion_ids("yes")) + stream.flush() == "yes"
