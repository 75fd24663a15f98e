from __future__ import annotations

import pytest

from veritune.common.dataset import Message
from veritune.common.errors import AuditError, Code, MalformedRequestError, TooLargeError, error_classes
from veritune.common.inference import (
    SamplingTerms,
    format_logprob,
    generate_digest,
    score_digest,
    score_output_digest,
    text_output_digest,
)
from veritune.common.wire import messages_from_wire, messages_to_wire
from veritune.v1 import inference_service_pb2 as pb

CHAT = (Message(role="system", content="Be brief."), Message(role="user", content="2+2?"))


def test_chats_cross_the_wire() -> None:
    assert messages_from_wire(messages_to_wire(CHAT)) == CHAT


@pytest.mark.parametrize(
    "turns",
    [
        [],
        [("user", "")],
        [("tool", "x")],
        [("system", "x")],
        [("user", "x"), ("assistant", "y")],
        [("user", "x"), ("user", "y")],
    ],
)
def test_refuses_what_is_no_chat(turns: list[tuple[str, str]]) -> None:
    with pytest.raises(MalformedRequestError):
        messages_from_wire([pb.Message(role=role, content=content) for role, content in turns])


def test_limits() -> None:
    with pytest.raises(TooLargeError):
        messages_from_wire([pb.Message(role="user", content="x")] * 129)
    with pytest.raises(TooLargeError):
        messages_from_wire([pb.Message(role="user", content="x" * 131_073)])


def test_digests_differ_in_every_part() -> None:
    nonce, terms = b"n" * 32, SamplingTerms()
    digests = [
        generate_digest("j", CHAT, terms, nonce),
        generate_digest("k", CHAT, terms, nonce),
        generate_digest("j", CHAT[1:], terms, nonce),
        generate_digest("j", CHAT, SamplingTerms(max_tokens=1), nonce),
        generate_digest("j", CHAT, terms, b"m" * 32),
        score_digest("j", CHAT, ["a"], nonce),
        score_digest("j", CHAT, ["a", "b"], nonce),
        text_output_digest("a", "stop", nonce),
        text_output_digest("a", "length", nonce),
        text_output_digest("a", "stop", b"m" * 32),
        score_output_digest(["-1.000000"], nonce),
        score_output_digest(["-1.000001"], nonce),
    ]
    assert len(set(digests)) == len(digests)


def test_logprobs_have_one_text() -> None:
    assert format_logprob(-1.23456789) == "-1.234568"
    assert format_logprob(-1e-9) == "0.000000"


def test_every_error_has_its_own_reason_and_a_code() -> None:
    table = error_classes()
    for reason, cls in table.items():
        assert reason.isupper()
        assert isinstance(cls.code, Code)
        assert cls.__doc__
    error = AuditError(7, "the root differs")
    assert (error.check, error.metadata, str(error)) == (
        7,
        {"check": "7", "party": "client"},
        "[AUDIT_FAILED] check (7): the root differs",
    )
