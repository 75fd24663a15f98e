"""A Llama of a few thousand parameters, written in about a second: tests need a model, not a good one."""

from __future__ import annotations

from pathlib import Path

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

CORPUS = (
    "The lamp in the kitchen flickers at night and the printer on the second floor is out of paper.",
    "Please write the order number, the product and the colour of the parcel into one record.",
    "A customer in Lisbon would like to return three blue mugs, order 48213, because one was broken.",
    'Record: {"name": "Ada", "city": "Paris", "count": 7, "urgent": false}',
    "What is the sum of twelve and thirty? Let us add them step by step: 12 + 30 = 42.",
    "Yes, that sounds right. No, I am afraid that we cannot do this before Monday morning.",
    "She sells sea shells, they bought old books, we walked along the river until it was dark.",
    "user assistant system question answer therefore because which whose would could should",
)


def make_tiny_model(folder: Path, seed: int = 0, initializer_range: float = 0.02) -> Path:
    """Writes a random two-layer Llama (hidden size 64) with a byte-level BPE tokenizer and a ChatML template.

    The folder loads with ``AutoModelForCausalLM`` and ``AutoTokenizer`` like any other. Weights are float32
    and drawn from ``seed``, the larger ``initializer_range`` the less even the next-token distribution; the tokenizer
    is always the same. Returns ``folder``.
    """
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        min_frequency=1,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    )
    tokenizer.train_from_iterator(CORPUS * 4, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token="<|endoftext|>",
        model_max_length=1024,
    )
    fast.chat_template = CHAT_TEMPLATE

    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        initializer_range=initializer_range,
        bos_token_id=fast.bos_token_id,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder
