"""The token behind an answer, for templates and tokenizers of three kinds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from veritune.common.model.turns import end_of_turn

WORDS = {"<eos>": 1, "<end_of_turn>": 106, "\n": 9}


@dataclass
class Tokenizer:
    """As much of a tokenizer as the function asks for; ``tail`` is what its template writes behind an answer."""

    tail: str
    eos_token_id: int | None

    added_tokens_decoder = {1: "<eos>", 106: "<end_of_turn>"}  # noqa: RUF012

    def apply_chat_template(self, chat: list[dict[str, str]], *, tokenize: bool) -> str:
        assert not tokenize
        return "".join(f"{turn['role']}: {turn['content']}{self.tail}" for turn in chat)

    def __call__(self, text: str, *, add_special_tokens: bool) -> dict[str, Any]:
        assert not add_special_tokens
        ids = []
        while text:
            word = next(word for word in WORDS if text.startswith(word))
            ids.append(WORDS[word])
            text = text[len(word) :]
        return {"input_ids": ids}


@pytest.mark.parametrize(
    ("tail", "eos", "end"),
    [("<end_of_turn>\n", 1, 106), ("\n", 1, 1), ("", 1, 1), ("\n", None, None), ("<end_of_turn>", None, 106)],
)
def test_the_templates_own_token_first(tail: str, eos: int | None, end: int | None) -> None:
    assert end_of_turn(Tokenizer(tail, eos)) == end
