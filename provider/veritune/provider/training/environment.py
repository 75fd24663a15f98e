"""The software and the hardware that a training receipt names."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path

_PACKAGES = ("torch", "transformers", "peft", "accelerate", "safetensors", "tokenizers", "veritune")


def software() -> dict[str, str]:
    """Versions of Python, veritune and the libraries whose arithmetic shapes the weights, by name."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def hardware(precision: str) -> dict[str, str]:
    """The device's name and kind, the machine's type, precision and number of threads; no host name."""
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


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
