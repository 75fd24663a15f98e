"""Fitting a generator: the adapter learns the answers, not the prompts, and can be turned off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from veritune.client.generation.fitting import FittingRow, _collate, with_fitted_adapter

pytestmark = pytest.mark.heavy

ROWS = [FittingRow([5, 6, 7 + i % 3], [11, 12, 13, 2]) for i in range(10)]


@pytest.fixture
def model(tiny_model: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()


def nats(model: Any, prompt: list[int], answer: list[int]) -> float:
    """Mean surprise of an answer's tokens."""
    with torch.inference_mode():
        ids = torch.tensor([prompt + answer], device=model.device)  # fitting moves the model to a GPU if there is one
        logits = model(input_ids=ids).logits[0, len(prompt) - 1 : -1].cpu()
    return -float(logits.log_softmax(-1).gather(-1, torch.tensor(answer)[:, None]).mean())


def test_answers_become_likelier_and_the_old_model_is_still_there(model: Any) -> None:
    before = nats(model, *ROWS[0])
    steps: list[tuple[int, int]] = []
    fitted = with_fitted_adapter(model, ROWS, 10, 7, lambda step, of: steps.append((step, of)))
    assert steps == [(step, 20) for step in range(1, 21)]
    assert nats(fitted, *ROWS[0]) < before - 0.2
    fitted.base_model.disable_adapter_layers()
    assert nats(model, *ROWS[0]) == pytest.approx(before, abs=1e-5)
    assert not fitted.training


def test_only_answers_are_labels() -> None:
    batch = _collate(
        [{"input_ids": [5, 6, 7, 11, 2], "labels": [-100, -100, -100, 11, 2]}, {"input_ids": [5], "labels": [5]}]
    )
    assert batch["labels"].tolist() == [[-100, -100, -100, 11, 2], [5, -100, -100, -100, -100]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1, 1], [1, 0, 0, 0, 0]]


def test_the_seed_decides(tiny_model: Path) -> None:
    from transformers import AutoModelForCausalLM

    def run(seed: int) -> float:
        base = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
        return nats(with_fitted_adapter(base, ROWS, 2, seed, lambda *_: None), *ROWS[0])

    assert run(1) == run(1) != run(2)
