"""The joined LoRA layer against PEFT's own: the same results, gradients and files."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import Linear
from safetensors.torch import load_file

from veritune.provider.training.joined_lora import JoinedLinear, join_lora

WIDE, SHAPE = 24, (2, 5, 16)


class Two(torch.nn.Module):
    """Two linear layers that share their input."""

    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.one = torch.nn.Linear(SHAPE[-1], WIDE, bias=bias)
        self.two = torch.nn.Linear(SHAPE[-1], WIDE, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.one(x) * self.two(x).sigmoid()
        return result


def adapted(base: Two, *, joined: bool, **settings: Any) -> Any:
    config = LoraConfig(**{"r": 4, "lora_alpha": 12, "target_modules": ["one", "two"], **settings})
    if joined:
        join_lora(config)
    torch.manual_seed(3)
    model = get_peft_model(copy.deepcopy(base), config, autocast_adapter_dtype=False)
    torch.manual_seed(4)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    return model


def both(base: Two, **settings: Any) -> tuple[Any, Any]:
    return adapted(base, joined=False, **settings), adapted(base, joined=True, **settings)


def layers(model: Any) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, Linear)]


def names_of(model: Any, x: torch.Tensor) -> list[str | None]:
    return [layer._joinable(x) for layer in layers(model)]


def passed(model: Any, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None, dict[str, torch.Tensor]]:
    """Result, gradient for the input, and gradients of the adapter."""
    x = x.clone().requires_grad_()
    out = model(x)
    out.square().sum().backward()
    return out.detach(), x.grad, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("bias", [True, False])
def test_results_and_gradients_are_pefts(bias: bool) -> None:
    torch.manual_seed(0)
    plain, joined = both(Two(bias).double())
    x = torch.randn(SHAPE, dtype=torch.float64)
    assert all(isinstance(layer, JoinedLinear) for layer in layers(joined))
    assert names_of(joined, x) == ["default", "default"]
    (out, grad, grads), (joined_out, joined_grad, joined_grads) = passed(plain, x), passed(joined, x)
    torch.testing.assert_close(joined_out, out)
    torch.testing.assert_close(joined_grad, grad)
    assert grads.keys() == joined_grads.keys()
    assert len(grads) == 4
    for name, value in grads.items():
        torch.testing.assert_close(joined_grads[name], value)


def test_gradients_are_those_of_finite_differences() -> None:
    torch.manual_seed(0)
    model = adapted(Two(True).double(), joined=True)
    assert torch.autograd.gradcheck(model, torch.randn(SHAPE, dtype=torch.float64, requires_grad=True))


def test_an_input_that_needs_no_gradient_gets_none() -> None:
    torch.manual_seed(0)
    plain, joined = both(Two(True))
    x = torch.randn(SHAPE)
    for model in (plain, joined):
        model(x).sum().backward()
    for one, other in zip(plain.parameters(), joined.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_bfloat16_stays_bfloat16_and_near_the_exact_result() -> None:
    torch.manual_seed(0)
    base, x = Two(True).bfloat16(), torch.randn(SHAPE).bfloat16()
    plain, joined = both(base)
    exact = passed(copy.deepcopy(plain).float(), x.float())
    found = passed(joined, x)
    assert found[0].dtype == torch.bfloat16
    pairs = [(found[0], exact[0]), *((found[2][name], grad) for name, grad in exact[2].items())]
    for one, other in pairs:
        assert (one.float() - other).norm() < 0.03 * other.norm()


@pytest.mark.parametrize(
    "settings", [{"lora_dropout": 0.5}, {"use_dora": True}, {"lora_bias": True}], ids=["dropout", "dora", "bias"]
)
def test_what_is_more_than_plain_lora_is_left_to_peft(settings: dict[str, Any]) -> None:
    torch.manual_seed(0)
    plain, joined = both(Two(True), **settings)
    x = torch.randn(SHAPE)
    assert names_of(joined.train(), x) == [None, None]
    torch.manual_seed(9)
    expected = plain.train()(x)
    torch.manual_seed(9)
    torch.testing.assert_close(joined(x), expected)


def test_other_states_are_left_to_peft() -> None:
    torch.manual_seed(0)
    plain, joined = both(Two(True))
    x = torch.randn(SHAPE)
    with joined.disable_adapter(), plain.disable_adapter():
        assert names_of(joined, x) == [None, None]
        torch.testing.assert_close(joined(x), plain(x))
    assert names_of(joined, x.bfloat16()) == [None, None], "another number format"
    with torch.autocast("cpu", torch.bfloat16):
        assert names_of(joined, x) == [None, None]
    dropped = adapted(Two(True), joined=True, lora_dropout=0.5).eval()
    assert names_of(dropped, x) == ["default", "default"], "dropout is off outside training"
    joined.base_model.model.one.base_layer.weight.requires_grad_()
    assert names_of(joined, x) == [None, "default"], "a base that is trained too"
    joined.merge_adapter()
    assert names_of(joined, x) == [None, None]


def test_the_files_are_pefts(tmp_path: Path) -> None:
    torch.manual_seed(0)
    for name, model in zip(("plain", "joined"), both(Two(True)), strict=True):
        model.save_pretrained(tmp_path / name)
    one, other = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("plain", "joined"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)
    configs = [(tmp_path / name / "adapter_config.json").read_bytes() for name in ("plain", "joined")]
    assert configs[0] == configs[1]
