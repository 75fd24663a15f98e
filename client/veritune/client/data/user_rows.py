"""Reads rows from the user's own JSONL file. Text is kept to the letter; an error names the line.

Accepted lines: ``{"messages": [{"role", "content"}, ...]}``, ``{"prompt", "completion"}`` and
``{"question", "answer"}``. Nothing is trimmed, re-encoded or normalised, so that what the model learns is what the
file says; `preprocessing_digest` states this in a form that can be signed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

from pydantic import ValidationError

from veritune.client.progress import Progress, no_progress
from veritune.common.canonical import canonical_bytes, parse_json, sha256_hex
from veritune.common.dataset import Message, Row, check_chat
from veritune.common.errors import RowsError, VerituneError
from veritune.common.limits import LIMITS

IGNORED = frozenset({"id", "metadata"})
"""Fields of a line that carry no training text."""

_PAIRS = (("prompt", "completion"), ("question", "answer"))
_BOM = b"\xef\xbb\xbf"
_REPORT_EVERY = 1000


def preprocessing_digest(source: str) -> str:
    """SHA-256 over the canonical description of how `read_user_rows` makes rows from a file of this source."""
    return sha256_hex(
        canonical_bytes(
            {
                "version": 1,
                "source": source,
                "fields": {
                    "messages": "as given",
                    **{f"{user}+{assistant}": "user+assistant" for user, assistant in _PAIRS},
                },
                "ignored": sorted(IGNORED),
                "text": "unchanged: no trimming, no Unicode normalisation",
                "skipped": ["blank lines", "a UTF-8 byte order mark at the start"],
            }
        )
    )


def read_user_rows(path: Path, source: str = "user", on_progress: Progress = no_progress) -> list[Row]:
    """Every row of a JSONL file, in the file's order.

    Raises `RowsError`: for a line that is no row, with the line's number, and for a file without rows, over a limit
    or unreadable. ``on_progress`` counts bytes.
    """
    rows: list[Row] = []
    try:
        size = path.stat().st_size
        if size > LIMITS.dataset:
            raise RowsError(f"{path.name} is over {LIMITS.dataset} bytes", cause="size")
        with path.open("rb") as file:
            number = 0
            while line := file.readline(2 * LIMITS.row):
                number += 1
                if number % _REPORT_EVERY == 0:
                    on_progress("read", file.tell(), size)
                row = _at_line(number, line, file, source)
                if row is not None:
                    rows.append(row)
                if len(rows) > LIMITS.rows:
                    raise RowsError(f"more than {LIMITS.rows} rows", cause="rows")
    except OSError as error:
        raise RowsError(f"can't read {path.name}: {error.strerror}", cause="unreadable", file=path.name) from error
    if not rows:
        raise RowsError(f"{path.name} has no rows", cause="empty")
    on_progress("read", size, size)
    return rows


def user_row(value: Any, source: str = "user") -> Row:
    """The row that one parsed line holds. Raises `RowsError` for any other shape and for a row over a limit."""
    if not isinstance(value, dict):
        raise RowsError("not a JSON object; every line is one row")
    fields = set(value) - IGNORED
    shapes: list[tuple[str, ...]] = [shape for shape in (("messages",), *_PAIRS) if fields & set(shape)]
    if len(shapes) != 1 or fields != set(shapes[0]):
        found = ", ".join(sorted(map(_shown, fields))[:8]) or "none"
        raise RowsError(
            f"fields {found}: a row has messages, or prompt and completion, or question and answer, and no other field"
        )
    if shapes == [("messages",)]:
        messages = _messages(value["messages"])
    else:
        asked, answered = shapes[0]
        messages = (
            Message(role="user", content=_text(value[asked], asked)),
            Message(role="assistant", content=_text(value[answered], answered)),
        )
    check_chat(messages)
    if messages[-1].role != "assistant":
        raise RowsError("a row must end with the assistant's answer")
    if sum(len(message.content) for message in messages) > LIMITS.prompt_characters:
        raise RowsError(f"a row is over {LIMITS.prompt_characters} characters")
    try:
        row = Row(messages=messages, source=source)
    except ValidationError as error:
        raise RowsError(f"between 2 and {LIMITS.messages} turns make a row") from error
    if len(row.to_bytes()) > LIMITS.row:
        raise RowsError(f"a row is over {LIMITS.row} bytes")
    return row


def _at_line(number: int, line: bytes, file: BinaryIO, source: str) -> Row | None:
    """The row of one line; None for a blank line. Raises `RowsError` with the line's number."""
    try:
        if len(line) == 2 * LIMITS.row and not line.endswith(b"\n"):
            raise RowsError(f"longer than {2 * LIMITS.row} bytes", cause="size")
        if number == 1:
            line = _without_mark(line)
        if not line.strip():
            return None
        if number == 1 and line.lstrip().startswith(b"["):
            raise RowsError("a JSON array; write one object a line (JSON Lines)", cause="array")
        return user_row(parse_json(line, 2 * LIMITS.row), source)
    except VerituneError as error:
        raise RowsError(f"line {number}: {error.message}", **{**error.metadata, "line": str(number)}) from error


def _without_mark(line: bytes) -> bytes:
    if line.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise RowsError("the file is UTF-16; save it as UTF-8", cause="encoding")
    return line.removeprefix(_BOM)


def _messages(value: Any) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        raise RowsError("messages must be a list of turns")
    if len(value) > LIMITS.messages:
        raise RowsError(f"more than {LIMITS.messages} turns")
    turns = []
    for place, turn in enumerate(value, start=1):
        if not isinstance(turn, dict) or set(turn) != {"role", "content"}:
            raise RowsError(f"turn {place}: a turn has a role and a content, and no other field")
        role = turn["role"]
        if role not in ("system", "user", "assistant"):
            raise RowsError(f"turn {place}: the role {_shown(role)} is not system, user or assistant")
        turns.append(Message(role=role, content=_text(turn["content"], f"turn {place}")))
    return tuple(turns)


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise RowsError(f"{where}: not text")
    if not value.strip():
        raise RowsError(f"{where}: empty")
    if len(value) > LIMITS.prompt_characters:
        raise RowsError(f"{where}: over {LIMITS.prompt_characters} characters")
    if "\x00" in value:
        raise RowsError(f"{where}: holds a NUL character")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RowsError(f"{where}: holds half of a surrogate pair, which is no character") from error
    return value


def _shown(value: object) -> str:
    """A short, printable form of hostile text for a message."""
    return ascii(value)[:40]
