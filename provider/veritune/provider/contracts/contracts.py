"""Checks, countersigns, stores and finds contracts."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from veritune.arbiter.papers import key_ref
from veritune.common.canonical import sha256_hex
from veritune.common.documents.base import parse_time
from veritune.common.documents.manifest import Manifest
from veritune.common.envelope import Envelope, countersign
from veritune.common.errors import (
    ExpiredError,
    MalformedDocumentError,
    MalformedRequestError,
    SignatureError,
)
from veritune.common.keys import PrivateKey, PublicKey
from veritune.common.signing import open_document
from veritune.provider.clock import Clock
from veritune.provider.concurrency import in_thread
from veritune.provider.contracts.policy import ProviderPolicy, check_manifest
from veritune.provider.models.catalog import ModelCatalog
from veritune.provider.storage.records import ContractRecord
from veritune.provider.storage.store import Store

_CACHED = 256


@dataclass(frozen=True)
class Contract:
    """A contract that both parties have signed."""

    record: ContractRecord
    """What the database holds of the contract."""
    manifest: Manifest
    """The parsed document that was signed."""
    client: PublicKey
    """The client's key, from the manifest."""

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest's bytes, hexadecimal."""
        return self.record.digest


class Contracts:
    """Every contract that this provider has signed."""

    def __init__(
        self, store: Store, key: PrivateKey, models: ModelCatalog, policy: ProviderPolicy, clock: Clock
    ) -> None:
        self._store = store
        self._key = key
        self._models = models
        self._policy = policy
        self._clock = clock
        self._manifests: OrderedDict[str, tuple[Manifest, PublicKey]] = OrderedDict()

    async def negotiate(self, offer: Envelope) -> Envelope:
        """The offer with both signatures; if the same payload was signed before, the envelope stored then.

        (1) the form of envelope and manifest; (2) the client's signature, by the key that the manifest names;
        (3) the provider named is this one; (4) base model, deadlines and the policy's points; (5) countersigned,
        stored, answered.

        Raises `MalformedDocumentError` or `TooLargeError` (1), `SignatureError` (1 to 3), `PolicyError`, `ExpiredError`
        or `UnknownModelError` (4), and `QuotaError` for too many open contracts.
        """
        return (await in_thread(self._negotiate, offer)).envelope

    async def get(self, digest: str) -> Contract:
        """The contract of that digest.

        Raises `MalformedRequestError` for text that is no digest, `NotFoundError` for an unknown contract.
        """
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            raise MalformedRequestError("manifest_digest must be a SHA-256 in lower-case hexadecimal")
        record = await in_thread(self._store.contract, digest)
        if digest not in self._manifests:
            manifest = Manifest.from_bytes(record.envelope.payload)
            self._manifests[digest] = (manifest, PublicKey.from_text(manifest.client.public_key))
            while len(self._manifests) > _CACHED:
                self._manifests.popitem(last=False)
        manifest, client = self._manifests[digest]
        return Contract(record, manifest, client)

    def require_before(self, contract: Contract, step: str) -> None:
        """Raises `ExpiredError` once the deadline called ``step`` has passed."""
        if self._clock() > parse_time(getattr(contract.manifest.deadlines, step)):
            raise ExpiredError(f"the contract's deadline {step} has passed", step=step)

    def _negotiate(self, offer: Envelope) -> ContractRecord:
        # (1), (2): the manifest names the key, so its form comes before its signature; nothing else is read before.
        if offer.payload_type != Manifest.payload_type:
            raise SignatureError(f"expected an envelope of type {Manifest.payload_type}")
        claimed = Manifest.from_bytes(offer.payload)
        client = PublicKey.from_text(claimed.client.public_key)
        if client.key_id != claimed.client.key_id:
            raise MalformedDocumentError("the client's key_id is not that of its key")
        manifest = open_document(Manifest, offer, client).document
        # (3)
        mine = self._key.public
        if manifest.provider != key_ref(mine):
            raise SignatureError("the manifest names another provider key")
        digest, now = sha256_hex(offer.payload), self._clock()

        def make() -> ContractRecord:
            # (4), (5)
            check_manifest(manifest, self._policy, now)
            self._models.find(manifest.base_model.name, manifest.base_model.digest)
            reveal = parse_time(manifest.deadlines.reveal)
            return ContractRecord(digest, countersign(offer, self._key), client.key_id, reveal)

        return self._store.add_contract(digest, make, now, self._policy.max_open_contracts)
