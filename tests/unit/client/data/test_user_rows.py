"""The user's file: three shapes in, everything odd refused with its line."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.errors import fails
from veritune.client.data.user_rows import preprocessing_digest, read_user_rows, user_row
from veritune.common.dataset import Row
from veritune.common.errors import RowsError
from veritune.common.limits import LIMITS

CHAT = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": " yes\n"}]}


def write(tmp_path: Path, *lines: Any) -> Path:
    path = tmp_path / "data.jsonl"
    text = b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
    path.write_bytes(text)
    return path


def test_three_shapes_keep_the_text_to_the_letter(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        CHAT,
        {"prompt": " a ", "completion": "e\u0301"},
        {"question": "q?", "answer": "b", "id": 7, "metadata": {"x": []}},
    )
    rows = read_user_rows(path, "tickets")
    assert [(row.prompt[0].content, row.completion) for row in rows] == [
        ("hi", " yes\n"),
        (" a ", "e\u0301"),
        ("q?", "b"),
    ]
    assert {row.source for row in rows} == {"tickets"}


def test_mark_blank_lines_and_windows_line_ends_are_no_rows(tmp_path: Path) -> None:
    line = json.dumps(CHAT).encode()
    path = write(tmp_path, b"\xef\xbb\xbf" + line + b"\r", b"", b"  \t\r", line, b"")
    assert len(read_user_rows(path)) == 2


def test_a_system_turn_and_several_turns() -> None:
    turns = [("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]
    row = user_row({"messages": [{"role": role, "content": content} for role, content in turns]})
    assert len(row.prompt) == 4


def turns(*roles: str) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": "x"} for role in roles]}


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (b"{", "JSON"),
        (b'{"prompt": "\xff", "completion": "b"}', "UTF-8"),
        (b'{"prompt": "a", "prompt": "b", "completion": "c"}', "duplicate"),
        (b'{"prompt": NaN, "completion": "c"}', "NaN"),
        (b"[" * 100 + b"]" * 100, "nested"),
        ([], "object"),
        ("text", "object"),
        (None, "object"),
        ({}, "fields none"),
        ({"prompt": "a"}, "fields prompt"),
        ({"prompt": "a", "answer": "b"}, "fields answer, prompt"),
        ({**CHAT, "prompt": "a", "completion": "b"}, "fields"),
        ({"prompt": "a", "completion": "b", "context": "c"}, "'context'"),
        ({"prompt": "a", "completion": 42}, "completion: not text"),
        ({"prompt": "", "completion": "b"}, "prompt: empty"),
        ({"prompt": "a", "completion": " \n"}, "completion: empty"),
        ({"prompt": "a\x00", "completion": "b"}, "NUL"),
        (b'{"prompt": "\\ud800", "completion": "b"}', "surrogate"),
        ({"prompt": "a" * (LIMITS.prompt_characters + 1), "completion": "b"}, "characters"),
        ({"prompt": "a" * LIMITS.prompt_characters, "completion": "b"}, "characters"),
        ({"messages": []}, "list of turns"),
        ({"messages": "hi"}, "list of turns"),
        ({"messages": ["hi"]}, "turn 1"),
        ({"messages": [{"role": "user"}]}, "turn 1"),
        ({"messages": [{"role": "user", "content": "a", "name": "b"}]}, "turn 1"),
        ({"messages": [{"role": "user", "content": None}]}, "turn 1: not text"),
        ({"messages": [{"role": ["user"], "content": "a"}]}, "turn 1: the role"),
        (turns("user", "tool"), "turn 2: the role 'tool'"),
        (turns("assistant", "user"), "alternate"),
        (turns("user", "user", "assistant"), "alternate"),
        (turns("user"), "assistant's answer"),
        (turns("system"), "user's turn"),
        (turns("system", "assistant"), "alternate"),
        (turns(*["user", "assistant"] * 65), "turns"),
    ],
)
def test_refuses_with_the_line(tmp_path: Path, bad: Any, says: str) -> None:
    with pytest.raises(RowsError) as error:
        read_user_rows(write(tmp_path, CHAT, b"", bad))
    assert error.value.message.startswith("line 3: ")
    assert error.value.metadata["line"] == "3"
    assert error.value.metadata.keys() <= {"line", "cause"}
    assert says in error.value.message.replace("fields 'prompt'", "fields prompt").replace(
        "'answer', 'prompt'", "answer, prompt"
    )
    assert len(error.value.message) < 500


@pytest.mark.parametrize(
    ("data", "metadata"),
    [
        (b"", {"cause": "empty"}),
        (b"\n \n", {"cause": "empty"}),
        ('[{"prompt": "a"}]'.encode("utf-16"), {"cause": "encoding", "line": "1"}),
        (b'[{"prompt": "a", "completion": "b"}]', {"cause": "array", "line": "1"}),
        (b'{"prompt": "' + b"a" * 2 * LIMITS.row, {"cause": "size", "line": "1"}),
    ],
)
def test_refuses_a_file_of_another_kind(tmp_path: Path, data: bytes, metadata: dict[str, str]) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(data)
    with fails(RowsError, **metadata):
        read_user_rows(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with fails(RowsError, cause="unreadable", file="none.jsonl"):
        read_user_rows(tmp_path / "none.jsonl")


def test_progress_ends_at_the_files_size(tmp_path: Path) -> None:
    path, seen = write(tmp_path, *[CHAT] * 2500), []
    read_user_rows(path, on_progress=lambda phase, done, total: seen.append((phase, done, total)))
    size = path.stat().st_size
    assert seen[-1] == ("read", size, size)
    assert len(seen) == 3


def test_the_digest_names_the_source() -> None:
    assert preprocessing_digest("a") == preprocessing_digest("a") != preprocessing_digest("b")
    assert len(preprocessing_digest("a")) == 64


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.just("messages"), inner, max_size=4),
)


@pytest.mark.heavy
@given(JSON | st.fixed_dictionaries({"messages": JSON}) | st.fixed_dictionaries({"prompt": JSON, "completion": JSON}))
def test_anything_at_all_is_a_row_or_a_dataset_error(value: Any) -> None:
    with suppress(RowsError):
        assert isinstance(user_row(value), Row)
