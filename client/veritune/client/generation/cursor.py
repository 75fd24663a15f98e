"""The state of a text that a transformers model writes token by token: a `generation.protocols.Cursor`."""

from __future__ import annotations

from typing import Any

from veritune.common.model.kvcache import cache_argument


class TorchCursor:
    """The model's key-value cache after a text, and the logits of the next token."""

    def __init__(self, model: Any, cache: Any, logits: Any) -> None:
        self._model, self._cache, self._logits = model, cache, logits
        self._sorted: tuple[Any, Any] | None = None

    def top(self, k: int) -> list[tuple[int, float]]:
        """The k likeliest next tokens with their log-probabilities (nats), likeliest first, ties by token id."""
        if self._sorted is None:
            # Stable, so that among equal scores the lower id comes first.
            self._sorted = self._logits.float().log_softmax(-1).sort(descending=True, stable=True)
        scores, ids = self._sorted
        return list(zip(ids[:k].tolist(), scores[:k].tolist(), strict=True))

    def advance(self, token: int) -> None:
        """Appends one token to the text: one forward pass of the model."""
        import torch

        with torch.inference_mode():
            output = self._model(
                input_ids=torch.tensor([[token]], device=self._model.device),
                **self._cache,
                logits_to_keep=1,
            )
        self._cache, self._logits, self._sorted = cache_argument(output), output.logits[0, -1], None
