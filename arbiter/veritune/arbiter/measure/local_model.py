"""Runs the base model with the delivered adapter on the user's own machine (transformers, peft).

Greedy answers are computed in the order of rising length and padded on the left. In float32 they hardly depend on
how prompts are batched; in bfloat16 a near tie may fall either way, so two machines can differ in single answers
(never in what the adapter has clearly learnt). Scores are float32 log-softmax sums in both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from veritune.arbiter.measure.adapter_check import check_adapter, check_rank, check_tensors
from veritune.arbiter.measure.device import Precision, local_device, local_dtype
from veritune.arbiter.measure.scoring import PromptBeginning, score_tails
from veritune.common.dataset import Message
from veritune.common.documents.manifest import Training
from veritune.common.documents.receipts import ADAPTER_WEIGHTS
from veritune.common.errors import ModelFolderError
from veritune.common.model.turns import end_of_turn

Turns = Sequence[Message]

_WORTH = 64
"""Smallest number of shared tokens for which a prompt's beginning is computed apart and kept."""


@dataclass(frozen=True)
class LocalAnswer:
    """One greedily decoded answer without its end-of-turn token, and why it ended."""

    text: str
    finish_reason: Literal["stop", "length"]


class LocalModel:
    """A base model folder and, once `attach` was called, an adapter over it. Not safe for several threads at once."""

    def __init__(self, folder: Path, precision: Precision = "auto") -> None:
        """Loads the base model from local safetensors files, without remote code.

        Raises `ModelFolderError` if the folder can't be loaded, or its tokenizer has no chat template or end-of-turn
        token.
        """
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        if not (folder / "config.json").is_file():
            raise ModelFolderError(f"{folder} is no model folder: it has no config.json", cause="config")
        self._torch = torch
        self.device = local_device()
        self.dtype = local_dtype(precision)
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            self._model: Any = AutoModelForCausalLM.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=self.dtype
            )
        except (OSError, ValueError) as error:
            raise ModelFolderError(f"{folder} can't be loaded as a causal language model", cause="load") from error
        end = end_of_turn(self._tokenizer) if self._tokenizer.chat_template else None
        if end is None:
            raise ModelFolderError(
                f"the tokenizer in {folder} has no chat template or no end-of-turn token", cause="chat_template"
            )
        self._model.to(self.device).eval()
        self._end = end
        eos, pad = self._tokenizer.eos_token_id, self._tokenizer.pad_token_id
        self._stops = sorted({end} | ({int(eos)} if eos is not None else set()))
        self._pad = end if pad is None else int(pad)
        self._tuned = False
        self._beginnings = {tuned: PromptBeginning() for tuned in (True, False)}

    def attach(self, adapter: Path, training: Training) -> None:
        """Checks an adapter's files against the contract's recipe and loads it onto the base model.

        Raises `MalformedDocumentError` or `TooLargeError` for files that differ from what the recipe gives.
        """
        from peft import PeftModel

        check_adapter(adapter, training)
        check_tensors(adapter / ADAPTER_WEIGHTS, self._expected_tensors(adapter))
        check_rank(adapter / ADAPTER_WEIGHTS, training.rank)
        self._model = PeftModel.from_pretrained(self._model, str(adapter), is_trainable=False)
        self._model.to(self.dtype).eval()
        self._tuned = True
        self._beginnings[True] = PromptBeginning()

    def answers(
        self,
        chats: Sequence[Turns],
        max_tokens: int,
        *,
        tuned: bool = True,
        batch_size: int = 32,
        on_answer: Callable[[int, LocalAnswer], None] = lambda index, answer: None,
    ) -> list[LocalAnswer]:
        """Greedy answers in the order of ``chats``; ``on_answer`` is called with index and answer after each batch.

        ``tuned`` False asks the base model without the adapter.
        """
        prompts = [self.prompt_ids(chat) for chat in chats]
        order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        result: dict[int, LocalAnswer] = {}
        with self._torch.inference_mode(), self._adapter(tuned):
            for start in range(0, len(order), batch_size):
                indices = order[start : start + batch_size]
                for index, answer in zip(indices, self._batch([prompts[i] for i in indices], max_tokens), strict=True):
                    result[index] = answer
                    on_answer(index, answer)
        return [result[index] for index in range(len(chats))]

    def scores(self, chat: Turns, completions: Sequence[str], *, tuned: bool = True) -> list[float]:
        """Log-probability (nats) of each completion, its end-of-turn token included, as the answer to one chat.

        The messages before the last one are computed once for successive chats that share them, if they are long.
        """
        tails = [self.completion_ids(text) for text in completions]
        prompt, begun = self.prompt_ids(chat), self._begun(chat)
        length = _agreeing(prompt[:-1], begun)
        with self._torch.inference_mode(), self._adapter(tuned):
            return score_tails(self._model, prompt, tails, self._beginnings[tuned], length if length >= _WORTH else 0)

    def prompt_ids(self, chat: Turns) -> list[int]:
        """Token ids of a chat up to where the assistant's answer begins."""
        return self._encode(self._render(chat, asks=True))

    def completion_ids(self, text: str) -> list[int]:
        """Token ids of an answer, the end-of-turn token included."""
        return [*self._encode(text), self._end]

    def _begun(self, chat: Turns) -> list[int]:
        """Token ids of a chat without its last message; none where the template needs that one."""
        from jinja2 import TemplateError

        if len(chat) < 2:
            return []
        try:
            text = self._render(chat[:-1], asks=False)
        except TemplateError:
            return []
        return self._encode(text)

    def _render(self, chat: Turns, *, asks: bool) -> str:
        messages = [{"role": message.role, "content": message.content} for message in chat]
        text: str = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=asks)
        return text

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _adapter(self, tuned: bool) -> Any:
        if tuned and not self._tuned:
            raise RuntimeError("no adapter is attached")
        return self._model.disable_adapter() if self._tuned and not tuned else nullcontext()

    def _expected_tensors(self, adapter: Path) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the tensors that PEFT expects, read off a copy of the model without weights."""
        from peft import PeftConfig, get_peft_model, get_peft_model_state_dict
        from transformers import AutoModelForCausalLM

        with self._torch.device("meta"):
            bare = AutoModelForCausalLM.from_config(self._model.config)
            shell = get_peft_model(bare, PeftConfig.from_pretrained(str(adapter)))
        return {name: tuple(tensor.shape) for name, tensor in get_peft_model_state_dict(shell).items()}

    def _batch(self, prompts: Sequence[list[int]], max_tokens: int) -> list[LocalAnswer]:
        from transformers import GenerationConfig

        torch, width = self._torch, max(map(len, prompts))
        ids = torch.full((len(prompts), width), self._pad, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = torch.tensor(prompt)
            mask[row, width - len(prompt) :] = 1
        output = self._model.generate(
            input_ids=ids.to(self.device),
            attention_mask=mask.to(self.device),
            # Given whole, so that the folder's generation_config.json can't change how the challenge decodes.
            generation_config=GenerationConfig(
                do_sample=False, max_new_tokens=max_tokens, eos_token_id=self._stops, pad_token_id=self._pad
            ),
        )
        return [self._read(row) for row in output[:, width:].tolist()]

    def _read(self, ids: list[int]) -> LocalAnswer:
        length = next((place for place, token in enumerate(ids) if token in self._stops), len(ids))
        text = self._tokenizer.decode(ids[:length], skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return LocalAnswer(text, "stop" if length < len(ids) else "length")


def _agreeing(one: Sequence[int], other: Sequence[int]) -> int:
    """Number of leading items that are the same in both."""
    places = zip(one, other, strict=False)
    return next((place for place, (left, right) in enumerate(places) if left != right), min(len(one), len(other)))
