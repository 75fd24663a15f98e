"""A LoRA layer that adds its update inside the matrix products, in place of passes of its own over the activations.

PEFT computes ``base(x) + B(A(x)) * scaling`` as four results of the size of the output, and its backward pass as many
more. Here the scaling falls on the inner result, which is only ``rank`` wide, and both sums are made by the product
that comes last (``addmm``): the same mathematics up to rounding, with fewer passes over memory.
"""

from __future__ import annotations

from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.lora import Linear


def join_lora(config: LoraConfig) -> None:
    """Makes PEFT put `JoinedLinear` over every ``torch.nn.Linear`` that ``config`` targets.

    It does so by PEFT's hook for LoRA layers of one's own; what is saved of the adapter stays as it is.
    """
    config._register_custom_module({torch.nn.Linear: JoinedLinear})


class JoinedLinear(Linear):  # type: ignore[misc]  # peft ships no usable types
    """PEFT's LoRA layer; plain LoRA without dropout in one number format is computed by `_JoinedLora`."""

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """``base(x) + scaling * B(A(x))``. Shapes: ``x`` [..., in], the result [..., out]."""
        name = self._joinable(x) if not args and not kwargs else None
        if name is None:
            result: torch.Tensor = super().forward(x, *args, **kwargs)
            return result
        base, a, b = self.get_base_layer(), self.lora_A[name].weight, self.lora_B[name].weight
        apply: Any = _JoinedLora.apply  # torch gives it no types
        joined: torch.Tensor = apply(x, base.weight, base.bias, a, b, self.scaling[name])
        return joined

    def _joinable(self, x: torch.Tensor) -> str | None:
        """The one active adapter where nothing but plain LoRA is to be computed for it; else None."""
        base, names = self.get_base_layer(), self.active_adapters
        if self.disable_adapters or self.merged or len(names) != 1 or names[0] not in self.lora_A:
            return None
        name: str = names[0]
        a, b = self.lora_A[name], self.lora_B[name]
        dropped = self.training and not isinstance(self.lora_dropout[name], torch.nn.Identity)
        plain = type(base) is torch.nn.Linear and a.bias is None and b.bias is None and name not in self.lora_variant
        trains_base = base.weight.requires_grad or (base.bias is not None and base.bias.requires_grad)
        same = x.dtype == base.weight.dtype == a.weight.dtype == b.weight.dtype
        return name if plain and same and not dropped and not trains_base and not _is_autocast(x) else None


def _is_autocast(x: torch.Tensor) -> bool:
    return bool(torch.is_autocast_enabled(x.device.type))


class _JoinedLora(torch.autograd.Function):
    """Plain LoRA over a frozen linear layer, and its gradients for ``x``, A [rank, in] and B [out, rank]."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        a: torch.Tensor,
        b: torch.Tensor,
        scaling: float,
    ) -> torch.Tensor:
        rows = x.reshape(-1, x.shape[-1])
        inner = (rows @ a.t()).mul_(scaling)
        out = torch.nn.functional.linear(rows, weight, bias).addmm_(inner, b.t())
        ctx.save_for_backward(rows, weight, a, b, inner)
        ctx.scaling, ctx.shape = scaling, x.shape
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, weight, a, b, inner = ctx.saved_tensors
        grad = grads[0].reshape(-1, weight.shape[0])
        grad_inner = (grad @ b).mul_(ctx.scaling)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = (grad @ weight).addmm_(grad_inner, a).view(ctx.shape)
        return grad_x, None, None, grad_inner.t() @ rows, grad.t() @ inner, None
