"""Turns a chat into token ids and token ids into text, the same way in every engine and in training.

A row of training data is ``prompt_ids(messages) + completion_ids(answer)``; an engine that answers starts from
the same prompt ids and stops where that row would have ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from veritune.common.model.turns import end_of_turn

Message = tuple[str, str]
"""One turn of a chat: (role, content)."""


class ChatRefusedError(ValueError):
    """A chat that the base model's template does not take, for instance one with a system message.

    Internal to the provider: serving answers it with MALFORMED_REQUEST.
    """


class ChatFormat:
    """The tokenizer of one base model and its chat template.

    ``stop_ids`` are the tokens that end an answer; ``pad_id`` fills batches. Special tokens written out in a message
    are read as special tokens: whoever writes the message talks to their own model. Raises `ValueError` for a tokenizer
    without a chat template, or with one that ends no turn.
    """

    def __init__(self, tokenizer: Any) -> None:
        if not getattr(tokenizer, "chat_template", None):
            raise ValueError("the model's tokenizer has no chat template")
        self._tokenizer = tokenizer
        end = end_of_turn(tokenizer)
        if end is None:
            raise ValueError("the chat template ends no turn and the tokenizer has no end-of-sequence token")
        self.end_of_turn: int = end
        eos: int | None = tokenizer.eos_token_id
        self.stop_ids: frozenset[int] = frozenset({self.end_of_turn} | ({eos} if eos is not None else set()))
        pad: int | None = tokenizer.pad_token_id
        self.pad_id: int = pad if pad is not None else self.end_of_turn

    @classmethod
    def load(cls, model_dir: Path) -> ChatFormat:
        """The chat format of a local model folder; no code from it is run. Raises `ValueError` as the class does."""
        from transformers import AutoTokenizer

        return cls(AutoTokenizer.from_pretrained(model_dir, local_files_only=True, trust_remote_code=False))

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a chat up to the place where the assistant's answer begins.

        Raises `ChatRefusedError` if the template refuses the chat, or if there is no message.
        """
        from jinja2 import TemplateError

        if not messages:
            raise ChatRefusedError("a chat needs at least one message")
        try:
            text = self._render(messages, add_generation_prompt=True)
        except TemplateError as error:
            raise ChatRefusedError(f"the chat template refuses this chat: {error}") from error
        return self._encode(text)

    def completion_ids(self, completion: str) -> list[int]:
        """Token ids of an assistant's answer, the end-of-turn token included."""
        return [*self._encode(completion), self.end_of_turn]

    def stream(self) -> TextStream:
        """A new decoder for the tokens of one answer."""
        return TextStream(self._tokenizer)

    def _render(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
        chat = [{"role": role, "content": content} for role, content in messages]
        text: str = self._tokenizer.apply_chat_template(
            chat, tokenize=False, add_generation_prompt=add_generation_prompt
        )
        return text

    def _encode(self, text: str) -> list[int]:
        # The template writes every special token itself, also the one that begins a text.
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids


class TextStream:
    """Decodes the tokens of one answer as they come; the pieces joined are the decoding of all tokens."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        # Text is decoded from the last complete character on, since some tokenizers write a token differently
        # at the beginning of a text; the text before `_read` has been returned already.
        self._prefix = 0
        self._read = 0

    def push(self, ids: Iterable[int]) -> str:
        """The new text after these further tokens; an incomplete character is kept back."""
        self._ids.extend(ids)
        return self._advance(final=False)

    def flush(self) -> str:
        """The text that was kept back; bytes that never became a character are U+FFFD."""
        return self._advance(final=True)

    def _advance(self, *, final: bool) -> str:
        known = self._decode(self._ids[self._prefix : self._read])
        text = self._decode(self._ids[self._prefix :])
        if len(text) <= len(known) or (text.endswith("\ufffd") and not final):
            return ""
        self._prefix, self._read = self._read, len(self._ids)
        return text[len(known) :]

    def _decode(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text
