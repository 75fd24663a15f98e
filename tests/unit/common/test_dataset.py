from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.errors import fails
from veritune.common import dataset
from veritune.common.dataset import Message, Row, check_chat, parse_row, read_rows, summarise, write_rows
from veritune.common.errors import DatasetError, ModelFolderError
from veritune.common.limits import LIMITS
from veritune.common.merkle import MerkleTree, leaf_hash
from veritune.common.model.files import file_ref, folder_files, model_digest


def row(prompt: str, answer: str) -> Row:
    return Row(messages=(Message(role="user", content=prompt), Message(role="assistant", content=answer)))


ROWS = [row("2+2?", "4"), row("Capital of Peru?", "Lima"), row("Say “é”", "é")]


def test_summary_is_what_an_independent_computation_gives(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_rows(path, ROWS)
    lines = path.read_bytes().splitlines()
    summary = summarise(path)
    assert (
        lines[0]
        == b'{"messages":[{"content":"2+2?","role":"user"},{"content":"4","role":"assistant"}],"source":"user"}'
    )
    assert summary.rows == 3
    assert summary.size == path.stat().st_size
    assert summary.sha256 == file_ref(path).sha256
    assert summary.merkle_root == MerkleTree([leaf_hash(line) for line in lines]).root.hex()
    assert list(read_rows(path)) == ROWS
    assert ROWS[1].completion == "Lima"
    assert ROWS[1].prompt == (Message(role="user", content="Capital of Peru?"),)


def chat(*roles: str) -> bytes:
    turns = ",".join(f'{{"content":"x","role":"{role}"}}' for role in roles)
    return f'{{"messages":[{turns}],"source":"user"}}'.encode()


def test_system_turns_and_long_chats_are_rows() -> None:
    assert parse_row(chat("system", "user", "assistant", "user", "assistant")).prompt[0].role == "system"


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b'{"messages":[],"source":"user"}',
        b'{"messages": [],"source":"user"}',
        b'{"messages":[{"content":"x","role":"user"},{"content":"","role":"assistant"}],"source":"user"}',
        b'{"messages":[{"content":"x","role":"user"},{"content":"y","role":"assistant"}],"source":"","x":1}',
        chat("user", "user", "assistant"),
        chat("assistant", "user"),
        chat("user", "assistant", "user"),
        chat("user", "system", "assistant"),
        chat("system", "system"),
        chat("user", "tool"),
        b'{"messages":[{"content":"' + b"x" * (1 << 20) + b'","role":"user"}],"source":"user"}',
    ],
)
def test_refuses_rows_that_are_none(line: bytes) -> None:
    with pytest.raises(DatasetError):
        parse_row(line)


def test_a_lone_system_turn_is_no_chat() -> None:
    with fails(DatasetError, cause="no_user"):
        check_chat((Message(role="system", content="x"),))


@pytest.mark.parametrize(
    ("content", "metadata"),
    [
        (b"", {"cause": "empty"}),
        (ROWS[0].to_bytes(), {"cause": "newline"}),
        (ROWS[0].to_bytes() + b"\n\n", {"line": "2"}),
        (ROWS[0].to_bytes() + b"\r\n", {"line": "1"}),
        (b"\0" * 10_000_000, {"cause": "newline"}),
    ],
)
def test_refuses_bad_files(tmp_path: Path, content: bytes, metadata: dict[str, str]) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with fails(DatasetError, **metadata):
        summarise(path)


def test_refuses_too_many_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "LIMITS", replace(LIMITS, rows=2))
    write_rows(tmp_path / "rows.jsonl", ROWS)
    with fails(DatasetError, cause="rows"):
        summarise(tmp_path / "rows.jsonl")


def test_model_digest_covers_every_file(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError):
        model_digest(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / ".hidden").write_text("x")
    (tmp_path / "folder").mkdir()
    first = model_digest(tmp_path)
    assert [ref.name for ref in folder_files(tmp_path)] == ["config.json"]
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    second = model_digest(tmp_path)
    (tmp_path / "chat_template.jinja").write_text("{{ messages  }}")
    assert len({first, second, model_digest(tmp_path)}) == 3
