"""What a receipt says of the machine and the software, and the precision that the machine is good for."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path
from typing import Literal

_PACKAGES = ("torch", "transformers", "peft", "accelerate", "safetensors", "tokenizers", "veritune")

Precision = Literal["float32", "bfloat16"]


def pick_precision(wanted: Literal["float32", "bfloat16", "auto"]) -> Precision:
    """``auto`` becomes bfloat16 where the device has bfloat16 arithmetic of its own, else float32."""
    if wanted != "auto":
        return wanted
    import torch

    if torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = _cpu_has_bfloat16()
    return "bfloat16" if native else "float32"


def software() -> dict[str, str]:
    """Version of Python and of each library that shaped the numbers."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def hardware(precision: str) -> dict[str, str]:
    """The device, as far as a client may care; no host name."""
    import torch

    cuda = torch.cuda.is_available()
    device: str = torch.cuda.get_device_name(0) if cuda else _cpu_name()
    return {
        "device": device[:200],
        "kind": "cuda" if cuda else "cpu",
        "machine": platform.machine(),
        "precision": precision,
        "threads": str(torch.get_num_threads()),
    }


def _cpu_has_bfloat16() -> bool:
    """AVX512-BF16, AMX or Arm's BF16: mere emulation would be slower than float32."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        # macOS: Apple's cores from the M2 on have it, yet torch's CPU kernels there do not use it.
        return False
    return not flags.isdisjoint({"avx512_bf16", "amx_bf16", "bf16"})


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
