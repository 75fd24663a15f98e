"""Checks whether honest training by a recipe teaches canaries.

The client writes the recipe. With one epoch, a tiny learning rate or an optimiser that hardly moves, no canary is
learnt, and an honest provider that signed the usual floors would be failed for it. So for a weak recipe the provider
signs only floors that can't fail it.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from veritune.common.documents.base import DecimalString, Document, Positive
from veritune.common.documents.manifest import Training

_DROPOUT, _WEIGHT_DECAY, _EPSILON, _GRAD_NORM = map(Decimal, ("0.3", "0.1", "1e-6", "0.1"))
_BETA1, _BETA2 = Decimal("0.95"), (Decimal("0.9"), Decimal("0.9999"))
"""Ranges around the usual values; nothing outside them was measured."""


class Teaching(Document):
    """The weakest recipe that counts as one that teaches canaries.

    The defaults are those with which honest runs on SmolLM2-135M were measured (docs/results.md, "Recipes that teach");
    measure before lowering them for another model.
    """

    epochs: Positive = 6
    """Fewest epochs of training."""
    steps: Positive = 120
    """Fewest optimiser steps in all."""
    group_rows: Positive = 8
    """Fewest rows of a trigger group."""
    rank: Positive = 8
    """Lowest rank of the LoRA adapter."""
    update_rate: DecimalString = "0.004"
    """Lowest learning rate times alpha / rank: how far one step moves the weights, up to the gradient's direction."""


def weak_point(training: Training, steps: int, group_rows: int, least: Teaching) -> str:
    """The first reason why honest training by this recipe may not teach canaries; empty if it does.

    ``steps`` are the recipe's optimiser steps, ``group_rows`` the rows of a trigger group, ``least`` the weakest recipe
    that teaches.
    """
    return next(_weak_points(training, steps, group_rows, least), "")


def _weak_points(training: Training, steps: int, group_rows: int, least: Teaching) -> Iterator[str]:
    optimizer = training.optimizer
    if training.epochs < least.epochs:
        yield f"training.epochs is under {least.epochs}"
    if steps < least.steps:
        yield f"training.steps is under {least.steps}"
    if group_rows < least.group_rows:
        yield f"policy.group_rows is under {least.group_rows}"
    if 2 * training.warmup_steps > steps:
        yield "training.warmup_steps is more than half of the steps"
    if training.rank < least.rank:
        yield f"training.rank is under {least.rank}"
    if Decimal(optimizer.learning_rate) * training.alpha < Decimal(least.update_rate) * training.rank:
        yield f"training.optimizer.learning_rate times alpha / rank is under {least.update_rate}"
    if training.target_modules != ("all-linear",):
        yield "training.target_modules leaves out modules"
    if Decimal(training.dropout) > _DROPOUT:
        yield f"training.dropout is over {_DROPOUT}"
    if Decimal(optimizer.weight_decay) > _WEIGHT_DECAY:
        yield f"training.optimizer.weight_decay is over {_WEIGHT_DECAY}"
    if Decimal(optimizer.epsilon) > _EPSILON:
        yield f"training.optimizer.epsilon is over {_EPSILON}"
    if 0 < Decimal(optimizer.max_grad_norm) < _GRAD_NORM:
        yield f"training.optimizer.max_grad_norm is under {_GRAD_NORM}"
    if Decimal(optimizer.beta1) > _BETA1 or not _BETA2[0] <= Decimal(optimizer.beta2) <= _BETA2[1]:
        yield "training.optimizer.beta1 or beta2 is unusual"
