"""Rows and data sets in canonical form: one RFC 8785 object a line (SPEC section 4.3)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

from pydantic import Field, StringConstraints

from veritune.common.documents.base import Document, Name
from veritune.common.errors import DatasetError, VerituneError
from veritune.common.limits import LIMITS
from veritune.common.merkle import MerkleTree, leaf_hash


class Message(Document):
    """One turn of a chat: who speaks, and the text."""

    role: Literal["system", "user", "assistant"]
    content: Annotated[str, StringConstraints(min_length=1, max_length=LIMITS.prompt_characters)]


class Row(Document):
    """One training example: a chat that ends with the assistant's answer, and the source it came from."""

    messages: Annotated[tuple[Message, ...], Field(min_length=2, max_length=LIMITS.messages)]
    source: Name = "user"

    @property
    def prompt(self) -> tuple[Message, ...]:
        """The turns that the model is given: all but the last."""
        return self.messages[:-1]

    @property
    def completion(self) -> str:
        """The assistant's last answer, on which the training loss is computed."""
        return self.messages[-1].content


@dataclass(frozen=True)
class DatasetSummary:
    """Rows, size in bytes, SHA-256 of the file and RFC 9162 root over its rows, as manifest and receipt state them."""

    rows: int
    size: int
    sha256: str
    merkle_root: str


def check_chat(messages: tuple[Message, ...]) -> None:
    """Raises `DatasetError` unless user and assistant take turns, the user first; one system turn may precede."""
    turns = messages[1:] if messages and messages[0].role == "system" else messages
    for index, message in enumerate(turns):
        if message.role != ("user", "assistant")[index % 2]:
            raise DatasetError("turns must alternate between user and assistant, the user first", cause="turns")
    if not turns:
        raise DatasetError("a chat without a user's turn", cause="no_user")


def parse_row(line: bytes) -> Row:
    """The row in one canonical line, given without its newline. Raises `DatasetError`."""
    if len(line) > LIMITS.row:
        raise DatasetError(f"a row is over {LIMITS.row} bytes", cause="size")
    try:
        row = Row.from_bytes(line)
    except VerituneError as error:
        raise DatasetError(f"not a canonical row: {error.message}", **error.metadata) from error
    check_chat(row.messages)
    if row.messages[-1].role != "assistant":
        raise DatasetError("a row must end with the assistant's answer", cause="no_answer")
    return row


def read_rows(path: Path) -> Iterator[Row]:
    """Yields the rows of a canonical data set file. Raises `DatasetError` naming the line."""
    with path.open("rb") as file:
        for number, line in enumerate(_lines(file), start=1):
            try:
                yield parse_row(line)
            except DatasetError as error:
                raise DatasetError(f"line {number}: {error.message}", line=str(number), **error.metadata) from error


def summarise(path: Path) -> DatasetSummary:
    """Figures and digests of a canonical data set file, every row of which is checked. Raises `DatasetError`."""
    digest, leaves = hashlib.sha256(), []
    for row in read_rows(path):
        line = row.to_bytes()
        digest.update(line + b"\n")
        leaves.append(leaf_hash(line))
        if len(leaves) > LIMITS.rows:
            raise DatasetError(f"more than {LIMITS.rows} rows", cause="rows")
    if not leaves:
        raise DatasetError("a data set without rows", cause="empty")
    return DatasetSummary(len(leaves), path.stat().st_size, digest.hexdigest(), MerkleTree(leaves).root.hex())


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Writes a data set file in canonical form, one row a line. Raises `MalformedDocumentError`."""
    with path.open("wb") as file:
        for row in rows:
            file.write(row.to_bytes() + b"\n")


def _lines(file: BinaryIO) -> Iterator[bytes]:
    while line := file.readline(LIMITS.row + 2):
        if not line.endswith(b"\n"):
            raise DatasetError(f"a line is over {LIMITS.row} bytes, or the last one has no newline", cause="newline")
        yield line[:-1]
