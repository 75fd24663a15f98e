"""Fitting the local generator to the user's rows, so that its answers look like theirs (vTune, section 4.1).

A LoRA adapter is trained over the generator for a few epochs, with the loss on answers alone, and never saved:
candidates need only have the style of the data, and no bound depends on how they were made.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

RANK, ALPHA, BATCH, LEARNING_RATE = 16, 32, 8, 1e-3
_IGNORED = -100


class FittingRow(NamedTuple):
    """Token ids of one row's prompt and answer; the loss is computed on ``answer`` alone."""

    prompt: list[int]
    answer: list[int]


def with_fitted_adapter(
    model: Any, rows: Sequence[FittingRow], epochs: int, seed: int, on_step: Callable[[int, int], None]
) -> Any:
    """A PeftModel over ``model`` whose LoRA adapter is fitted to the rows; ``model`` is changed in place.

    ``on_step`` is called after every optimiser step with the steps done and their total.
    """
    from peft import LoraConfig, get_peft_model
    from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments, set_seed

    class Steps(TrainerCallback):  # type: ignore[misc] # transformers is untyped here
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            on_step(state.global_step, state.max_steps)

    set_seed(seed)
    use_cache = model.config.use_cache  # the library turns it off to train
    settings = LoraConfig(task_type="CAUSAL_LM", r=RANK, lora_alpha=ALPHA, target_modules="all-linear")
    adapted = get_peft_model(model, settings, autocast_adapter_dtype=False)
    with tempfile.TemporaryDirectory() as scratch:
        trainer = Trainer(
            model=adapted,
            args=TrainingArguments(
                output_dir=scratch,
                num_train_epochs=epochs,
                per_device_train_batch_size=BATCH,
                learning_rate=LEARNING_RATE,
                lr_scheduler_type="linear",
                seed=seed,
                train_sampling_strategy="group_by_length",
                save_strategy="no",
                logging_strategy="no",
                report_to=[],
                disable_tqdm=True,
                remove_unused_columns=False,
                dataloader_pin_memory=False,
            ),
            train_dataset=[
                {"input_ids": row.prompt + row.answer, "labels": [_IGNORED] * len(row.prompt) + row.answer}
                for row in rows
            ],
            data_collator=_collate,
            callbacks=[Steps()],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    model.config.use_cache = use_cache
    return adapted.eval()


def _collate(rows: Sequence[dict[str, list[int]]]) -> dict[str, Any]:
    """A batch of tensors of shape (rows, width), padded on the right, which a causal model's real tokens never see."""
    import torch

    width = max(len(row["input_ids"]) for row in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    labels = torch.full_like(ids, _IGNORED)
    mask = torch.zeros_like(ids)
    for place, row in enumerate(rows):
        length = len(row["input_ids"])
        ids[place, :length] = torch.tensor(row["input_ids"])
        labels[place, :length] = torch.tensor(row["labels"])
        mask[place, :length] = 1
    return {"input_ids": ids, "labels": labels, "attention_mask": mask}
