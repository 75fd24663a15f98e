"""Authenticates calls: each needs an access token by the client of the contract that it concerns (SPEC section 7)."""

from __future__ import annotations

from veritune.common.token import check_token
from veritune.provider.clock import Clock
from veritune.provider.concurrency import in_thread
from veritune.provider.contracts.contracts import Contract, Contracts
from veritune.provider.storage.records import JobRecord
from veritune.provider.storage.store import Store


class Gate:
    """Finds the contract of a call after checking the caller's access token.

    ``header`` is the text of the call's authorization header, however the call came: ``Veritune`` and the token.
    """

    def __init__(self, contracts: Contracts, store: Store, key_id: str, clock: Clock) -> None:
        self._contracts = contracts
        self._store = store
        self._key_id = key_id
        self._clock = clock

    async def contract(self, header: str, manifest_digest: str) -> Contract:
        """The contract of that digest, whose client signed the call's access token.

        Raises `UnauthenticatedError` without a valid token, `MalformedRequestError` or `NotFoundError` for the digest.
        """
        contract = await self._contracts.get(manifest_digest)
        check_token(header, contract.client, self._key_id, contract.digest, self._clock())
        return contract

    async def job(self, header: str, job_id: str) -> tuple[Contract, JobRecord]:
        """The contract of a job and the job, if the contract's client signed the call's access token.

        Raises `UnauthenticatedError` without a valid token, `NotFoundError` for an unknown job.
        """
        job = await in_thread(self._store.job, job_id)
        return await self.contract(header, job.manifest_digest), job
