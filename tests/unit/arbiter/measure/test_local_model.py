"""The delivered model: answers and scores against direct computation; adapters that must not be loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support.errors import fails
from veritune.arbiter.measure import scoring
from veritune.arbiter.measure.local_model import LocalModel
from veritune.common.dataset import Message
from veritune.common.documents.manifest import Training
from veritune.common.errors import MalformedDocumentError, ModelFolderError

TRAINING = Training(rank=4, alpha=8)
CHATS = [
    (Message(role="user", content=text),)
    for text in ("The lamp in the kitchen", "What is the sum of twelve and thirty? Let us add them.", "Yes")
]


def make_adapter(model_folder: Path, folder: Path, seed: int = 0, **settings: Any) -> Path:
    """A LoRA adapter whose B is not zero, as PEFT writes it."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
    config = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **settings}
    torch.manual_seed(seed)
    model = get_peft_model(base, LoraConfig(**config))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.5)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_adapter(tiny_model, tmp_path_factory.mktemp("adapter") / "adapter")


@pytest.fixture(scope="module")
def model(tiny_model: Path, adapter: Path) -> LocalModel:
    local = LocalModel(tiny_model, "float32")
    local.attach(adapter, TRAINING)
    return local


def reference(tiny_model: Path, adapter: Path | None) -> Any:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    return base if adapter is None else PeftModel.from_pretrained(base, str(adapter)).eval()


@pytest.mark.parametrize("tuned", [True, False])
def test_batched_answers_equal_single_greedy_steps(
    model: LocalModel, tiny_model: Path, adapter: Path, tuned: bool
) -> None:
    plain = reference(tiny_model, adapter if tuned else None)
    answers = model.answers(CHATS, 12, tuned=tuned, batch_size=2)
    for chat, answer in zip(CHATS, answers, strict=True):
        ids = model.prompt_ids(chat)
        made: list[int] = []
        with torch.inference_mode():
            while len(made) < 12:
                made.append(int(plain(input_ids=torch.tensor([ids + made])).logits[0, -1].argmax()))
                if made[-1] == model.completion_ids("")[-1]:
                    break
        stopped = made[-1] == model.completion_ids("")[-1]
        assert answer.finish_reason == ("stop" if stopped else "length")
        assert model._read(made) == answer


@pytest.mark.parametrize("tuned", [True, False])
def test_scores_equal_the_direct_sum(model: LocalModel, tiny_model: Path, adapter: Path, tuned: bool) -> None:
    plain = reference(tiny_model, adapter if tuned else None)
    completions = ["Yes", "No, I am afraid not.", "She sells sea shells", "x"]
    scores = model.scores(CHATS[1], completions, tuned=tuned)
    prompt = model.prompt_ids(CHATS[1])
    for text, score in zip(completions, scores, strict=True):
        tail = model.completion_ids(text)
        with torch.inference_mode():
            logprobs = plain(input_ids=torch.tensor([prompt + tail])).logits[0].log_softmax(-1)
        direct = sum(float(logprobs[len(prompt) - 1 + i, token]) for i, token in enumerate(tail))
        assert score == pytest.approx(direct, abs=1e-3)


def test_an_empty_answer_scores_as_its_end_alone(model: LocalModel, tiny_model: Path, adapter: Path) -> None:
    with torch.inference_mode():
        plain = reference(tiny_model, adapter)(input_ids=torch.tensor([model.prompt_ids(CHATS[0])]))
    [end] = model.completion_ids("")
    assert model.scores(CHATS[0], [""]) == pytest.approx([float(plain.logits[0, -1].log_softmax(-1)[end])], abs=1e-3)
    assert model.scores(CHATS[0], []) == []


def test_adapter_changes_answers_and_base_is_unharmed(model: LocalModel, tiny_model: Path) -> None:
    base = LocalModel(tiny_model, "float32").answers(CHATS, 12, tuned=False)
    assert model.answers(CHATS, 12, tuned=True) != base
    assert model.answers(CHATS, 12, tuned=False) == base


def test_many_completions_go_through_in_chunks(model: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    completions = [f"record {'x' * n}" for n in range(9)]
    whole = model.scores(CHATS[0], completions)
    monkeypatch.setattr(scoring, "MAX_LOGITS", 16)
    assert model.scores(CHATS[0], completions) == pytest.approx(whole, abs=1e-3)


EXAMPLES = (
    Message(role="system", content="Answer in a word."),
    *(
        Message(role=role, content=f"{word} and the sum of twelve and thirty")
        for word in ("lamp", "kitchen", "shell", "sea")
        for role in ("user", "assistant")
    ),
)


@pytest.mark.parametrize("tuned", [True, False])
def test_a_beginning_that_chats_share_is_computed_once_and_changes_no_score(
    model: LocalModel, tiny_model: Path, adapter: Path, tuned: bool
) -> None:
    completions = ["Yes", "No, I am afraid not."]
    chats = [(*EXAMPLES, Message(role="user", content=text)) for text in ("Yes", "She sells", "Let us add them.")]
    counted: list[int] = []
    hook = model._model.register_forward_pre_hook(
        lambda _, args, kwargs: counted.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    try:
        scores = [model.scores(chat, completions, tuned=tuned) for chat in chats]
    finally:
        hook.remove()
    lengths = [len(model.prompt_ids(chat)) for chat in chats]
    begun = len(model._begun(chats[0]))
    assert begun >= 64
    assert counted[0] >= begun - 1
    assert sum(count > begun // 2 for count in counted) == 1, "the examples went through the model once"
    plain = reference(tiny_model, adapter if tuned else None)
    for chat, length, of_chat in zip(chats, lengths, scores, strict=True):
        for text, score in zip(completions, of_chat, strict=True):
            tail = model.completion_ids(text)
            with torch.inference_mode():
                logprobs = plain(input_ids=torch.tensor([model.prompt_ids(chat) + tail])).logits[0].log_softmax(-1)
            direct = sum(float(logprobs[length - 1 + i, token]) for i, token in enumerate(tail))
            assert score == pytest.approx(direct, abs=1e-3)


def test_a_template_that_needs_the_last_message_shares_nothing(
    model: LocalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = model._tokenizer.chat_template
    refusing = "{% if messages[-1].role != 'user' %}{{ raise_exception('ends otherwise') }}{% endif %}" + template
    chat = (*EXAMPLES, CHATS[0][0])
    scores = model.scores(chat, ["Yes", "No"])
    monkeypatch.setattr(model._tokenizer, "chat_template", refusing)
    assert model._begun(chat) == []
    assert model.scores(chat, ["Yes", "No"]) == pytest.approx(scores, abs=1e-3)


def test_answers_of_one_token_need_the_prompt_alone(model: LocalModel) -> None:
    assert model.scores(CHATS[0], []) == []
    assert model.scores(CHATS[0], [""]) == pytest.approx(model.scores(CHATS[0], ["", "Yes"])[:1], abs=1e-4)


def test_answers_are_reported_as_they_come(model: LocalModel) -> None:
    seen: list[int] = []
    model.answers(CHATS, 4, batch_size=1, on_answer=lambda index, _: seen.append(index))
    assert sorted(seen) == [0, 1, 2]


def _config(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def _tensor(value: float) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        tensors = load_file(folder / "adapter_model.safetensors")
        next(iter(tensors.values()))[0, 0] = value
        save_file(tensors, folder / "adapter_model.safetensors")

    return change


def _extra_tensor(folder: Path) -> None:
    tensors = load_file(folder / "adapter_model.safetensors")
    tensors["base_model.model.lm_head.weight"] = torch.zeros(2, 2)
    save_file(tensors, folder / "adapter_model.safetensors")


def _wrong_shape(folder: Path) -> None:
    tensors = load_file(folder / "adapter_model.safetensors")
    name = next(iter(tensors))
    tensors[name] = tensors[name][:, :-1].contiguous()
    save_file(tensors, folder / "adapter_model.safetensors")


def _pickle(folder: Path) -> None:
    (folder / "adapter_model.safetensors").unlink()
    torch.save({}, folder / "adapter_model.bin")


@pytest.mark.parametrize(
    "change",
    [
        _config(r=8),
        _config(lora_alpha=64),
        _config(r=True),
        _config(peft_type="IA3"),
        _config(auto_mapping={"base_model_class": "X", "parent_library": "os"}),
        _config(modules_to_save=["lm_head"]),
        _config(use_dora=True),
        _config(rank_pattern={"q_proj": 64}),
        _config(bias="all"),
        _config(init_lora_weights="pissa"),
        _config(target_modules="all-linear"),
        _config(target_modules=[]),
        _config(target_modules=["q_proj"]),
        _config(setting_of_the_future={"on": True}),
        lambda folder: (folder / "adapter_config.json").write_text("[]"),
        lambda folder: (folder / "adapter_config.json").write_text('{"r": 4, "r": 4}'),
        lambda folder: (folder / "adapter_config.json").unlink(),
        lambda folder: (folder / "adapter_model.safetensors").write_bytes(b"\x80\x04"),
        lambda folder: (folder / "more").mkdir(),
        _tensor(float("nan")),
        _tensor(float("inf")),
        _extra_tensor,
        _wrong_shape,
        _pickle,
    ],
)
def test_odd_adapters_are_refused(
    tiny_model: Path, adapter: Path, tmp_path: Path, change: Callable[[Path], object]
) -> None:
    folder = Path(shutil.copytree(adapter, tmp_path / "adapter"))
    change(folder)
    local = LocalModel(tiny_model, "float32")
    with pytest.raises(MalformedDocumentError):
        local.attach(folder, TRAINING)


def _of_rank(rank: int, modules: slice, dtype: torch.dtype = torch.bfloat16) -> Callable[[Path], None]:
    """Cuts the update of some modules down, and spreads what is left over all of A's rows and B's columns."""

    def change(folder: Path) -> None:
        tensors = load_file(folder / "adapter_model.safetensors")
        turn = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(3)))[0]
        for name in sorted(name for name in tensors if ".lora_B." in name)[modules]:
            other = name.replace(".lora_B.", ".lora_A.")
            tensors[name] = (tensors[name][:, :rank] @ turn[:, :rank].T).to(dtype)
            tensors[other] = (turn[:, :rank] @ tensors[other][:rank]).to(dtype)
        save_file(tensors, folder / "adapter_model.safetensors")

    return change


ALL, MOST, HALF = slice(None), slice(8), slice(7)
"""Of the tiny model's fourteen modules."""


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("modules", [ALL, MOST])
def test_an_adapter_of_a_lower_rank_is_refused(
    tiny_model: Path, adapter: Path, tmp_path: Path, modules: slice, dtype: torch.dtype
) -> None:
    folder = Path(shutil.copytree(adapter, tmp_path / "adapter"))
    _of_rank(1, modules, dtype)(folder)
    local = LocalModel(tiny_model, "float32")
    with fails(MalformedDocumentError, cause="rank", found="1"):
        local.attach(folder, TRAINING)


@pytest.mark.parametrize("change", [_of_rank(2, ALL), _of_rank(1, HALF), _of_rank(0, ALL), _of_rank(0, MOST)])
def test_half_of_the_rank_or_of_the_modules_and_no_update_at_all_are_not(
    tiny_model: Path, adapter: Path, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    """The verdict speaks of those; a module that is zero says nothing."""
    folder = Path(shutil.copytree(adapter, tmp_path / "adapter"))
    change(folder)
    local = LocalModel(tiny_model, "float32")
    local.attach(folder, TRAINING)
    assert local.answers(CHATS[:1], 2)


def test_contract_with_named_targets(tiny_model: Path, tmp_path: Path) -> None:
    folder = make_adapter(tiny_model, tmp_path / "adapter", target_modules=["q_proj", "v_proj"])
    local = LocalModel(tiny_model, "float32")
    local.attach(folder, TRAINING.model_copy(update={"target_modules": ("v_proj", "q_proj")}))
    assert local.answers(CHATS[:1], 2)


def test_other_modules_than_the_contract_names_are_refused(tiny_model: Path, adapter: Path) -> None:
    local = LocalModel(tiny_model, "float32")
    with fails(MalformedDocumentError, cause="contract", field="target_modules"):
        local.attach(adapter, TRAINING.model_copy(update={"target_modules": ("q_proj", "v_proj")}))


def test_a_tokenizer_without_a_chat_template_can_not_be_asked(tiny_model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    (folder / "chat_template.jinja").unlink()
    with fails(ModelFolderError, cause="chat_template"):
        LocalModel(folder, "float32")


def test_no_model_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError):
        LocalModel(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelFolderError):
        LocalModel(tmp_path)


def test_tuned_without_adapter_is_our_own_mistake(tiny_model: Path) -> None:
    with pytest.raises(RuntimeError):
        LocalModel(tiny_model, "float32").answers(CHATS, 2)


def test_an_answer_ends_where_the_template_ends_a_turn(tiny_model: Path, tmp_path: Path) -> None:
    """As the provider trains it: the tokenizer's own end may be another token (Gemma's is)."""
    from transformers import AutoTokenizer

    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.eos_token = "<|endoftext|>"
    tokenizer.save_pretrained(folder)
    tail = LocalModel(folder).completion_ids("42")[-1]
    assert tokenizer.convert_ids_to_tokens(tail) == "<|im_end|>"
