"""Makes an inference engine by the name that the daemon's configuration gives."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from veritune.common.errors import OwnError
from veritune.provider.engines.base import InferenceEngine

EngineKind = Literal["transformers", "vllm"]
"""The name of an inference engine."""


class EngineUnavailableError(OwnError):
    """The package of an inference engine is not installed; the message says how to install it."""

    reason = "MISSING_ENGINE"


def make_engine(
    kind: EngineKind,
    model_dir: Path,
    *,
    dtype: Literal["float32", "bfloat16", "auto"] = "auto",
    threads: int | None = None,
    max_model_len: int | None = None,
    max_adapters: int = 8,
) -> InferenceEngine:
    """A new engine for a base model's folder, not started yet; only the chosen engine's packages are imported.

    ``threads``: CPU threads; None: the package's own choice. ``max_model_len``: most tokens of prompt and answer; None:
    the model's own limit. ``max_adapters``: most adapters loaded at the same time.

    Raises:
        EngineUnavailableError: the package of that engine is missing; the message says how to install it.
        ValueError: no engine of that name.
    """
    match kind:
        case "transformers":
            if find_spec("transformers") is None or find_spec("peft") is None:
                raise EngineUnavailableError("the transformers engine needs: pip install 'veritune[provider]'")
            from veritune.provider.engines.transformers_engine import TransformersEngine

            return TransformersEngine(
                model_dir,
                dtype=dtype,
                threads=threads,
                max_model_len=max_model_len,
                max_adapters=max_adapters,
            )
        case "vllm":
            if find_spec("vllm") is None:
                raise EngineUnavailableError("the vLLM engine needs: pip install 'veritune[vllm]'")
            from veritune.provider.engines.vllm_engine import VllmEngine

            return VllmEngine(
                model_dir,
                dtype=dtype,
                threads=threads,
                max_model_len=max_model_len,
                max_adapters=max_adapters,
            )
        case _:
            raise ValueError(f"no inference engine is called {kind!r}")
