"""Who calls: an access token by the client of the contract that a call is about (SPEC section 7)."""

from __future__ import annotations

from veritune.common.token import check_token
from veritune.provider.clock import Clock
from veritune.provider.concurrency import in_thread
from veritune.provider.contracts.contracts import Contract, Contracts
from veritune.provider.storage.records import JobRecord
from veritune.provider.storage.store import Store


class Gate:
    """Lets a call through to its contract, or refuses it.

    ``header`` is the text of the call's authorization header, however the call came: ``Veritune`` and the token.
    """

    def __init__(self, contracts: Contracts, store: Store, key_id: str, clock: Clock) -> None:
        self._contracts = contracts
        self._store = store
        self._key_id = key_id
        self._clock = clock

    async def contract(self, header: str, manifest_digest: str) -> Contract:
        """The contract, once the caller has shown that it is its client.

        Raises `UnauthenticatedError`; `MalformedRequestError` or `NotFoundError` for a digest of no contract.
        """
        contract = await self._contracts.get(manifest_digest)
        check_token(header, contract.client, self._key_id, contract.digest, self._clock())
        return contract

    async def job(self, header: str, job_id: str) -> tuple[Contract, JobRecord]:
        """The job and its contract, once the caller has shown that it is the contract's client.

        Raises `UnauthenticatedError`, and `NotFoundError` for no such job.
        """
        job = await in_thread(self._store.job, job_id)
        return await self.contract(header, job.manifest_digest), job
