from __future__ import annotations

import contextlib
import hashlib
import json
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.errors import fails
from veritune.common.canonical import canonical_bytes, labelled_digest, parse_canonical, parse_json, sha256_hex
from veritune.common.errors import MalformedDocumentError, TooLargeError, VerituneError
from veritune.common.limits import LIMITS


def test_sorts_keys_by_utf16_and_drops_white_space() -> None:
    # RFC 8785 section 3.2.3: U+1F600 sorts before U+FB33 because its first UTF-16 unit is smaller.
    value = {"\ufb33": 1, "\U0001f600": 2, "b": [1, 2], "a": None}
    assert canonical_bytes(value) == '{"a":null,"b":[1,2],"\U0001f600":2,"\ufb33":1}'.encode()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, {"a": "\ud800"}, {1: 2}, b"x"])
def test_refuses_what_json_cannot_say(value: object) -> None:
    with pytest.raises(MalformedDocumentError):
        canonical_bytes(value)


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":2}',
        b'{"a":{"b":1,"b":1}}',
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"1e999",
        b'{"a":[-1e400]}',
        b"{",
        b"",
        b"\xff",
        b'"\xed\xa0\x80"',
        b"[" * 33 + b"]" * 33,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
    ],
)
def test_refuses_bad_json(data: bytes) -> None:
    with pytest.raises(MalformedDocumentError):
        parse_json(data)


def test_brackets_inside_strings_are_no_nesting() -> None:
    assert parse_json(b'["' + b"[" * 100 + b'\\"{{{"]') == ["[" * 100 + '"{{{']


def test_length_is_checked_before_anything_else() -> None:
    with pytest.raises(TooLargeError):
        parse_json(b"[" * 100, limit=99)
    with pytest.raises(TooLargeError):
        parse_json(b"\0" * 10_000_000)


@pytest.mark.parametrize("data", [b'{"b":1,"a":2}', b'{"a": 1}', b"1.0", b"[1] ", b'"\\u0041"'])
def test_only_the_canonical_form_passes(data: bytes) -> None:
    assert parse_json(data) is not None
    with fails(MalformedDocumentError, cause="canonical"):
        parse_canonical(data)


def test_canonical_round_trip() -> None:
    assert parse_canonical(b'{"a":[1,"x"]}') == {"a": [1, "x"]}


def test_sha256_hex() -> None:
    assert sha256_hex(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_labelled_digest_separates_labels_and_parts() -> None:
    plain = b"l\x00" + (1).to_bytes(8, "big") + b"a" + (2).to_bytes(8, "big") + b"bc"
    assert labelled_digest("l", b"a", b"bc") == hashlib.sha256(plain).digest()
    digests = {labelled_digest("l", b"ab", b"c"), labelled_digest("l", b"a", b"bc"), labelled_digest("m", b"a", b"bc")}
    assert len(digests) == 3


# What is repeated between a head and a tail. None of it is signed; a stranger may send it.
HOSTILE = {
    "escaped quotes without an end": (b'"', b'\\"', b""),
    "escaped quotes and a lone last backslash": (b'"', b'\\"', b"\\"),
    "escaped quotes with an end": (b'"', b'\\"', b'"'),
    "escaped backslashes without an end": (b'"', b"\\\\", b""),
    "a letter and an escaped quote": (b'"', b'a\\"', b""),
    "a plain string without an end": (b'"', b"a", b""),
    "a plain string": (b'"', b"a", b'"'),
    "quotes alone": (b"", b'"', b""),
    "backslashes alone": (b"", b"\\", b""),
    "backslashes in a string": (b'"', b"\\", b'"'),
    "quote and backslash in turn": (b"", b'"\\', b""),
    "opening brackets": (b"", b"[", b""),
    "brackets in pairs": (b"", b"[]", b""),
    "brackets in a string without an end": (b'"', b'[\\"{', b""),
    "escaped bracket strings": (b"[", b'"[\\"",', b'""]'),
    "objects in objects": (b"", b'{"a":', b""),
    "white space": (b"", b" ", b""),
    "digits": (b"", b"1", b""),
    "a long fraction": (b"0.", b"1", b""),
    "lists": (b"[", b"[],", b"[]]"),
}


def seconds(data: bytes) -> float:
    """The least of five: noise only ever adds."""
    spent = []
    for _ in range(5):
        began = time.process_time_ns()
        with contextlib.suppress(VerituneError):
            parse_canonical(data, LIMITS.evidence)
        spent.append(time.process_time_ns() - began)
    return min(spent)


@pytest.mark.parametrize("shape", HOSTILE)
def test_twice_the_bytes_take_about_twice_the_time(shape: str) -> None:
    head, unit, tail = HOSTILE[shape]
    # Doubled five times: 32 times the bytes take 32 times the time, or 1,024 times where each byte is read again.
    small, large = (head + unit * (size // len(unit)) + tail for size in (1024, 32 * 1024))
    assert seconds(large) < 200 * max(seconds(small), 20_000)


@pytest.mark.parametrize("shape", HOSTILE)
def test_nesting_is_measured_in_little_memory(shape: str) -> None:
    head, unit, tail = HOSTILE[shape]
    data = head + unit * ((1 << 18) // len(unit)) + tail
    tracemalloc.start()
    try:
        with contextlib.suppress(VerituneError):
            parse_json(data, LIMITS.evidence)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Text, and the values of a valid one; the old search took 125 bytes a byte.
    assert peak < 48 * len(data)


@given(data=st.lists(st.sampled_from(list('"\\[]{},:a0 ')), max_size=40).map("".join))
def test_nesting_is_that_of_the_parser(data: str) -> None:
    deep = "[" * (LIMITS.json_depth - 2) + data + "]" * (LIMITS.json_depth - 2)
    try:
        value: Any = json.loads(deep)
    except ValueError:
        with pytest.raises(MalformedDocumentError):
            parse_json(deep.encode())
        return
    if nesting(value) > LIMITS.json_depth:
        with fails(MalformedDocumentError, cause="depth"):
            parse_json(deep.encode())
    elif '"a":' not in deep and '"":' not in deep:  # a key may stand twice
        assert parse_json(deep.encode()) == value


def nesting(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(nesting, value), default=0) if isinstance(value, list) else 0
