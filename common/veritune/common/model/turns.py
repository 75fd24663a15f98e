"""The token that ends an answer: both parties must agree on it, or they score and stop differently."""

from __future__ import annotations

from typing import Any

# Stands for an answer while the template is asked what it puts behind one.
_MARK = "veritune-mark"


def end_of_turn(tokenizer: Any) -> int | None:
    """Id of the token that the chat template writes after an answer; without one the tokenizer's eos, else None.

    The two can differ: Gemma's template writes ``<end_of_turn>``. ``tokenizer`` is a transformers tokenizer with a
    chat template.
    """
    chat = [{"role": "user", "content": _MARK}, {"role": "assistant", "content": _MARK}]
    tail = tokenizer.apply_chat_template(chat, tokenize=False).rpartition(_MARK)[2]
    ids: list[int] = tokenizer(tail, add_special_tokens=False)["input_ids"]
    if ids and ids[0] in tokenizer.added_tokens_decoder:
        return ids[0]
    eos: int | None = tokenizer.eos_token_id
    return eos
