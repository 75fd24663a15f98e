"""Chooses the number format in which a machine computes fast."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

Precision = Literal["float32", "bfloat16"]
"""A number format of weights and arithmetic."""


def pick_precision(wanted: Literal["float32", "bfloat16", "auto"]) -> Precision:
    """``wanted`` itself; for ``auto``, bfloat16 if the device has bfloat16 arithmetic of its own, else float32."""
    if wanted != "auto":
        return wanted
    import torch

    if torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = _cpu_has_bfloat16()
    return "bfloat16" if native else "float32"


def _cpu_has_bfloat16() -> bool:
    """True if the CPU has AVX512-BF16, AMX or Arm's BF16: emulation would be slower than float32."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        # macOS: Apple's cores from the M2 on have it, yet torch's CPU kernels there do not use it.
        return False
    return not flags.isdisjoint({"avx512_bf16", "amx_bf16", "bf16"})
