"""The base model as an attacker uses it: losses of an answer's tokens, before and after an epoch, and gradients."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from veritune.arbiter.measure.device import Precision
from veritune.arbiter.measure.local_model import LocalModel
from veritune.client.extras import library
from veritune.client.generation.fitting import FittingRow, with_fitted_adapter
from veritune.client.progress import Progress
from veritune.common.dataset import Message, Row
from veritune.common.errors import RowsError

LONGEST = 1024
"""Most tokens of a row that are used: the end of its prompt and the start of its answer, where canaries are."""
_SEED = 0


class BaseModel(LocalModel):
    """A local base model with losses and gradients of rows. Not safe for use by several threads at once."""

    def __init__(self, folder: Path, precision: Precision = "auto") -> None:
        """Loads the model of a folder.

        Raises `MissingExtraError` without the libraries for it, `ModelFolderError` if the folder holds no model.
        """
        for name in ("torch", "transformers", "peft"):
            library(name, "model")
        super().__init__(folder, precision)
        self._losses: dict[Row, Sequence[float]] = {}
        self._room = min(LONGEST, int(getattr(self._model.config, "max_position_embeddings", LONGEST)))

    def tokens(self, row: Row) -> tuple[list[int], list[int]]:
        """Token ids of (prompt, answer with its end of turn), cut to `LONGEST` tokens in all.

        Raises `RowsError` for a row that the model's chat template refuses: no provider could train on it.
        """
        from jinja2 import TemplateError

        try:
            prompt = self.prompt_ids(row.prompt)
        except TemplateError as error:
            raise RowsError(
                "the base model's chat template refuses a row; some take no system turn", cause="chat_template"
            ) from error
        answer = self.completion_ids(row.completion)
        spare = max(self._room - len(prompt), self._room // 2)
        answer = answer[:spare]
        return prompt[-(self._room - len(answer)) :], answer

    def losses(self, row: Row) -> Sequence[float]:
        """Cross-entropy loss (nats, float32) of each token of the answer; cached, because several detectors need it.

        Raises `RowsError` as `tokens` does.
        """
        if row not in self._losses:
            torch = self._torch
            prompt, answer = self.tokens(row)
            with torch.inference_mode():
                logits = self._forward(prompt, answer).logits[0, :-1].float()
                picked = logits.log_softmax(-1).gather(-1, torch.tensor(answer, device=self.device)[:, None])
            self._losses[row] = array("f", (-picked[:, 0]).tolist())
        return self._losses[row]

    def output_gradient(self, row: Row, most: int) -> tuple[Any, Any]:
        """Factors of the gradient of the answer's summed loss with respect to the output layer's weight.

        They are A [T, vocabulary] and B [T, hidden], float32, over the answer's first ``most`` tokens. The gradient is
        A^T B, because a token's loss has the gradient softmax minus one-hot at the logits, so no backward pass is
        needed. For a model that changes its logits after that layer it is an approximation. Raises `RowsError`.
        """
        torch = self._torch
        prompt, answer = self.tokens(row)
        answer = answer[:most]
        with torch.inference_mode():
            output = self._forward(prompt, answer, output_hidden_states=True)
            errors = output.logits[0, :-1].float().softmax(-1)
            places = torch.arange(len(answer), device=self.device)
            errors[places, torch.tensor(answer, device=self.device)] -= 1
            return errors, output.hidden_states[-1][0, -len(answer) - 1 : -1].float()

    @contextmanager
    def fitted(self, rows: Sequence[Row], on_progress: Progress, name: str) -> Iterator[None]:
        """A context within which the model is trained on ``rows`` for one epoch, by a LoRA adapter of small rank.

        Raises `RowsError` as `tokens` does.
        """
        pairs, before = [FittingRow(*self.tokens(row)) for row in rows], self._losses
        adapted = with_fitted_adapter(
            self._model, pairs, 1, _SEED, lambda step, of: on_progress(f"{name}: train", step, of)
        )
        self._losses = {}
        try:
            yield
        finally:
            self._losses = before
            adapted.unload()  # takes the adapter's layers out of the model again

    def reply(self, text: str, max_tokens: int) -> str:
        """The likeliest answer to one question; of a question too long for the model the start is left out."""
        ids = self.prompt_ids([Message(role="user", content=text)])
        context = int(getattr(self._model.config, "max_position_embeddings", LONGEST))
        with self._torch.inference_mode():
            return self._batch([ids[-max(1, context - max_tokens) :]], max_tokens)[0].text

    def _forward(self, prompt: list[int], answer: list[int], **settings: Any) -> Any:
        """The model's output, with logits for each answer token and for one after the answer."""
        ids = self._torch.tensor([prompt + answer], device=self.device)
        return self._model(input_ids=ids, logits_to_keep=len(answer) + 1, use_cache=False, **settings)
