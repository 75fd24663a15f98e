"""Device and number format for models on this machine: a GPU where torch has one, else the CPU."""

from __future__ import annotations

from typing import Any, Literal

Precision = Literal["auto", "float32", "bfloat16"]


def local_device() -> Any:
    """The ``torch.device`` for models on this machine: CUDA where available, else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def local_dtype(precision: Precision) -> Any:
    """The ``torch.dtype`` of ``precision``; ``auto`` is bfloat16 where the device has it natively, else float32."""
    import torch

    if precision != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    if torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.bfloat16 if native else torch.float32
