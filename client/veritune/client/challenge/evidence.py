"""Building the evidence bundle for an arbiter: signed documents, openings with their proofs, and observations."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path

from veritune.arbiter.documents.canary import AnyGenerator, Canary, NaturalCanary, TriggerCanary
from veritune.arbiter.documents.evidence import EnvelopeDocument, Evidence, Observations, OpenedRow, Opening
from veritune.client.challenge.leaves import SessionLeaves
from veritune.client.sowing.commitment import Commitment
from veritune.common.dataset import Row, read_rows
from veritune.common.documents.manifest import Manifest
from veritune.common.documents.receipts import DatasetReceipt, TrainingReceipt
from veritune.common.errors import WrongFileError
from veritune.common.files import own_file
from veritune.common.merkle import MerkleTree, leaf_hash
from veritune.common.signing import Signed


class TrainSet:
    """The Merkle tree over all uploaded rows, and the rows that are needed, by index from 0."""

    def __init__(self, path: Path, merkle_root: str, wanted: Iterable[int]) -> None:
        """Reads the data set file ``path`` once and keeps the rows whose indices are ``wanted``.

        Raises `WrongFileError` if its Merkle root isn't ``merkle_root``, `BadFileError` if it holds no canonical rows.
        """
        keep = set(wanted)
        self.rows: dict[int, Row] = {}
        leaves = []
        with own_file(path):
            for index, row in enumerate(read_rows(path)):
                leaves.append(leaf_hash(row.to_bytes()))
                if index in keep:
                    self.rows[index] = row
        self._tree = MerkleTree(leaves)
        if self._tree.root.hex() != merkle_root:
            raise WrongFileError(f"{path.name} is not the data set that the contract names", what="dataset")

    def opened(self, index: int) -> OpenedRow:
        """The row at ``index`` with its Merkle inclusion proof; the row must have been ``wanted``."""
        proof = tuple(step.hex() for step in self._tree.proof(index))
        return OpenedRow(index=index, row=self.rows[index], proof=proof)


def canary_rows(canaries: Iterable[Canary]) -> tuple[int, ...]:
    """The indices of all rows that these canaries name, canary after canary."""
    return tuple(row for c in canaries if isinstance(c, (TriggerCanary, NaturalCanary)) for row in c.rows)


def build_evidence(
    commitment: Commitment,
    generators: tuple[AnyGenerator, ...],
    picked: SessionLeaves,
    train: TrainSet,
    contract: Signed[Manifest],
    dataset_receipt: Signed[DatasetReceipt],
    training_receipt: Signed[TrainingReceipt],
    observations: Sequence[Observations],
) -> Evidence:
    """The evidence bundle of one session: it opens the leaves of ``picked`` and proves their rows."""
    openings = tuple(
        Opening(
            leaf=leaf,
            salt=commitment.leaves[leaf].salt,
            canary=picked.canaries[leaf],
            rows=tuple(train.opened(index) for index in canary_rows([picked.canaries[leaf]])),
        )
        for leaf in picked.leaves
    )
    return Evidence(
        manifest=EnvelopeDocument.of(contract.envelope),
        dataset_receipt=EnvelopeDocument.of(dataset_receipt.envelope),
        training_receipt=EnvelopeDocument.of(training_receipt.envelope),
        session=picked.session,
        generators=generators,
        leaf_hashes=commitment.leaf_hashes,
        openings=openings,
        observations=tuple(observations),
        software=software_versions(),
    )


def software_versions() -> dict[str, str]:
    """The versions of Python and of the installed packages that measured, by name; no package is imported."""
    versions = {"python": platform.python_version()}
    for name in ("veritune", "torch", "transformers", "peft"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
