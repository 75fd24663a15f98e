from __future__ import annotations

import hashlib

import pytest

from veritune.common.canonical import canonical_bytes, labelled_digest, parse_canonical, parse_json, sha256_hex
from veritune.common.errors import MalformedDocumentError, TooLargeError


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
    with pytest.raises(MalformedDocumentError, match="canonical"):
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
