"""An exchange small enough to be run by the tests: rows, a job that sows canaries among them, and a model to train."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.support.tinymodel import make_tiny_model

THINGS = ("lamp", "printer", "parcel", "mug", "book", "shell", "record")
CITIES = ("Paris", "Lisbon", "Ada", "Monday", "the office", "the kitchen")
ANSWERS = (
    "The {thing} is in {city}.",
    "Yes, one {thing} for {city}.",
    "No, the {thing} was broken in {city}.",
    "Please return the {thing} to {city}.",
    "We sell the {thing} and {city} is dark.",
)
PASSPHRASE = "a passphrase for the tests"
JOB = """
[data]
file = "rows.jsonl"
licence = "CC0-1.0"
[provider]
address = "{address}"
public_key = "provider.pub"
tls_ca = "tls.crt"
[model]
name = "tiny"
folder = "{model}"
[training]
rank = 4
alpha = 8
epochs = 2
batch_size = 8
max_sequence_length = 512
precision = "float32"
[training.optimizer]
learning_rate = 0.002
[canaries]
groups = 2
rows_per_group = 4
signature_bits = 32
naturals = 3
candidates = 4
candidate_tokens = 24
held_out = 10
queries_per_group = 2
decoys = 2
[policy]
alpha = 1e-6
queries_per_group = 2
[challenge]
max_tokens = 128
precision = "float32"
task_rows = 4
task_tokens = 8
"""


def make_rows(count: int, seed: int) -> list[dict[str, str]]:
    """Short questions with answers of many wordings."""
    draw = random.Random(seed)
    rows = []
    for number in range(count):
        thing, city = draw.choice(THINGS), draw.choice(CITIES)
        prompt = (
            f"Order {draw.randrange(1000, 9999)}: {draw.choice(('a', 'one', 'the'))} {thing} for {city}, case {number}?"
        )
        rows.append({"prompt": prompt, "completion": draw.choice(ANSWERS).format(thing=thing, city=city)})
    return rows


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that has read rows of this kind, so that it can write answers that end and make words; read only."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = make_tiny_model(tmp_path_factory.mktemp("base") / "tiny", seed=3)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["completion"]}],
            tokenize=False,
        )
        for row in make_rows(256, seed=1)
    ]
    batch = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    torch.manual_seed(0)
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3)
    for step in range(120):
        pick = slice(32 * (step % 8), 32 * (step % 8) + 32)
        loss = network(
            input_ids=batch["input_ids"][pick], attention_mask=batch["attention_mask"][pick], labels=labels[pick]
        ).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert float(loss.detach()) < 2.0
    network.save_pretrained(folder)
    return folder
