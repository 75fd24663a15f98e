"""The public figures of sowing, which go into the contract and the report; none of them is secret."""

from __future__ import annotations

from dataclasses import dataclass

from veritune.common.dataset import DatasetSummary
from veritune.common.documents.base import Count, DecimalString, Document, HexDigest, Name


@dataclass(frozen=True)
class SownFigures:
    """The figures of the canaries that the contract states.

    ``canary_root`` (hexadecimal) and ``leaves`` describe the commitment, ``canary_rows`` counts the rows that carry a
    canary, and ``source_rows`` the training rows from each source.
    """

    canary_root: str
    leaves: int
    canary_rows: int
    preprocessing_digest: str
    source_rows: dict[str, int]


class PreparedFigures(Document):
    """The content of ``prepared.json``: all figures of a prepared data set.

    Digests are hexadecimal. ``size`` is in bytes; ``extra_rows`` are the rows that sowing added;
    ``extra_tokens_percent`` is None if the generator can't count tokens.
    """

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
    """How many rows could have been a canary in place; the coverage of canaries in place is about these rows. None if
    the plan has none, or if a language model rewords and only some rows were tried."""

    def summary(self) -> DatasetSummary:
        """The rows, size and digests of the training set."""
        return DatasetSummary(self.rows, self.size, self.sha256, self.merkle_root)

    def sown(self) -> SownFigures:
        """The figures of the canaries that the contract states."""
        return SownFigures(
            self.canary_root, self.leaves, self.canary_rows, self.preprocessing_digest, dict(self.source_rows)
        )
