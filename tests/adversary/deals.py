"""Both sides of one contract in memory and over TLS: a client's session and the provider that may lie to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.adversary.fake_provider import FakeProvider
from veritune.client.exchange.channel import Channel
from veritune.client.exchange.inference_client import InferenceClient
from veritune.client.exchange.provider_client import JobView, ProviderClient
from veritune.client.exchange.receipt_numbers import ReceiptNumbers
from veritune.client.job.file import parse_job
from veritune.client.run.offer import build_manifest
from veritune.client.sowing.prepared import SownFigures
from veritune.common.dataset import Message, Row, summarise, write_rows
from veritune.common.documents.manifest import Manifest
from veritune.common.documents.receipts import DatasetReceipt
from veritune.common.envelope import Envelope
from veritune.common.keys import PrivateKey
from veritune.common.signing import Signed, sign_document

JOB = b"""
[data]
file = "rows.jsonl"
[provider]
address = "127.0.0.1:1"
public_key = "provider.pub"
[model]
name = "tiny"
folder = "model"
"""
FILES = {"adapter_config.json": b"{}", "adapter_model.safetensors": bytes(range(256)) * 20}


@dataclasses.dataclass
class Deal:
    """Both sides of one contract, ready for the next step."""

    fake: FakeProvider
    session: ProviderClient
    channel: Channel
    key: PrivateKey
    offer: Envelope
    manifest: Manifest
    rows: Path
    folder: Path
    contract: Signed[Manifest] | None = None
    receipt: Signed[DatasetReceipt] | None = None

    def to_contract(self) -> Signed[Manifest]:
        self.contract = self.session.negotiate(self.offer)
        return self.contract

    def to_contract_with_a_look(self) -> Signed[Manifest]:
        self.session.provider_info()
        return self.to_contract()

    def to_upload(self) -> Signed[DatasetReceipt]:
        contract = self.to_contract()
        self.receipt = self.session.upload(contract, self.rows)
        return self.receipt

    def to_training(self, on_change: Callable[[JobView], None] = lambda view: None) -> Any:
        receipt = self.to_upload()
        assert self.contract is not None
        job_id = self.session.start(self.contract, "request-1")
        return self.session.watch(self.contract, receipt, job_id, on_change)

    def to_adapter(self) -> Path:
        training = self.to_training()
        assert self.contract is not None
        self.session.download(self.contract, training.document, self.folder)
        return self.folder

    def endpoint(self, numbers: ReceiptNumbers | None = None) -> InferenceClient:
        receipt = self.to_training()
        assert self.contract is not None
        return InferenceClient(
            self.channel, self.fake.key.public, self.contract.digest, receipt.digest, receipt.document.job_id, numbers
        )


@contextmanager
def open_deal(tmp_path: Path) -> Iterator[Deal]:
    """A client and a provider, before the contract is offered."""
    fake = FakeProvider(tmp_path, FILES)
    key = PrivateKey.generate()
    rows = tmp_path / "train.jsonl"
    write_rows(
        rows,
        [
            Row(messages=(Message(role="user", content=f"q {i}"), Message(role="assistant", content="a")))
            for i in range(5)
        ],
    )
    manifest = build_manifest(
        parse_job(JOB),
        summarise(rows),
        SownFigures("2" * 64, 16, 2, "3" * 64, {"user": 5}),
        "4" * 64,
        key.public,
        fake.key.public,
        datetime.now(UTC),
        "5" * 64,
    )
    channel = Channel(fake.address, key, fake.key.public, fake.tls_ca, sleep=lambda seconds: None, patience=2.0)
    session = ProviderClient(channel, key.public, fake.key.public)
    yield Deal(fake, session, channel, key, sign_document(manifest, key), manifest, rows, tmp_path / "adapter")
    channel.close()
    fake.stop()
