"""Groups rows of similar length into batches, to save padding, in a new random order for each epoch."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

_POOL = 16
"""Batches that are sorted together: more saves padding, fewer mixes better."""


class LengthGroupedBatches:
    """A batch sampler for torch's ``DataLoader``: yields lists of row indexes, every row exactly once an epoch.

    The order depends on the seed and the epoch only. ``lengths`` has the number of tokens of each row. Raises
    `ValueError` without rows or for a batch size under 1.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        if batch_size < 1 or not lengths:
            raise ValueError("needs rows, and a batch size of at least one")
        self._lengths = tuple(lengths)
        self._seed = seed
        self._epoch = 0
        self.batch_size = batch_size
        self.drop_last = False

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch (from 0) whose order the next iteration yields."""
        self._epoch = epoch

    def __len__(self) -> int:
        return -(-len(self._lengths) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        draw = random.Random(f"veritune-batches/{self._seed}/{self._epoch}")  # noqa: S311 - an order, no secret
        order = list(range(len(self._lengths)))
        draw.shuffle(order)
        batches: list[list[int]] = []
        pool = _POOL * self.batch_size
        for start in range(0, len(order), pool):
            # The sort is stable: rows of one length stay in their shuffled order.
            members = sorted(order[start : start + pool], key=lambda index: self._lengths[index])
            batches += [members[at : at + self.batch_size] for at in range(0, len(members), self.batch_size)]
        draw.shuffle(batches)
        return iter(batches)
