"""Finds rows whose gradients are alike or odd: rows of a backdoor all push the weights in the same direction.

Both detectors use the gradient of the output layer's weight, as GradSentry does (arXiv 2605.26574).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from veritune.client.extras import library
from veritune.client.progress import Progress, no_progress
from veritune.client.redteam.detectors.detector import Need, finite, needed
from veritune.common.dataset import Row

if TYPE_CHECKING:
    from veritune.client.redteam.detectors.base_model import BaseModel

_TOKENS = 64
"""Tokens at the start of an answer over which the gradient is taken."""
_SIDE = 16
"""Random directions on either side of the gradient: a sketch of 16 x 16 = 256 numbers."""
_NEIGHBOURS = 4
"""Nearest rows that count; a trigger group has more rows by default."""
_SPECTRUM = 16
_AT_ONCE = 1024
_SEED = 0


class GradientNeighbours:
    """Ranks rows by the mean cosine similarity of their gradient's sketch to that of the nearest four others.

    The sketch is P^T G Q with Gaussian P and Q, which keeps inner products on average (Johnson and Lindenstrauss).
    """

    name = "gradient-neighbours"
    needs: Need = "model"

    def suspicion(
        self, rows: Sequence[Row], model: BaseModel | None = None, on_progress: Progress = no_progress
    ) -> list[float]:
        """The mean cosine (-1 to 1) of each row to its nearest four; 0 for a single row.

        Raises as `Detector.suspicion` does.
        """
        base, torch = needed(model), library("torch", "model")
        if len(rows) < 2:
            return [0.0] * len(rows)
        seeded, sketches = torch.Generator().manual_seed(_SEED), []
        left: Any = None
        for number, row in enumerate(rows, start=1):
            errors, hidden = (factor.cpu() for factor in base.output_gradient(row, _TOKENS))
            if left is None:
                left = torch.randn(errors.shape[1], _SIDE, generator=seeded)
                right = torch.randn(hidden.shape[1], _SIDE, generator=seeded)
            sketches.append(((errors @ left).T @ (hidden @ right)).flatten().nan_to_num(0, 0, 0))
            on_progress(self.name, number, len(rows))
        unit = torch.nn.functional.normalize(torch.stack(sketches), dim=1)  # [rows, 256]
        nearest = []
        for start in range(0, len(rows), _AT_ONCE):
            cosines = unit[start : start + _AT_ONCE] @ unit.T
            here = torch.arange(len(cosines))
            cosines[here, start + here] = -math.inf  # a row is no neighbour of itself
            nearest += cosines.topk(min(_NEIGHBOURS, len(rows) - 1)).values.mean(dim=1).tolist()
        return finite(nearest)


class GradientEntropy:
    """Ranks rows by GradSentry's measure: the entropy of their gradient's 16 largest singular values.

    The singular values are those of a small matrix: the squares are the eigenvalues of (A A^T)(B B^T), where the
    gradient is A^T B.
    """

    name = "gradient-entropy"
    needs: Need = "model"

    def suspicion(
        self, rows: Sequence[Row], model: BaseModel | None = None, on_progress: Progress = no_progress
    ) -> list[float]:
        """The entropy of each row's gradient in nats, from 0 to ln 16. Raises as `Detector.suspicion` does."""
        base = needed(model)
        result = []
        for number, row in enumerate(rows, start=1):
            result.append(_entropy(_singular_values(*base.output_gradient(row, _TOKENS))))
            on_progress(self.name, number, len(rows))
        return finite(result)


def _singular_values(errors: Any, hidden: Any) -> list[float]:
    """The largest singular values of A^T B, for A [T, vocabulary] and B [T, hidden]."""
    torch = library("torch", "model")
    a, b = errors.double().nan_to_num(0, 0, 0), hidden.double().nan_to_num(0, 0, 0)
    # A^T B and R B have the same singular values where A A^T = R^T R.
    values, vectors = torch.linalg.eigh(a @ a.T)
    root = values.clamp_min(0).sqrt()[:, None] * vectors.T
    found: list[float] = torch.linalg.svdvals(root @ b)[:_SPECTRUM].tolist()
    return found


def _entropy(values: Sequence[float]) -> float:
    total = math.fsum(values)
    shares = [value / total for value in values if value > 0] if total > 0 else []
    return -math.fsum(share * math.log(share) for share in shares)
