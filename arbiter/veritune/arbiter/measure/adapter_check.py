"""Checks an adapter before it is loaded: it must be the contract's plain LoRA, in safetensors.

The folder comes from the provider. Nothing in it may run code, change the base model, or stand for something else
than the low-rank update that the contract names.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import median_low
from typing import Any

from veritune.common.canonical import parse_json
from veritune.common.documents.manifest import Training
from veritune.common.documents.receipts import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from veritune.common.errors import BadFileError, MalformedDocumentError, TooLargeError
from veritune.common.files import read_limited
from veritune.common.limits import LIMITS

# Settings that are names, numbers of the recipe or without effect on what the weights mean.
_HARMLESS = frozenset(
    {
        "base_model_name_or_path",
        "inference_mode",
        "lora_dropout",
        "qalora_group_size",
        "megatron_core",
        "peft_version",
        "revision",
        "task_type",
        "ensure_weight_tying",
    }
)
_INIT = (True, False, None, "gaussian")
"""Ways to initialise that leave the base model's weights alone (PiSSA, OLoRA and others do not)."""

_ROUNDING = 256
"""The largest singular value divided by the least that is not taken for rounding."""


def check_adapter(folder: Path, training: Training) -> None:
    """Raises `MalformedDocumentError` unless the adapter's configuration is the contract's recipe.

    Settings that this version does not know must be absent, null, false or empty. Also raises `TooLargeError`.
    """
    for path in folder.iterdir():
        if path.is_symlink() or not path.is_file():
            raise MalformedDocumentError(f"the adapter folder holds something that is no plain file: {path.name[:100]}")
    if not (folder / ADAPTER_WEIGHTS).is_file() or not (folder / ADAPTER_CONFIG).is_file():
        raise MalformedDocumentError(f"the adapter has no {ADAPTER_WEIGHTS} or no {ADAPTER_CONFIG}")
    try:
        config = parse_json(read_limited(folder / ADAPTER_CONFIG, LIMITS.document))
    except BadFileError as error:  # the file lies here, but the provider made it
        raise TooLargeError(error.message) from error
    if not isinstance(config, dict):
        raise MalformedDocumentError(f"{ADAPTER_CONFIG} is no object")
    wanted: dict[str, Any] = {
        "peft_type": "LORA",
        "r": training.rank,
        "lora_alpha": training.alpha,
        "bias": "none",
    }
    for name, value in wanted.items():
        if config.get(name) != value or isinstance(config.get(name), bool):
            raise MalformedDocumentError(
                f"the adapter's {name} is not the contract's {value}", cause="contract", field=name
            )
    if config.get("init_lora_weights") not in _INIT:
        raise MalformedDocumentError("the adapter's init_lora_weights would change the base model")
    _check_targets(config.get("target_modules"), training)
    for name, value in config.items():
        if name not in wanted and name not in _HARMLESS | {"init_lora_weights", "target_modules"} and value:
            raise MalformedDocumentError(f"the adapter's setting {str(name)[:100]} is not plain LoRA")


def check_tensors(path: Path, expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raises `MalformedDocumentError` unless tensors have the names and shapes of ``expected`` and finite numbers."""
    import torch
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            if odd := sorted(set(file.keys()) ^ set(expected)):
                raise MalformedDocumentError(f"the adapter's tensors don't fit the base model: {odd[0][:200]!r}")
            for name, shape in expected.items():
                tensor = file.get_tensor(name)
                if tuple(tensor.shape) != tuple(shape):
                    raise MalformedDocumentError(f"the adapter's tensor {name} is of another shape")
                if not tensor.is_floating_point() or not bool(torch.isfinite(tensor).all()):
                    raise MalformedDocumentError(f"the adapter's tensor {name} holds values that are no numbers")
    except (SafetensorError, OSError) as error:
        raise MalformedDocumentError(f"{path.name} is no safetensors file") from error


def check_rank(path: Path, rank: int) -> None:
    """Raises `MalformedDocumentError` if the update B A has less than half of the contract's rank.

    Singular values below a 256th of the largest are taken for rounding (bfloat16 has eight bits); the others are
    counted, and the majority of modules decides. A module whose update is zero has no rank and is left out: what was
    not trained shows in the verdict.
    """
    import torch
    from safetensors.torch import load_file

    tensors, counts, low = load_file(path), list[int](), 0
    for name, b in tensors.items():
        if ".lora_B." not in name or not b.any():
            continue
        a = tensors[name.replace(".lora_B.", ".lora_A.")]
        # B A has the singular values of the product of the two triangular factors, which are small.
        left, right = torch.linalg.qr(b.double())[1], torch.linalg.qr(a.double().T)[1]
        values = torch.linalg.svdvals(left @ right.T)
        counts.append(int((values * _ROUNDING > values[0]).sum()))
        low += 2 * counts[-1] < min(rank, *values.shape)
    if 2 * low > len(counts):
        raise MalformedDocumentError(
            f"the adapter's update has a rank of about {median_low(counts)}, not the contract's {rank}",
            cause="rank",
            found=str(median_low(counts)),
        )


def _check_targets(targets: object, training: Training) -> None:
    if not isinstance(targets, list) or not targets or not all(isinstance(item, str) for item in targets):
        raise MalformedDocumentError(
            "the adapter's target_modules is no list of names", cause="form", field="target_modules"
        )
    if training.target_modules != ("all-linear",) and set(targets) != set(training.target_modules):
        raise MalformedDocumentError(
            "the adapter's target_modules are not the contract's", cause="contract", field="target_modules"
        )
