"""Where the user's own models run, and in which number format: a GPU where torch has one, else the processor."""

from __future__ import annotations

from typing import Any, Literal

Precision = Literal["auto", "float32", "bfloat16"]


def local_device() -> Any:
    """A ``torch.device``."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def local_dtype(precision: Precision) -> Any:
    """A ``torch.dtype``; ``auto`` is bfloat16 where the device computes in it without emulation, else float32."""
    import torch

    if precision != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    if torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.bfloat16 if native else torch.float32
