"""What sowing leaves in the open: the figures that go into the contract and the report, no secret among them."""

from __future__ import annotations

from dataclasses import dataclass

from veritune.common.dataset import DatasetSummary
from veritune.common.documents.base import Count, DecimalString, Document, HexDigest, Name


@dataclass(frozen=True)
class SownFigures:
    """What sowing fixed before the contract: the canary tree and how many rows carry a canary."""

    canary_root: str
    leaves: int
    canary_rows: int
    preprocessing_digest: str
    source_rows: dict[str, int]


class PreparedFigures(Document):
    """``prepared.json``."""

    rows: Count
    size: Count
    sha256: HexDigest
    merkle_root: HexDigest
    canary_root: HexDigest
    leaves: Count
    canary_rows: Count
    extra_rows: Count
    extra_tokens_percent: DecimalString | None
    held_out_rows: Count
    preprocessing_digest: HexDigest
    base_digest: HexDigest
    source_rows: dict[Name, Count]
    eligible_rows: Count | None = None
    """How many rows could have been a canary in place: what the coverage of these speaks of. None: none was wanted, or
    a language model rewords and not all rows were tried."""

    def summary(self) -> DatasetSummary:
        """Of the training set."""
        return DatasetSummary(self.rows, self.size, self.sha256, self.merkle_root)

    def sown(self) -> SownFigures:
        """What the contract says of the canaries."""
        return SownFigures(
            self.canary_root, self.leaves, self.canary_rows, self.preprocessing_digest, dict(self.source_rows)
        )
