"""The model that other tests stand on is itself sound."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.support.tinymodel import make_tiny_model


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def test_the_same_seed_writes_the_same_folder(tmp_path: Path) -> None:
    first = digests(make_tiny_model(tmp_path / "a", seed=3))
    again = digests(make_tiny_model(tmp_path / "b", seed=3))
    other = digests(make_tiny_model(tmp_path / "c", seed=4))
    assert first == again
    assert {name for name in first if first[name] != other[name]} == {"model.safetensors"}


def test_tokenizer_round_trips_and_special_tokens_are_single(tiny_model: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    text = 'Grüße, "42" \u2013 naïve\n{"a": 1}'
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hi"}], add_generation_prompt=True, tokenize=False
    )
    assert chat == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer("<|im_end|>")["input_ids"] == [tokenizer.eos_token_id]
