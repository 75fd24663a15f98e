"""What every detector is: rows in, one number a row out.

A detector sees what a provider sees: the rows in the order in which they are sent, and the base model. It knows how
veritune works, as every provider does, but no secret.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal, Protocol

from veritune.client.progress import Progress, no_progress
from veritune.common.dataset import Row

if TYPE_CHECKING:
    from veritune.client.redteam.detectors.base_model import BaseModel

Need = Literal["nothing", "model", "training"]
"""What a detector takes beside the rows: nothing, the base model, or an epoch of training of it."""


class Detector(Protocol):
    """One way to look for canaries."""

    @property
    def name(self) -> str:
        """As on the command line."""
        ...

    @property
    def needs(self) -> Need:
        """What `suspicion` must be given."""
        ...

    def suspicion(
        self, rows: Sequence[Row], model: BaseModel | None = None, on_progress: Progress = no_progress
    ) -> list[float]:
        """One finite number for each row, in order: the higher, the likelier the row is a canary's.

        No rows give no numbers. Raises `MissingExtraError`, and `RuntimeError` without the model that it needs.
        """
        ...


def needed(model: BaseModel | None) -> BaseModel:
    """The model; `RuntimeError` where a caller gave none to a detector that needs one."""
    if model is None:
        raise RuntimeError("this detector needs the base model")
    return model


def finite(values: Iterable[float], otherwise: float = 0.0) -> list[float]:
    """A model of low precision may overflow on an odd row: such a number becomes ``otherwise``."""
    return [value if math.isfinite(value) else otherwise for value in map(float, values)]
