"""Labels, batches and the loss, each by itself."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.support.errors import fails
from veritune.common.dataset import Message, Row, write_rows
from veritune.common.errors import TrainingError
from veritune.provider.models.chat import ChatFormat
from veritune.provider.training.batching import LengthGroupedBatches
from veritune.provider.training.data import IGNORED, collate, tokenise


@pytest.fixture(scope="module")
def chat(tiny_model: Path) -> ChatFormat:
    return ChatFormat.load(tiny_model)


def write(path: Path, *turns: str) -> Path:
    roles = ("user", "assistant") * len(turns)
    messages = tuple(Message(role=roles[i], content=text) for i, text in enumerate(turns))  # type: ignore[arg-type] # only these two
    write_rows(path, [Row(messages=messages)])
    return path


def test_labels_are_the_last_answer_and_its_end_of_turn(tiny_model: Path, chat: ChatFormat, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    path = write(tmp_path / "rows.jsonl", "the first", "an early answer", "the second", "the late answer")
    row = tokenise(path, chat, 512).rows[0]
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    labelled = [label for label in row.labels if label != IGNORED]
    assert tokenizer.decode(labelled) == "the late answer<|im_end|>"
    assert labelled[-1] == chat.end_of_turn
    assert row.input_ids[-len(labelled) :] == tuple(labelled)
    text = tokenizer.decode(row.input_ids)
    assert text.endswith("the second<|im_end|>\n<|im_start|>assistant\nthe late answer<|im_end|>")


def test_no_more_rows_are_cut_than_allowed(chat: ChatFormat, tmp_path: Path) -> None:
    """Those that lose an end of their answer, and those of which no answer is left."""
    turns = [("the lamp", "yes"), ("the lamp", "lamp " * 60), ("lamp " * 60, "yes")]
    messages = [(Message(role="user", content=asked), Message(role="assistant", content=said)) for asked, said in turns]
    write_rows(tmp_path / "rows.jsonl", [Row(messages=pair) for pair in messages])
    assert len(tokenise(tmp_path / "rows.jsonl", chat, 48, max_cut=2).rows) == 2
    assert len(tokenise(tmp_path / "rows.jsonl", chat, 512, max_cut=0).rows) == 3
    with fails(TrainingError, cause="too_long", rows="2"):
        tokenise(tmp_path / "rows.jsonl", chat, 48, max_cut=1)


def test_collate_pads_on_the_right_without_label_or_attention(chat: ChatFormat, tmp_path: Path) -> None:
    short = tokenise(write(tmp_path / "a.jsonl", "hi", "yes"), chat, 512).rows[0]
    long = tokenise(write(tmp_path / "b.jsonl", "hi there my old lamp", "no, not that"), chat, 512).rows[0]
    batch = collate([short, long], chat.pad_id)
    assert batch["input_ids"].shape == (2, len(long))
    assert batch["attention_mask"].sum(1).tolist() == [len(short), len(long)]
    assert batch["input_ids"][0, len(short) :].eq(chat.pad_id).all()
    assert batch["labels"][0, len(short) :].eq(IGNORED).all()


def test_loss_at_labelled_positions_equals_the_full_computation(
    tiny_model: Path, chat: ChatFormat, tmp_path: Path
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from veritune.provider.training.hf_loop import labelled_loss

    rows = [
        tokenise(write(tmp_path / "a.jsonl", "hi", "yes"), chat, 512).rows[0],
        tokenise(write(tmp_path / "b.jsonl", "hi there my old lamp", "no, not that"), chat, 512).rows[0],
    ]
    batch = collate(rows, chat.pad_id)
    labels = batch["labels"]
    model = AutoModelForCausalLM.from_pretrained(tiny_model)

    def gradients(loss: torch.Tensor) -> list[torch.Tensor]:
        model.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call] # torch's own annotation
        return [parameter.grad.clone() for parameter in model.parameters()]

    quick = labelled_loss(model, batch)
    quick_gradients = gradients(quick)
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    full = torch.nn.functional.cross_entropy(
        logits[:, :-1].reshape(-1, logits.shape[-1]), labels[:, 1:].reshape(-1), reduction="sum"
    )
    assert quick.item() == pytest.approx(full.item(), rel=1e-5)
    for ours, theirs in zip(quick_gradients, gradients(full), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert int((labels != IGNORED).sum()) < labels.numel() / 2


def test_batches_hold_every_row_once_and_change_with_the_epoch() -> None:
    lengths = [7 * i % 50 + 1 for i in range(101)]
    batches = LengthGroupedBatches(lengths, 8, seed=3)
    first = list(batches)
    assert first == list(batches)
    assert len(first) == len(batches) == 13
    assert Counter(row for batch in first for row in batch) == Counter(range(101))
    batches.set_epoch(1)
    second = list(batches)
    assert second != first
    assert Counter(row for batch in second for row in batch) == Counter(range(101))
    assert list(LengthGroupedBatches(lengths, 8, seed=4)) != first


def test_batches_waste_little_on_padding() -> None:
    lengths = [(i * 37) % 100 + 1 for i in range(400)]
    padded = sum(max(lengths[row] for row in batch) * len(batch) for batch in LengthGroupedBatches(lengths, 8, seed=0))
    assert padded < 1.15 * sum(lengths)
