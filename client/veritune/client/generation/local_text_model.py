"""A local transformers model that writes text: load, encode, decode, next-token distributions, samples.

This module knows nothing of canaries; `veritune.client.generation.local_generator` draws them with it.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from veritune.arbiter.documents.canary import Chat
from veritune.arbiter.measure.device import Precision, local_device, local_dtype
from veritune.client.generation.cursor import TorchCursor
from veritune.client.generation.fitting import FittingRow, with_fitted_adapter
from veritune.client.generation.protocols import Cursor, Draw
from veritune.client.randomness import SecretStream
from veritune.common.dataset import Message
from veritune.common.errors import ModelFolderError, PlanError
from veritune.common.model.kvcache import cache_argument
from veritune.common.model.turns import end_of_turn

_DECODED_BEFORE = 16


class LocalTextModel:
    """A transformers model and its tokenizer, loaded from a folder; it is a `TokenModel` and a `PhraseModel`.

    It runs on a GPU if torch has one. ``dtype`` "auto" is bfloat16 if the GPU, or else the processor, computes in
    bfloat16, and float32 otherwise. Raises `ModelFolderError` for a folder that doesn't load or has no chat template.
    """

    def __init__(self, folder: Path, dtype: Precision = "auto", threads: int | None = None) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.name = re.sub(r"[^A-Za-z0-9._-]", "-", folder.resolve().name).lstrip("._-")[:128] or "model"
        """The folder's name in characters that documents allow."""
        if threads is not None:
            torch.set_num_threads(threads)
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            self.network = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=local_dtype(dtype),
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                attn_implementation="sdpa",
            )
        except (OSError, ValueError, KeyError) as error:
            raise ModelFolderError(f"{folder.name} does not load as a transformers model", cause="load") from error
        if not self.tokenizer.chat_template:
            raise ModelFolderError(f"{folder.name} has no chat template", cause="chat_template")
        self.network.to(local_device()).eval()
        self._started: tuple[str, Any, Any] | None = None
        self._fitted: Any = None

    @property
    def vocabulary(self) -> int:
        """The number of tokens in the vocabulary, which is that of logits."""
        size: int = self.network.config.vocab_size
        return size

    @property
    def context(self) -> int:
        """The context length in tokens: prompt and answer together."""
        return int(getattr(self.network.config, "max_position_embeddings", 2048))

    @cached_property
    def special(self) -> frozenset[int]:
        """The ids of special tokens, and ids of the vocabulary that the tokenizer doesn't know."""
        added = (i for i, token in self.tokenizer.added_tokens_decoder.items() if token.special)
        unknown = range(len(self.tokenizer), self.vocabulary)
        return frozenset(self.tokenizer.all_special_ids) | frozenset(added) | frozenset(unknown)

    @cached_property
    def turn_end(self) -> int:
        """The token that ends an answer. Raises `ModelFolderError` if the chat template has none."""
        end = end_of_turn(self.tokenizer)
        if end is None:
            raise ModelFolderError("the model's chat template ends no turn", cause="chat_template")
        return end

    @property
    def stop(self) -> frozenset[int]:
        """The tokens that end an answer: `turn_end` and the tokenizer's own end of sequence."""
        eos = self.tokenizer.eos_token_id
        return frozenset({self.turn_end} | ({eos} if eos is not None else set()))

    @cached_property
    def newlines(self) -> frozenset[int]:
        """Every token whose text has a line break."""
        texts = self.tokenizer.batch_decode([[i] for i in range(len(self.tokenizer))])
        return frozenset(i for i, text in enumerate(texts) if "\n" in text)

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, tokenised separately and without special tokens."""
        ids: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return ids

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens; special tokens are written out."""
        text: str = self.tokenizer.decode(list(tokens), clean_up_tokenization_spaces=False)
        return text

    def count_text_tokens(self, text: str) -> int:
        """Tokens of ``text`` by this model's tokenizer: exact, not an estimate."""
        return len(self.encode(text))

    def render(self, chat: Chat) -> str:
        """The chat by the model's template, up to where the model is to answer."""
        turns = [{"role": message.role, "content": message.content} for message in chat]
        return str(self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))

    def chat_ids(self, chat: Chat) -> list[int]:
        """Token ids of a chat's `render`."""
        return self.encode(self.render(chat))

    def begin(self, prompt: str) -> Cursor:
        """A cursor after a prompt of plain text; the last prompt's key-value cache is kept for the next call."""
        if self._started is None or self._started[0] != prompt:
            import torch

            ids = self._prompt_ids(prompt)
            with torch.inference_mode():
                output = self.network(input_ids=torch.tensor([ids], device=self.network.device), logits_to_keep=1)
            self._started = prompt, cache_argument(output), output.logits[0, -1]
        return TorchCursor(self.network, copy.deepcopy(self._started[1]), self._started[2])

    def continuations(self, prompt: str, written: str, draw: Draw, stream: SecretStream) -> list[str]:
        """``draw.count`` texts that follow ``prompt + written``, sampled in one batch, without special tokens.

        Raises `PlanError` for a model whose attention the batch decoder can't compute.
        """
        from veritune.client.generation.batch_decoder import sample_answers

        ids = self._prompt_ids(prompt + written)
        drawn = sample_answers(
            self.network,
            [ids],
            [draw.count],
            draw.tokens,
            [stream],
            draw.temperature,
            draw.top_k,
            frozenset(),
            self.special,
            lambda _: None,
        )[0]
        # Some tokenizers drop the space of the first token, so new tokens are decoded together with a few before them.
        before = ids[-_DECODED_BEFORE:]
        cut = len(self.decode(before))
        return [self.decode([*before, *new])[cut:] for new in drawn]

    def reply(self, text: str, least_tokens: int, most_tokens: int) -> str:
        """The greedy answer to a chat of one user turn, without white space around it."""
        import torch
        from transformers import GenerationConfig

        ids = torch.tensor([self.chat_ids((Message(role="user", content=text),))], device=self.network.device)
        settings = GenerationConfig(
            do_sample=False,
            min_new_tokens=least_tokens,
            max_new_tokens=most_tokens,
            suppress_tokens=sorted(self.special - self.stop),
            eos_token_id=sorted(self.stop),
            pad_token_id=self.turn_end,
            repetition_penalty=1.2,  # without it a small model says one thing for ever
        )
        output = self.network.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=settings)
        return str(self.tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True)).strip()

    @property
    def is_fitted(self) -> bool:
        """True once `fit` has been called."""
        return self._fitted is not None

    def fit(
        self,
        rows: Sequence[FittingRow],
        epochs: int,
        seed: int,
        on_step: Callable[[int, int], None],
    ) -> None:
        """Trains an adapter on the rows' answers, once; it is only active inside `fitted`.

        Raises `PlanError` if memory doesn't suffice.
        """
        import torch

        if self.is_fitted:
            raise RuntimeError("a generator is fitted once")
        try:
            self._fitted = with_fitted_adapter(self.network, rows, epochs, seed, on_step)
        except torch.OutOfMemoryError as error:
            raise PlanError(
                "too little memory to fit the generator; set canaries.fitted_epochs = 0",
                setting="canaries.fitted_epochs",
                cause="memory",
            ) from error
        self._fitted.base_model.disable_adapter_layers()

    @contextmanager
    def fitted(self) -> Iterator[None]:
        """Activates the fitted adapter, if there is one, inside the ``with`` block."""
        if self._fitted is None:
            yield
            return
        self._fitted.base_model.enable_adapter_layers()
        try:
            yield
        finally:
            self._fitted.base_model.disable_adapter_layers()

    def _prompt_ids(self, text: str) -> list[int]:
        """Token ids of plain text with its initial special tokens; of a long text the last ones, half a context."""
        ids: list[int] = self.tokenizer(text)["input_ids"][-(self.context // 2) :]
        return ids
