"""The log of one session's answers in one mode; a challenge that was killed resumes from it.

The file has one canonical JSON object on each line and mode 0600. Each answer is on disk before the next question is
asked. A nonce is written before its call is made: a call that was under way when the process died is repeated with the
same nonce, and the provider returns the receipt that it has already signed instead of a new one.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from veritune.arbiter.documents.evidence import Answer, EnvelopeDocument, Nonce, ReceiptRef
from veritune.arbiter.documents.judgement import Mode
from veritune.client.workspace.folder import Workspace
from veritune.common.documents.base import DecimalString, Document, HexDigest
from veritune.common.errors import BadFileError, ChangedError
from veritune.common.files import own_file
from veritune.common.inference import SamplingTerms
from veritune.common.limits import LIMITS

Scores = Annotated[tuple[DecimalString, ...], Field(max_length=256)]


class Entry(Document):
    """The answer to one question, which is named by its digest.

    ``text`` and ``finish_reason`` are a generated answer; ``tuned`` and ``base`` are log-probabilities (nats) of the
    candidates. ``asked`` and ``receipt`` are set in the served mode only.
    """

    question: HexDigest
    text: Answer = ""
    finish_reason: Literal["stop", "length"] = "stop"
    tuned: Scores = ()
    base: Scores = ()
    asked: ReceiptRef | None = None
    receipt: EnvelopeDocument | None = None


class _Line(Document):
    sampling: SamplingTerms | None = None
    nonce: Nonce | None = None
    question: HexDigest | None = None
    entry: Entry | None = None


class AnswerLog:
    """The entries and nonces of one log file, read once and then appended to.

    An incomplete last line, left by a crash, is removed. Raises `BadFileError` for any other line that can't be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.entries: dict[str, Entry] = {}
        self.nonces: dict[str, str] = {}
        """Nonces (hexadecimal) by the digest of their question, answered or not."""
        self.sampling: SamplingTerms | None = None
        """The sampling settings of this session's answers; None in a new log."""
        data = path.read_bytes() if path.exists() else b""
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            with path.open("r+b") as file:
                file.truncate(len(whole))
        for number, line in enumerate(whole.splitlines(), start=1):
            if len(line) > LIMITS.document:
                raise BadFileError(f"{path.name}, line {number} is too long", cause="size", file=path.name)
            with own_file(path):
                self._take(_Line.from_bytes(line))

    def begin(self, sampling: SamplingTerms) -> None:
        """Records the session's sampling settings. Raises `ChangedError` if it has begun with others."""
        if self.sampling is None:
            self._append(_Line(sampling=sampling))
        elif self.sampling != sampling:
            raise ChangedError(
                f"challenge.max_tokens was {self.sampling.max_tokens} when this challenge was begun; keep it",
                setting="challenge.max_tokens",
                was=str(self.sampling.max_tokens),
            )

    def nonce(self, question: str) -> bytes:
        """The nonce of a question, 32 bytes; it is made and written to disk at the first call."""
        if question not in self.nonces:
            self._append(_Line(question=question, nonce=os.urandom(32).hex()))
        return bytes.fromhex(self.nonces[question])

    def add(self, entry: Entry) -> None:
        """Appends an answer and syncs the file to disk."""
        self._append(_Line(entry=entry))

    def _take(self, line: _Line) -> None:
        if line.sampling is not None:
            self.sampling = line.sampling
        elif line.entry is not None:
            self.entries[line.entry.question] = line.entry
        elif line.question is not None and line.nonce is not None:
            self.nonces[line.question] = line.nonce

    def _append(self, line: _Line) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(line.to_bytes() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._take(line)


class SessionLogs:
    """The logs of one session and those before it in a run's folder; each file is read once."""

    def __init__(self, workspace: Workspace, session: int) -> None:
        self._workspace, self._session = workspace, session
        self._read: dict[tuple[int, Mode], AnswerLog] = {}

    def of(self, mode: Mode) -> AnswerLog:
        """The log of this session in one mode. Raises `BadFileError` for a damaged file."""
        return self._log(self._session, mode)

    @property
    def served_so_far(self) -> list[AnswerLog]:
        """The served logs of this session and all before it: a contract's receipts are numbered across sessions."""
        return [self._log(number, "served") for number in range(1, self._session + 1)]

    def _log(self, session: int, mode: Mode) -> AnswerLog:
        if (session, mode) not in self._read:
            self._read[session, mode] = AnswerLog(self._workspace.answers(session, mode))
        return self._read[session, mode]
