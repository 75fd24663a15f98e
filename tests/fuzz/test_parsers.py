"""Whatever bytes come in, a parser answers with a value or a coded error, never with a foreign exception."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conformance.spec_example import example
from tests.support.canaries import parse_canary
from veritune.arbiter.documents.evidence import Evidence
from veritune.common.canonical import canonical_bytes, parse_json
from veritune.common.dataset import parse_row, summarise
from veritune.common.documents.manifest import Manifest
from veritune.common.documents.receipts import DatasetReceipt, InferenceReceipt, TrainingReceipt
from veritune.common.envelope import Envelope
from veritune.common.errors import VerituneError
from veritune.common.keys import PublicKey
from veritune.common.token import unverified_envelope

PARSERS: dict[str, Callable[[bytes], object]] = {
    "json": parse_json,
    "envelope": Envelope.from_json,
    "manifest": Manifest.from_bytes,
    "dataset receipt": DatasetReceipt.from_bytes,
    "training receipt": TrainingReceipt.from_bytes,
    "inference receipt": InferenceReceipt.from_bytes,
    "row": parse_row,
    "canary": parse_canary,
    "evidence": Evidence.from_bytes,
    "token": lambda data: unverified_envelope(data.decode("latin-1")),
    "public key": lambda data: PublicKey.from_text(data.decode("latin-1")),
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
GOOD = {name: text.encode() for name, text in example()}
SEEDS = [GOOD["manifest"], GOOD["training receipt"], GOOD["dataset receipt"], GOOD["row 0"], GOOD["canary 1"]]


def survives(parse: Callable[[bytes], object], data: bytes) -> None:
    try:
        parse(data)
    except VerituneError as error:
        assert error.reason  # noqa: PT017 - the point is that nothing else is raised


@pytest.mark.parametrize("name", PARSERS)
@given(data=st.binary(max_size=300))
def test_random_bytes(name: str, data: bytes) -> None:
    survives(PARSERS[name], data)


@pytest.mark.parametrize("name", PARSERS)
@given(value=JSON)
def test_random_json(name: str, value: Any) -> None:
    survives(PARSERS[name], json.dumps(value).encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("name", PARSERS)
@given(data=st.data())
@settings(max_examples=150)
def test_mutated_documents(name: str, data: st.DataObject) -> None:
    bad = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(bad)))
        end = min(len(bad), start + data.draw(st.integers(0, 8)))
        bad[start:end] = data.draw(st.binary(max_size=8))
    survives(PARSERS[name], bytes(bad))


@given(path=st.lists(st.sampled_from(sorted(json.loads(GOOD["manifest"]))), min_size=1, max_size=1), value=JSON)
def test_a_manifest_with_any_field_replaced(path: list[str], value: Any) -> None:
    document = {**json.loads(GOOD["manifest"]), path[0]: value}
    try:
        data = canonical_bytes(document)
    except VerituneError:
        return
    survives(Manifest.from_bytes, data)


@given(data=st.binary(max_size=400))
@settings(max_examples=50)
def test_data_set_files(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path: Path = tmp_path_factory.getbasetemp() / "fuzz.jsonl"
    path.write_bytes(GOOD["row 0"] + b"\n" + data)
    survives(lambda _: summarise(path), b"")
