"""What scripts of the benchmarks share about files: JSON lines, and the parts of documents that they write."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Every line of a file of JSON lines; none where there is no file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def append_line(path: Path, line: dict[str, Any]) -> None:
    """Adds one by a single write, so that several processes may; makes the file where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab", buffering=0) as file:
        file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")


def wants_write(description: str | None, document: Path) -> bool:
    """Parses the command line of a script that prints Markdown: whether it is to go into the document instead."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"into docs/{document.name}")
    return bool(parser.parse_args().write)


def put_between(document: Path, begin: str, end: str, text: str) -> None:
    """Puts Markdown between two marks of a document. Raises `ValueError` where a mark is missing."""
    whole = document.read_text(encoding="utf-8")
    if begin not in whole or end not in whole:
        raise ValueError(f"{document.name} has no marks {begin} and {end}")
    before, _, rest = whole.partition(begin)
    document.write_text(f"{before}{begin}\n\n{text}\n\n{end}{rest.partition(end)[2]}", encoding="utf-8")
