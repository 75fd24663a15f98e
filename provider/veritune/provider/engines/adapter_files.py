"""Checks an adapter folder before an engine loads it.

Both engines serve the same kind of adapter: plain LoRA on linear layers, weights in safetensors. Features that either
of them would ignore or apply differently (DoRA, trained biases, saved modules, per-layer ranks) are refused here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veritune.common.documents.receipts import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from veritune.common.errors import BadFileError
from veritune.common.files import read_limited
from veritune.provider.engines.base import InvalidAdapterError

_MAX_CONFIG_BYTES = 1 << 20

Shapes = Mapping[str, tuple[int, int]]
"""Name and shape of a base model's linear layers: name -> (outputs, inputs)."""

# Settings that change what an adapter means; each must be absent, false, empty, or the value given here.
_PLAIN: Mapping[str, object] = {
    "alora_invocation_tokens": None,
    "alpha_pattern": None,
    "arrow_config": None,
    "bias": "none",
    "exclude_modules": None,
    "fan_in_fan_out": False,
    "layer_replication": None,
    "layers_to_transform": None,
    "lora_bias": False,
    "megatron_config": None,
    "modules_to_save": None,
    "rank_pattern": None,
    "target_parameters": None,
    "trainable_token_indices": None,
    "use_bdlora": None,
    "use_dora": False,
    "use_qalora": False,
}


@dataclass(frozen=True)
class AdapterFiles:
    """An adapter folder that passed every check."""

    folder: Path
    """The folder's absolute path."""
    rank: int
    is_zero: bool
    """True if every B matrix is zero, so that the adapter changes no answer."""
    digest: str
    """SHA-256 (hexadecimal) over its settings and its weights."""


def linear_shapes(model: Any) -> Shapes:
    """Name and shape of each linear layer of a transformers model that an adapter may change: all but the output layer.

    ``model`` needs no weights (meta device). The output layer is left out because PEFT's "all-linear" does so, and
    because vLLM cannot compute a prompt's log-probabilities with an adapter on it.
    """
    import torch

    head = model.get_output_embeddings()
    return {
        name: (module.out_features, module.in_features)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    }


def read_adapter(folder: Path, shapes: Shapes, max_rank: int) -> AdapterFiles:
    """The adapter in a PEFT folder, checked against the shapes of the base model's layers.

    Raises:
        InvalidAdapterError: anything is missing, malformed, not finite, not plain LoRA, or of another shape.
    """
    try:
        folder = folder.resolve()
        config_bytes = read_limited(folder / ADAPTER_CONFIG, _MAX_CONFIG_BYTES)
        config = json.loads(config_bytes)
        with (folder / ADAPTER_WEIGHTS).open("rb") as file:
            weights_digest = hashlib.file_digest(file, "sha256").digest()
    except (OSError, ValueError, RecursionError, BadFileError) as error:
        raise InvalidAdapterError(f"cannot read the adapter: {error}") from error
    rank, targets = _check_config(config, max_rank)
    is_zero = _check_weights(folder / ADAPTER_WEIGHTS, shapes, rank, targets)
    digest = hashlib.sha256(hashlib.sha256(config_bytes).digest() + weights_digest).hexdigest()
    return AdapterFiles(folder=folder, rank=rank, is_zero=is_zero, digest=digest)


def _check_config(config: object, max_rank: int) -> tuple[int, list[str]]:
    """Rank and target modules of an adapter's settings. Raises `InvalidAdapterError`."""
    if not isinstance(config, dict):
        raise InvalidAdapterError(f"{ADAPTER_CONFIG} is not an object")
    if config.get("peft_type") != "LORA":
        raise InvalidAdapterError(f"adapter type {config.get('peft_type')!r} is not served, only LORA")
    for name, plain in _PLAIN.items():
        value = config.get(name)
        if value and value != plain:
            raise InvalidAdapterError(f"adapter setting {name} is not served")
    # Other ways to initialise (PiSSA, OLoRA, LoftQ, ...) change the base model's weights when PEFT loads them.
    if config.get("init_lora_weights", True) not in (True, False, "gaussian"):
        raise InvalidAdapterError("adapter setting init_lora_weights is not served")
    rank, alpha, targets = config.get("r"), config.get("lora_alpha"), config.get("target_modules")
    if type(rank) is not int or not 1 <= rank <= max_rank:
        raise InvalidAdapterError(f"adapter rank {rank!r} is not within 1 and {max_rank}")
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 < alpha < 1e6:
        raise InvalidAdapterError("adapter setting lora_alpha is not a positive number")
    if not isinstance(targets, list) or not targets or not all(isinstance(name, str) for name in targets):
        raise InvalidAdapterError("adapter setting target_modules is not a list of names")
    return rank, targets


def _check_weights(path: Path, shapes: Shapes, rank: int, targets: list[str]) -> bool:
    """True if every B matrix is zero, so that the adapter changes nothing. Raises `InvalidAdapterError`."""
    import torch
    from safetensors import SafetensorError, safe_open

    suffixes = tuple(f".{target}" for target in targets)
    wanted: dict[str, tuple[int, int]] = {}
    for name, (outputs, inputs) in shapes.items():
        if f".{name}".endswith(suffixes):
            wanted[f"base_model.model.{name}.lora_A.weight"] = (rank, inputs)
            wanted[f"base_model.model.{name}.lora_B.weight"] = (outputs, rank)
    if not wanted:
        raise InvalidAdapterError("the base model has none of the adapter's target modules")
    is_zero = True
    try:
        with safe_open(path, framework="pt") as file:
            names = set(file.keys())
            if names != set(wanted):
                odd = sorted(names ^ set(wanted))[0]
                raise InvalidAdapterError(f"adapter tensors do not match the base model, first at {odd[:200]!r}")
            for name, shape in wanted.items():
                if tuple(file.get_slice(name).get_shape()) != shape:
                    raise InvalidAdapterError(f"adapter tensor {name} does not fit the base model's layer")
                tensor = file.get_tensor(name)
                if not tensor.is_floating_point() or not torch.isfinite(tensor).all():
                    raise InvalidAdapterError(f"adapter tensor {name} holds values that are not finite numbers")
                is_zero = is_zero and (".lora_A." in name or not tensor.any())
    except (OSError, SafetensorError) as error:
        raise InvalidAdapterError(f"cannot read the adapter's weights: {error}") from error
    return is_zero
