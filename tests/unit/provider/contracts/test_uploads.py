"""What is checked of a data set once all its bytes are there, and how a stream may end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.daemon import dataset_terms, make_deadlines, make_rows, manifest_for, row_bytes
from tests.support.errors import fails
from tests.support.waiting import endless
from veritune.common.dataset import Row, write_rows
from veritune.common.documents.manifest import DatasetTerms, Source
from veritune.common.envelope import Envelope
from veritune.common.errors import (
    ConflictError,
    DatasetError,
    DigestError,
    ExpiredError,
    OffsetError,
    TruncatedError,
    UnavailableError,
    VerituneError,
)
from veritune.common.keys import PrivateKey
from veritune.common.signing import sign_document
from veritune.provider.contracts.contracts import Contract, Contracts
from veritune.provider.contracts.policy import ProviderPolicy
from veritune.provider.contracts.uploads import Header, Uploads, check_dataset
from veritune.provider.models.catalog import ModelCatalog, OfferedModel
from veritune.provider.receipts import Receipts
from veritune.provider.storage.blobs import BlobStore
from veritune.provider.storage.store import Store

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
ROWS = [*make_rows(10), *make_rows(5, "other")]
DATA = row_bytes(ROWS)
TERMS = dataset_terms(ROWS)


def check(tmp_path: Path, terms: DatasetTerms, rows: list[Row] = ROWS) -> None:
    path = tmp_path / "rows"
    write_rows(path, rows)
    check_dataset(path, terms)


def test_the_right_rows_pass(tmp_path: Path) -> None:
    check(tmp_path, TERMS)


@pytest.mark.parametrize(
    ("point", "changes"),
    [
        ("sha256", {"sha256": "0" * 64}),
        ("rows", {"rows": 14}),
        ("rows", {"rows": 16}),
        ("merkle_root", {"merkle_root": "0" * 64}),
        ("sources", {"sources": (Source(name="user", licence="x", rows=15, rows_per_epoch=15),)}),
    ],
)
def test_each_figure_is_computed_anew(tmp_path: Path, point: str, changes: dict[str, object]) -> None:
    with fails(DigestError, point=point):
        check(tmp_path, TERMS.model_copy(update=changes))


def test_a_broken_row_is_named_by_its_line(tmp_path: Path) -> None:
    import hashlib

    path = tmp_path / "rows"
    data = DATA.replace(b'"role":"user"', b'"role":"nobody"', 1)
    path.write_bytes(data)
    with fails(DatasetError, line="1"):
        check_dataset(path, TERMS.model_copy(update={"sha256": hashlib.sha256(data).hexdigest()}))


class Desk:
    """Uploads over a real store and folder, with a clock that the test turns."""

    def __init__(self, folder: Path, idle: float = 60) -> None:
        self.now = START
        self.store = Store(f"sqlite:///{folder / 'db'}")
        key, self.client = PrivateKey.generate(), PrivateKey.generate()
        models = ModelCatalog((OfferedModel("tiny", "2" * 64, folder),))
        self.contracts = Contracts(self.store, key, models, ProviderPolicy(), lambda: self.now)
        self.blobs = BlobStore(folder / "blobs")
        receipts = Receipts(key, lambda: self.now)
        self.uploads = Uploads(self.store, self.blobs, self.contracts, receipts, idle)
        self.manifest = manifest_for(
            self.client.public, key.public, "tiny", "2" * 64, ROWS, deadlines=make_deadlines(START)
        )

    async def contract(self) -> Contract:
        digest = (await self.contracts.negotiate(sign_document(self.manifest, self.client))).digest
        return await self.contracts.get(digest)

    async def send(self, data: bytes, offset: int = 0, size: int = 700) -> Envelope:
        async def chunks() -> AsyncIterator[bytes]:
            for start in range(offset, len(data), size):
                yield data[start : start + size]

        header = Header(TERMS.sha256, TERMS.size, offset)
        return await self.uploads.receive(await self.contract(), header, chunks())


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


async def test_piece_by_piece(desk: Desk) -> None:
    with pytest.raises(TruncatedError) as caught:
        await desk.send(DATA[:1000])
    assert caught.value.metadata == {"durable": "1000"}
    with pytest.raises(OffsetError) as wrong:
        await desk.send(DATA, 500)
    assert wrong.value.metadata == {"durable": "1000"}
    receipt = await desk.send(DATA, 1000)
    assert await desk.uploads.state(await desk.contract()) == (len(DATA), receipt)
    assert desk.blobs.path(TERMS.sha256).read_bytes() == DATA
    assert await desk.send(DATA) == receipt


async def test_all_bytes_but_no_receipt_yet(desk: Desk) -> None:
    """As after a crash between the last byte and the receipt: an empty stream from the end is enough."""
    contract = await desk.contract()
    desk.blobs.append(contract.digest, 0, DATA)
    receipt = await desk.send(DATA, len(DATA))
    assert (await desk.uploads.state(await desk.contract()))[1] == receipt


async def test_too_late(desk: Desk) -> None:
    contract = await desk.contract()
    desk.now = START.replace(hour=15)
    with pytest.raises(ExpiredError) as caught:
        await desk.uploads.receive(contract, Header(TERMS.sha256, TERMS.size, 0), endless())
    assert caught.value.metadata == {"step": "train"}


async def test_a_silent_client_is_given_up(tmp_path: Path) -> None:
    desk = Desk(tmp_path, idle=0.1)
    with pytest.raises(UnavailableError):
        await desk.uploads.receive(await desk.contract(), Header(TERMS.sha256, TERMS.size, 0), endless())


async def test_the_newest_stream_wins(desk: Desk) -> None:
    contract = await desk.contract()
    header = Header(TERMS.sha256, TERMS.size, 0)
    asked = asyncio.Event()
    old = [asyncio.create_task(_outcome(desk.uploads, contract, header, asked)) for _ in range(3)]
    await asyncio.wait_for(asked.wait(), 30)
    receipt = await desk.send(DATA)
    assert await desk.send(DATA) == receipt
    assert set(await asyncio.gather(*old)) == {ConflictError}


async def _outcome(
    uploads: Uploads, contract: Contract, header: Header, asked: asyncio.Event
) -> type[VerituneError] | None:
    try:
        await uploads.receive(contract, header, endless(asked))
    except VerituneError as error:
        return type(error)
    return None
