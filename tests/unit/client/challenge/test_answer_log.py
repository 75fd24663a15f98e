"""The logs of a session: each file is read once, and what is added is seen by all who hold the logs."""

from __future__ import annotations

from pathlib import Path

import pytest

from veritune.client.challenge import answer_log
from veritune.client.challenge.answer_log import AnswerLog, Entry, SessionLogs
from veritune.client.workspace.folder import Workspace
from veritune.common.inference import SamplingTerms

A, B = "a" * 64, "b" * 64


def _write(path: Path, question: str) -> None:
    log = AnswerLog(path)
    log.begin(SamplingTerms(max_tokens=9))
    log.add(Entry(question=question, text="x"))


def test_each_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    class Watched(AnswerLog):
        def __init__(self, path: Path) -> None:
            read.append(path.name)
            super().__init__(path)

    monkeypatch.setattr(answer_log, "AnswerLog", Watched)
    logs = SessionLogs(Workspace(tmp_path), 3)
    assert not read  # nothing before it is asked for
    for _ in range(2):
        assert logs.of("delivered") is logs.of("delivered")
        assert [log is logs.of("served") for log in logs.served_so_far] == [False, False, True]
    assert sorted(read) == [
        "answers-1-served.jsonl",
        "answers-2-served.jsonl",
        "answers-3-delivered.jsonl",
        "answers-3-served.jsonl",
    ]


def test_answers_on_disk_and_answers_since_are_there(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    _write(space.answers(1, "served"), A)
    logs = SessionLogs(space, 2)
    assert [list(log.entries) for log in logs.served_so_far] == [[A], []]
    logs.of("served").add(Entry(question=B, text="y"))
    assert [list(log.entries) for log in logs.served_so_far] == [[A], [B]]
    assert list(SessionLogs(space, 2).of("served").entries) == [B]
