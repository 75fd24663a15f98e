"""LoRA training with ``transformers.Trainer`` and PEFT.

It is quick on small machines because batches have rows of like length, logits are computed only where a label is, and
weights (the adapter's too) are bfloat16 where the machine computes in it. It can be checked because everything random
follows the contract's seed, and each optimiser step leaves a record of its rows and loss that survives a restart.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from veritune.common.errors import TrainingError
from veritune.provider.hardware.precision import pick_precision
from veritune.provider.models.chat import ChatFormat
from veritune.provider.training.base import Progress, TrainingCancelled, TrainingResult, TrainingTask
from veritune.provider.training.data import TokenisedRows, collate, tokenise
from veritune.provider.training.environment import hardware, software
from veritune.provider.training.journal import Journal, job_id, whole_checkpoints

_SHORT = 512
"""Longest row in tokens for which plain attention is quicker than the fused kernel on a CPU."""


class TransformersTrainer:
    """A `Trainer` that trains LoRA adapters in one process on one device: the first GPU, else the CPU."""

    def train(
        self, task: TrainingTask, on_progress: Callable[[Progress], None], cancelled: Callable[[], bool]
    ) -> TrainingResult:
        """The adapter and the record of a training run, which resumes from the last checkpoint if there is one.

        A checkpoint is written after each epoch; ``on_progress`` is called after each optimiser step.

        Raises `TrainingCancelled` at the next step once ``cancelled()`` is true, a checkpoint written; `DatasetError`
        or `TrainingError` for rows that can't be trained on, and where the loss is no longer a finite number.
        """
        # Read when the libraries are first imported: nothing here may reach for a hub or draw a progress bar.
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        os.environ.setdefault("TQDM_DISABLE", "1")
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        import torch
        from transformers import set_seed

        from veritune.provider.training.hf_loop import LabelledOnlyTrainer, Recorder, training_arguments

        if cancelled():
            raise TrainingCancelled
        if task.threads:
            torch.set_num_threads(task.threads)
        training = task.training
        precision = pick_precision(training.precision)
        chat = ChatFormat.load(task.base_model)
        data = tokenise(task.dataset, chat, training.max_sequence_length, task.max_cut_rows)

        task.output.mkdir(parents=True, exist_ok=True)
        job = job_id(task)
        checkpoints = whole_checkpoints(task.output, job)
        resume = checkpoints[-1] if checkpoints else None
        journal = (Journal.load(resume, job) if resume else None) or Journal(job)

        set_seed(training.seed)  # before the adapter is made: its first weights are drawn here
        model = _model_with_adapter(task, getattr(torch, precision))
        recorder = Recorder(journal, on_progress, cancelled)
        trainer = LabelledOnlyTrainer(
            model=model,
            args=training_arguments(training, task.output),
            rows=data.rows,
            collator=partial(collate, pad_id=chat.pad_id),
            recorder=recorder,
        )
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
        if recorder.stopped:
            raise TrainingCancelled
        adapter = _save_adapter(model, task.output)
        return _result(task, data, journal, adapter, software(), hardware(precision))


def _model_with_adapter(task: TrainingTask, dtype: Any) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    # On a CPU the fused attention kernel costs more than it saves on short rows, most of all in bfloat16.
    short = not torch.cuda.is_available() and task.training.max_sequence_length <= _SHORT
    model = AutoModelForCausalLM.from_pretrained(
        task.base_model,
        dtype=dtype,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        attn_implementation="eager" if short else "sdpa",
    )
    model.config.use_cache = False
    return with_adapter(model, task)


def with_adapter(model: Any, task: TrainingTask) -> Any:
    """The model with a new LoRA adapter by the task's recipe, its first weights drawn by torch's default generator.

    Raises `TrainingError` if the model has no such target modules.
    """
    from peft import LoraConfig, TaskType, get_peft_model

    from veritune.provider.training.joined_lora import join_lora

    training = task.training
    every = training.target_modules == ("all-linear",)
    config = LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=training.rank,
        lora_alpha=training.alpha,
        lora_dropout=float(training.dropout),
        target_modules="all-linear" if every else list(training.target_modules),
    )
    join_lora(config)
    try:
        adapted = get_peft_model(model, config, autocast_adapter_dtype=False)
    except ValueError as error:
        raise TrainingError("the base model has no such target modules", cause="target_modules") from error
    settings = adapted.peft_config["default"]
    # The client gets this file: the model's name, no path of this machine; and no order that changes from run to run.
    settings.base_model_name_or_path = task.base_model.name
    settings.target_modules = sorted(settings.target_modules)
    return adapted


def _save_adapter(model: Any, output: Path) -> Path:
    """The folder ``adapter/`` with its two files; it gets this name only when it is complete."""
    from veritune.provider.training.hf_loop import save_adapter

    adapter, draft = output / "adapter", output / ".adapter.new"
    for folder in (adapter, draft):
        shutil.rmtree(folder, ignore_errors=True)
    save_adapter(model, draft)
    draft.rename(adapter)
    return adapter


def _result(
    task: TrainingTask,
    data: TokenisedRows,
    journal: Journal,
    adapter: Path,
    versions: dict[str, str],
    machine: dict[str, str],
) -> TrainingResult:
    return TrainingResult(
        adapter=adapter,
        checkpoints=tuple(whole_checkpoints(task.output, journal.job)),
        steps=len(journal.trace),
        tokens=journal.tokens,
        label_tokens=journal.label_tokens,
        rows_trained=len(data.rows),
        rows_dropped=data.dropped,
        rows_cut=data.cut,
        trace=tuple(journal.trace),
        software=versions,
        hardware=machine,
    )
