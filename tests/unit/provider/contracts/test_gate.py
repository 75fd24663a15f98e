"""The gate asks for the header's text alone: only the contract's client passes, by a live token for this provider."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.daemon import make_deadlines, make_rows, manifest_for
from veritune.common.errors import MalformedRequestError, NotFoundError, UnauthenticatedError
from veritune.common.keys import PrivateKey
from veritune.common.signing import sign_document
from veritune.common.token import LIFETIME, issue_token
from veritune.provider.contracts.contracts import Contracts
from veritune.provider.contracts.gate import Gate
from veritune.provider.contracts.policy import ProviderPolicy
from veritune.provider.models.catalog import ModelCatalog, OfferedModel
from veritune.provider.storage.records import JobRecord
from veritune.provider.storage.store import Store

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
KEY, CLIENT = PrivateKey.generate(), PrivateKey.generate()
PROVIDER = KEY.public.key_id


class Door:
    """A gate over a real store with one contract and one job of it."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(f"sqlite:///{folder / 'db'}")
        models = ModelCatalog((OfferedModel("tiny", "2" * 64, folder),))
        self.contracts = Contracts(self.store, KEY, models, ProviderPolicy(), lambda: NOW)
        self.gate = Gate(self.contracts, self.store, PROVIDER, lambda: NOW)

    async def digest(self) -> str:
        manifest = manifest_for(
            CLIENT.public, KEY.public, "tiny", "2" * 64, make_rows(4), deadlines=make_deadlines(NOW)
        )
        digest = (await self.contracts.negotiate(sign_document(manifest, CLIENT))).digest
        self.store.add_job(JobRecord("job-1", digest, "first", NOW), 1)
        return digest


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


async def test_the_client_passes(door: Door) -> None:
    digest = await door.digest()
    header = issue_token(CLIENT, PROVIDER, digest, NOW)
    assert (await door.gate.contract(header, digest)).digest == digest
    contract, job = await door.gate.job(header, "job-1")
    assert (contract.digest, job.job_id) == (digest, "job-1")


async def test_nobody_else_does(door: Door) -> None:
    digest = await door.digest()
    for header in (
        "",
        "Veritune ",
        "Bearer x",
        issue_token(PrivateKey.generate(), PROVIDER, digest, NOW),
        issue_token(CLIENT, "0" * 64, digest, NOW),
        issue_token(CLIENT, PROVIDER, "0" * 64, NOW),
        issue_token(CLIENT, PROVIDER, digest, NOW - 2 * LIFETIME),
        issue_token(CLIENT, PROVIDER, digest, NOW + timedelta(hours=1)),
    ):
        with pytest.raises(UnauthenticatedError):
            await door.gate.contract(header, digest)
        with pytest.raises(UnauthenticatedError):
            await door.gate.job(header, "job-1")


async def test_what_is_no_contract_or_job_is_said_so(door: Door) -> None:
    digest = await door.digest()
    header = issue_token(CLIENT, PROVIDER, digest, NOW)
    with pytest.raises(MalformedRequestError):
        await door.gate.contract(header, "x")
    with pytest.raises(NotFoundError):
        await door.gate.contract(header, "0" * 64)
    with pytest.raises(NotFoundError):
        await door.gate.job(header, "job-2")
