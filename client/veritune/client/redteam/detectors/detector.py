"""The Protocol of a detector: it takes rows and gives one number for each.

A detector sees what a provider sees: the rows in the order in which they are sent, and the base model. It may use how
veritune works, which every provider knows, but no secret.
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
"""What a detector needs besides the rows: ``nothing``, the base ``model``, or an epoch of its ``training``."""


class Detector(Protocol):
    """An attack that gives every row of a data set a number of suspicion."""

    @property
    def name(self) -> str:
        """The detector's name on the command line."""
        ...

    @property
    def needs(self) -> Need:
        """What `suspicion` needs besides the rows; other than ``nothing``, it must get a model."""
        ...

    def suspicion(
        self, rows: Sequence[Row], model: BaseModel | None = None, on_progress: Progress = no_progress
    ) -> list[float]:
        """One finite number for each row, in order: the higher, the more suspect the row.

        Raises `MissingExtraError` without a library that it needs, `RuntimeError` without a model that it needs, and
        `DatasetError` for a row that the model can't read.
        """
        ...


def needed(model: BaseModel | None) -> BaseModel:
    """``model`` itself. Raises `RuntimeError` if it is None: a caller gave none to a detector that needs one."""
    if model is None:
        raise RuntimeError("this detector needs the base model")
    return model


def finite(values: Iterable[float], otherwise: float = 0.0) -> list[float]:
    """The values as floats, with ``otherwise`` for those that aren't finite: low precision may overflow on odd rows."""
    return [value if math.isfinite(value) else otherwise for value in map(float, values)]
