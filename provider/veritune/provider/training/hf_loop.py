"""A subclass of ``transformers.Trainer`` with its callbacks: batches by length, the loss over labels, the record."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import set_peft_model_state_dict
from safetensors.torch import load_file
from torch.utils.data import DataLoader
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from veritune.common.documents.manifest import Training
from veritune.common.documents.receipts import ADAPTER_WEIGHTS
from veritune.common.errors import TrainingError
from veritune.provider.training.base import Progress, StepRecord
from veritune.provider.training.batching import LengthGroupedBatches
from veritune.provider.training.data import IGNORED, TokenRow
from veritune.provider.training.journal import Journal


def training_arguments(training: Training, output: Path) -> TrainingArguments:
    """The ``TrainingArguments`` that carry out the contract's recipe, with ``output`` as the folder of checkpoints."""
    schedule = training.schedule
    optimizer = training.optimizer
    arguments = TrainingArguments(
        output_dir=str(output),
        num_train_epochs=training.epochs,
        per_device_train_batch_size=training.batch_size,
        gradient_accumulation_steps=training.gradient_accumulation,
        optim="adamw_torch_fused",
        learning_rate=float(optimizer.learning_rate),
        adam_beta1=float(optimizer.beta1),
        adam_beta2=float(optimizer.beta2),
        adam_epsilon=float(optimizer.epsilon),
        weight_decay=float(optimizer.weight_decay),
        max_grad_norm=float(optimizer.max_grad_norm),
        lr_scheduler_type="constant_with_warmup" if schedule == "constant" else schedule,
        warmup_steps=training.warmup_steps,
        seed=training.seed,
        use_cpu=not torch.cuda.is_available(),
        save_strategy="epoch",
        logging_strategy="no",
        logging_nan_inf_filter=False,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )
    # More GPUs would be wrapped in DataParallel, which splits batches and so the trace; one is what the receipt says.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def label_positions(labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A mask of the positions whose logits predict a label, and these labels in the order of the mask.

    Shapes: ``labels`` [rows, width]; the mask is boolean [rows, width], true *before* each label; the labels are [n].
    """
    following = labels[:, 1:]
    wanted = following != IGNORED
    return torch.nn.functional.pad(wanted, (0, 1), value=False), following[wanted]


def labelled_loss(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """The summed cross entropy (nats, a scalar) over the labels of a batch; logits are computed only where needed."""
    keep, targets = label_positions(batch["labels"])
    logits = model(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        logits_to_keep=keep,
        use_cache=False,
    ).logits
    return torch.nn.functional.cross_entropy(logits.float(), targets, reduction="sum")


def save_adapter(model: Any, folder: Path) -> None:
    """Writes ``adapter_config.json`` and ``adapter_model.safetensors`` into ``folder``, and no other file."""
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)


class Recorder(TrainerCallback):  # type: ignore[misc] # transformers is untyped here
    """A callback that writes the journal, reports progress, and stops training when ``cancelled()`` is true."""

    def __init__(
        self, journal: Journal, on_progress: Callable[[Progress], None], cancelled: Callable[[], bool]
    ) -> None:
        self.journal = journal
        self.stopped = False
        self._on_progress = on_progress
        self._cancelled = cancelled
        self._rows: list[int] = []
        self._loss = 0.0

    def saw(self, rows: Sequence[int], loss: float, tokens: int, label_tokens: int) -> None:
        """Adds one forward pass to the record of the current step; ``loss`` is its share of the step's mean loss.

        Raises `TrainingError` if the loss is not finite.
        """
        if not math.isfinite(loss):
            raise TrainingError(f"the loss is not finite at step {len(self.journal.trace) + 1}", cause="loss")
        self._rows += rows
        self._loss += loss
        self.journal.tokens += tokens
        self.journal.label_tokens += label_tokens

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Adds the finished optimiser step to the journal, reports progress, and asks for a stop if cancelled."""
        self.journal.trace.append(StepRecord(state.global_step, tuple(self._rows), f"{self._loss:.6f}"))
        progress = Progress(
            state.global_step, state.max_steps, float(state.epoch or 0), self._loss, self.journal.tokens
        )
        self._rows, self._loss = [], 0.0
        self._on_progress(progress)
        if state.global_step < state.max_steps and self._cancelled():
            self.stopped = True
            control.should_save = True
            control.should_training_stop = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Writes the journal into the checkpoint that the library has just written, which completes it."""
        self.journal.save(Path(args.output_dir) / f"checkpoint-{state.global_step}")


class LabelledOnlyTrainer(Trainer):  # type: ignore[misc] # transformers is untyped here
    """A ``Trainer`` with `LengthGroupedBatches` and `labelled_loss`, whose checkpoints hold only the adapter."""

    def __init__(
        self,
        *,
        model: Any,
        args: TrainingArguments,
        rows: Sequence[TokenRow],
        collator: Callable[[Sequence[TokenRow]], dict[str, torch.Tensor]],
        recorder: Recorder,
    ) -> None:
        super().__init__(model=model, args=args, train_dataset=list(rows), data_collator=collator, callbacks=[recorder])
        self.remove_callback(PrinterCallback)
        # `compute_loss` divides by the labels of the whole step already.
        self.model_accepts_loss_kwargs = True
        self._recorder = recorder
        self._loader: DataLoader[TokenRow] = DataLoader(
            self.train_dataset,
            batch_sampler=LengthGroupedBatches([len(row) for row in rows], args.per_device_train_batch_size, args.seed),
            collate_fn=collator,
        )
        self.add_callback(_EpochOrder(self._loader))

    def get_train_dataloader(self) -> DataLoader[TokenRow]:
        """The loader whose batches hold rows of like length, in an order that follows the seed."""
        return self._loader

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """The batch's share of the mean loss per label (nats, a scalar) over the whole optimiser step."""
        rows = inputs.pop("rows").tolist()
        labels = int((inputs["labels"] != IGNORED).sum())
        loss = labelled_loss(model, inputs) / (labels if num_items_in_batch is None else num_items_in_batch)
        self._recorder.saw(rows, loss.item(), int(inputs["attention_mask"].sum()), labels)
        return loss

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        save_adapter(self.model, Path(output_dir or self.args.output_dir))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        # PEFT's load_adapter would turn a bfloat16 adapter into a float32 one.
        weights = load_file(Path(resume_from_checkpoint) / ADAPTER_WEIGHTS)
        set_peft_model_state_dict(model or self.model, weights)


class _EpochOrder(TrainerCallback):  # type: ignore[misc] # transformers is untyped here
    """A callback that gives the batches the number of the epoch, also when a run resumes in the middle of one."""

    def __init__(self, loader: DataLoader[TokenRow]) -> None:
        self._loader = loader

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Sets the epoch from the steps done; steps per epoch are rounded up, as the library does."""
        steps = -(-len(self._loader) // args.gradient_accumulation_steps)
        batches = self._loader.batch_sampler
        if not isinstance(batches, LengthGroupedBatches):
            raise TypeError("the loader's batches were replaced")
        batches.set_epoch(state.global_step // steps)
