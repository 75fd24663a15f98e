"""The shipped data set is what its script makes, and its records can be read off its messages."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[4] / "examples" / "tickets"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(FOLDER / "make_tickets.py"))


@pytest.fixture(scope="module")
def rows() -> list[tuple[str, dict[str, Any]]]:
    lines = (FOLDER / "tickets.jsonl").read_text(encoding="utf-8").splitlines()
    chats = [json.loads(line)["messages"] for line in lines]
    assert all([message["role"] for message in chat] == ["system", "user", "assistant"] for chat in chats)
    return [(chat[1]["content"], json.loads(chat[2]["content"])) for chat in chats]


def test_the_script_makes_the_shipped_bytes(script: dict[str, Any]) -> None:
    assert script["make"](300, 7).encode() == (FOLDER / "tickets.jsonl").read_bytes()
    assert script["make"](20, 8) != script["make"](20, 7)


def test_every_fact_of_a_record_stands_in_its_message(rows: list[tuple[str, dict[str, Any]]]) -> None:
    for message, record in rows:
        assert list(record) == ["name", "order", "item", "issue", "want"]
        assert record["name"] in message
        assert str(record["order"]) in message
        assert record["item"] in message
        assert "{" not in message


def test_messages_differ_and_every_class_is_there_often(rows: list[tuple[str, dict[str, Any]]]) -> None:
    assert len({message for message, _ in rows}) == len(rows) == 300
    for key, values in (("issue", 5), ("want", 4)):
        counts = [sum(record[key] == value for _, record in rows) for value in {r[key] for _, r in rows}]
        assert len(counts) == values
        assert min(counts) >= 20
