"""Turns the rows of a data set into token ids, with labels on the last answer only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from veritune.common.dataset import read_rows
from veritune.common.errors import TrainingError
from veritune.provider.models.chat import ChatFormat, ChatRefusedError

if TYPE_CHECKING:
    import torch

IGNORED = -100
"""Label of a position that carries no loss (torch's ``cross_entropy`` default)."""


@dataclass(frozen=True)
class TokenRow:
    """The token ids of one row; ``labels`` is as long as ``input_ids`` and `IGNORED` where a token carries no loss."""

    index: int
    """The row's index in the data set, from 0."""
    input_ids: tuple[int, ...]
    labels: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.input_ids)


@dataclass(frozen=True)
class TokenisedRows:
    """The rows to train on, and how many rows were too long."""

    rows: tuple[TokenRow, ...]
    dropped: int
    """Rows that are left out because cutting leaves them no label."""
    cut: int
    """Rows that lost tokens at their end and still have labels."""


def tokenise(dataset: Path, chat: ChatFormat, max_length: int, max_cut: int | None = None) -> TokenisedRows:
    """The rows of a canonical data set file as token ids; only the last assistant turn and its end have labels.

    Earlier turns, also the assistant's, are prompt. A row over ``max_length`` tokens loses its end.

    Raises `DatasetError` for a file that isn't a canonical data set, `TrainingError` if the model's chat template
    refuses a row, more than ``max_cut`` rows are too long, or no row is left to train on.
    """
    rows: list[TokenRow] = []
    dropped = cut = 0
    for index, row in enumerate(read_rows(dataset)):
        try:
            prompt = chat.prompt_ids([(message.role, message.content) for message in row.prompt])
        except ChatRefusedError as error:
            raise TrainingError(
                f"row {index + 1}: the model's chat template refuses it", cause="chat_template", row=str(index + 1)
            ) from error
        answer = chat.completion_ids(row.completion)
        if len(prompt) >= max_length:
            dropped += 1
            continue
        ids = [*prompt, *answer]
        cut += len(ids) > max_length
        labels = [IGNORED] * len(prompt) + answer
        rows.append(TokenRow(index, tuple(ids[:max_length]), tuple(labels[:max_length])))
    if max_cut is not None and cut + dropped > max_cut:
        raise TrainingError(
            f"rows longer than max_sequence_length, {max_length} tokens: {cut + dropped}; the provider trains on no "
            f"more than {max_cut} such rows",
            cause="too_long",
            rows=str(cut + dropped),
        )
    if not rows:
        raise TrainingError("no row of the data set is short enough to train on", cause="no_rows")
    return TokenisedRows(tuple(rows), dropped, cut)


def collate(batch: Sequence[TokenRow], pad_id: int) -> dict[str, torch.Tensor]:
    """A batch as tensors: ``input_ids``, ``attention_mask`` and ``labels`` [rows, width], ``rows`` [rows].

    Rows are padded on the right to the longest one; ``rows`` holds their indexes in the data set.
    """
    import torch

    shape = (len(batch), max(map(len, batch)))
    input_ids = torch.full(shape, pad_id, dtype=torch.long)
    labels = torch.full(shape, IGNORED, dtype=torch.long)
    attention_mask = torch.zeros(shape, dtype=torch.long)
    for place, row in enumerate(batch):
        input_ids[place, : len(row)] = torch.tensor(row.input_ids)
        labels[place, : len(row)] = torch.tensor(row.labels)
        attention_mask[place, : len(row)] = 1
    return {
        "input_ids": input_ids,
        "attention_mask": attention_mask,
        "labels": labels,
        "rows": torch.tensor([row.index for row in batch]),
    }
