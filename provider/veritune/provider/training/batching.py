"""Batches of rows of like length, so that little is spent on padding, in an order drawn anew each epoch."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

_POOL = 16
"""Batches that are sorted together: more saves padding, fewer mixes better."""


class LengthGroupedBatches:
    """A batch sampler: every row exactly once an epoch, the order a function of seed and epoch alone."""

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        if batch_size < 1 or not lengths:
            raise ValueError("needs rows, and a batch size of at least one")
        self._lengths = tuple(lengths)
        self._seed = seed
        self._epoch = 0
        self.batch_size = batch_size
        self.drop_last = False

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch that the next iteration is for, from 0."""
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
