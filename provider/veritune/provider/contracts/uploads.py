"""Receives data sets: uploads can be resumed, are checked when complete, and get one signed receipt."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from veritune.common.dataset import DatasetSummary, read_rows
from veritune.common.documents.manifest import DatasetTerms
from veritune.common.envelope import Envelope
from veritune.common.errors import (
    ConflictError,
    DatasetError,
    DigestError,
    MalformedRequestError,
    OffsetError,
    TooLargeError,
    TruncatedError,
    UnavailableError,
)
from veritune.common.limits import LIMITS
from veritune.common.merkle import MerkleTree, leaf_hash
from veritune.provider.concurrency import in_thread
from veritune.provider.contracts.contracts import Contract, Contracts
from veritune.provider.receipts import Receipts
from veritune.provider.storage.blobs import BlobStore
from veritune.provider.storage.store import Store

_SUPERSEDED = "a newer stream of this data set took over"


@dataclass(frozen=True)
class Header:
    """The first message of an upload stream."""

    sha256: str
    """Digest of the whole data set."""
    total_size: int
    """Bytes of the whole data set."""
    offset: int
    """Place in the data set at which the stream begins."""


class Uploads:
    """Receives the data set of each contract, once.

    ``idle`` is the number of seconds without data after which a stream is ended.
    """

    def __init__(self, store: Store, blobs: BlobStore, contracts: Contracts, receipts: Receipts, idle: float) -> None:
        self._store = store
        self._blobs = blobs
        self._contracts = contracts
        self._receipts = receipts
        self._idle = idle
        self._turns: dict[str, _Turn] = {}

    async def state(self, contract: Contract) -> tuple[int, Envelope | None]:
        """(bytes that are on disk, the signed receipt or None while the data set is incomplete)."""
        if contract.record.dataset_receipt is not None:
            return contract.manifest.dataset.size, contract.record.dataset_receipt
        return await in_thread(self._blobs.durable, contract.digest), None

    async def receive(self, contract: Contract, header: Header, chunks: AsyncIterator[bytes]) -> Envelope:
        """The signed receipt of a data set, after appending a stream that completes it as the manifest says.

        (1) the header agrees with the manifest; (2) an earlier receipt is the answer; (3) the deadline; (4) the stream
        begins at the bytes on disk; (5) each chunk within its limit and the size; (6) all of it came; (7) digest,
        rows, Merkle root and sources are the manifest's, else the bytes are discarded; (8) stored, then answered.

        Raises `DigestError`, `ExpiredError`, `OffsetError`, `MalformedRequestError`, `TooLargeError`, `TruncatedError`,
        `DatasetError`, `UnavailableError` if no data come, `ConflictError` if a newer stream takes over.
        """
        terms = contract.manifest.dataset
        if header.sha256 != terms.sha256 or header.total_size != terms.size:  # (1)
            raise DigestError("digest or size in the header is not the manifest's")
        if contract.record.dataset_receipt is not None:  # (2)
            return contract.record.dataset_receipt
        self._contracts.require_before(contract, "train")  # (3)
        async with self._turn(contract.digest):
            await self._append(contract.digest, terms.size, header.offset, chunks)
            return await self._accept(contract.digest, terms)

    async def _append(self, name: str, size: int, offset: int, chunks: AsyncIterator[bytes]) -> None:
        durable = await in_thread(self._blobs.durable, name)
        if offset != durable:  # (4)
            raise OffsetError(f"the stream must begin at {durable}", durable=str(durable))
        try:
            async for chunk in _with_patience(chunks, self._idle):
                if not chunk:
                    raise MalformedRequestError("an empty chunk")
                if len(chunk) > LIMITS.chunk:  # (5)
                    raise TooLargeError(f"a chunk is over {LIMITS.chunk} bytes")
                if offset + len(chunk) > size:
                    raise DigestError("the stream is longer than the size that was signed", size=str(size))
                await in_thread(self._blobs.append, name, offset, chunk)
                offset += len(chunk)
        finally:
            durable = await in_thread(self._blobs.durable, name)
        if durable != size:  # (6)
            raise TruncatedError(f"the stream ended after {durable} of {size} bytes", durable=str(durable))

    async def _accept(self, name: str, terms: DatasetTerms) -> Envelope:
        part = self._blobs.part(name)
        try:
            summary = await in_thread(check_dataset, part, terms)  # (7)
        except (DigestError, DatasetError):
            await in_thread(self._blobs.discard, name)
            raise

        def keep() -> Envelope:  # (8): the part goes last, so that a crash in between costs no byte
            self._blobs.add(part, summary.sha256)
            receipt = self._store.add_dataset_receipt(name, lambda: self._receipts.dataset(name, summary))
            self._blobs.discard(name)
            return receipt

        return await in_thread(keep)

    @asynccontextmanager
    async def _turn(self, name: str) -> AsyncIterator[None]:
        """A context of one stream at a time for a contract; the newest wins, because its client gave up the older one.

        Raises `ConflictError` in the older stream.
        """
        turn = self._turns.setdefault(name, _Turn())
        turn.newest += 1
        number, mine = turn.newest, asyncio.current_task()
        turn.users += 1
        if turn.holder is not None and not turn.evicted:
            turn.evicted = True
            turn.holder.cancel()
        try:
            async with turn.lock:
                if number != turn.newest:
                    raise ConflictError(_SUPERSEDED)
                turn.holder, turn.evicted = mine, False
                try:
                    yield
                except asyncio.CancelledError:
                    if not turn.evicted or mine is None:
                        raise
                    mine.uncancel()
                    raise ConflictError(_SUPERSEDED) from None
                finally:
                    turn.holder = None
        finally:
            turn.users -= 1
            if not turn.users:
                self._turns.pop(name, None)


class _Turn:
    """The streams of one contract; ``evicted`` is True if ``holder``, the active one, was cancelled for a newer one."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.holder: asyncio.Task[object] | None = None
        self.evicted = False
        self.newest = 0
        self.users = 0


def check_dataset(path: Path, terms: DatasetTerms) -> DatasetSummary:
    """The rows, size, digest and Merkle root of an uploaded file, computed from its bytes and equal to ``terms``.

    Raises `DigestError` if they differ from ``terms``, `DatasetError` for a row that is no row.
    """
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 != terms.sha256:
        raise DigestError("the data set's SHA-256 is not the manifest's", point="sha256")
    leaves: list[bytes] = []
    sources: Counter[str] = Counter()
    for row in read_rows(path):
        leaves.append(leaf_hash(row.to_bytes()))
        sources[row.source] += 1
        if len(leaves) > terms.rows:
            raise DigestError("there are more rows than the manifest says", point="rows")
    if len(leaves) != terms.rows:
        raise DigestError("there are fewer rows than the manifest says", point="rows")
    root = MerkleTree(leaves).root.hex()
    if root != terms.merkle_root:
        raise DigestError("the data set's Merkle root is not the manifest's", point="merkle_root")
    if sources != {source.name: source.rows for source in terms.sources}:
        raise DigestError("the rows of each source are not as many as the manifest says", point="sources")
    return DatasetSummary(len(leaves), path.stat().st_size, sha256, root)


async def _with_patience(chunks: AsyncIterator[bytes], idle: float) -> AsyncIterator[bytes]:
    while True:
        try:
            async with asyncio.timeout(idle):
                chunk = await anext(chunks)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise UnavailableError(f"no data for {idle:g} s; go on from what is durable") from None
        yield chunk
