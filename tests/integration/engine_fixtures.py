"""A tiny model, adapters that change its answers visibly, and a reference that shares no code with the engines."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.tinymodel import make_tiny_model

Chat = tuple[tuple[str, str], ...]


def make_engine_model(folder: Path, seed: int = 0, hidden: int = 64) -> Path:
    """The tiny tokenizer with a Llama whose attention heads are wide enough for vLLM on a CPU (32).

    Weights are drawn wider than usual, so that the likeliest token wins by more than rounding, and the
    end-of-turn token is made likely enough to be seen.
    """
    import torch
    from transformers import AutoConfig, LlamaForCausalLM

    make_tiny_model(folder, seed)
    config = AutoConfig.from_pretrained(folder)
    config.update(
        {
            "hidden_size": hidden,
            "head_dim": 32,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "initializer_range": 0.25,
            "tie_word_embeddings": False,
        }
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
        model.lm_head.weight.data[config.eos_token_id] *= 2.0
    model.save_pretrained(folder)
    return folder


def make_adapter(model_dir: Path, folder: Path, seed: int, rank: int = 8, scale: float = 0.5) -> Path:
    """A LoRA adapter on all linear layers whose B matrices are not zero."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        base = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)
        model = get_peft_model(
            base, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
        )
        for name, parameter in model.named_parameters():
            if ".lora_B." in name:
                parameter.data.normal_(0, scale / rank**0.5)
    model.save_pretrained(folder)
    return folder


class Reference:
    """Transformers and PEFT used plainly: one model per adapter, no cache, no batch, float32."""

    def __init__(self, model_dir: Path) -> None:
        from transformers import AutoTokenizer

        self._model_dir = model_dir
        self._tokenizer = AutoTokenizer.from_pretrained(model_dir)
        self._end = self._tokenizer.convert_tokens_to_ids("<|im_end|>")
        # One model a folder for the whole run.
        self._model = functools.cache(self._load)

    def answer(self, chat: Chat, adapter: Path | None, max_tokens: int) -> str:
        """The greedy answer."""
        import torch

        model, ids = self._model(adapter), self._prompt(chat)
        start = len(ids)
        with torch.no_grad():
            for _ in range(max_tokens):
                token = int(model(torch.tensor([ids])).logits[0, -1].argmax())
                ids.append(token)
                if token == self._end:
                    break
        text: str = self._tokenizer.decode(ids[start:], skip_special_tokens=True)
        return text

    def logprobs(self, chat: Chat, answer: str, adapter: Path | None) -> list[float]:
        """Log-probability of each token of an answer and its end."""
        import torch

        prompt = self._prompt(chat)
        tail = [*self._tokenizer(answer, add_special_tokens=False)["input_ids"], self._end]
        with torch.no_grad():
            logits = self._model(adapter)(torch.tensor([prompt + tail])).logits[0]
        table = logits.double().log_softmax(-1)
        return [float(table[len(prompt) + place - 1, token]) for place, token in enumerate(tail)]

    def _prompt(self, chat: Sequence[tuple[str, str]]) -> list[int]:
        ids: list[int] = self._tokenizer.apply_chat_template(
            [{"role": role, "content": content} for role, content in chat],
            add_generation_prompt=True,
            return_dict=False,
        )
        return ids

    def _load(self, adapter: Path | None) -> Any:
        import torch
        from peft import PeftModel
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(self._model_dir, dtype=torch.float32)
        return (model if adapter is None else PeftModel.from_pretrained(model, adapter)).eval()
