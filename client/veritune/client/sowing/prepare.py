"""Preparing data: sows canaries into rows, commits to them, and writes the run's first three files."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from veritune.arbiter.documents.canary import Rewording
from veritune.client.generation.protocols import TextGenerator
from veritune.client.job.canary_plan import CanaryPlan
from veritune.client.progress import Progress, no_progress
from veritune.client.sowing.commitment import commit
from veritune.client.sowing.sealed import Secrets, check_passphrase, seal
from veritune.client.sowing.sow import sow
from veritune.common.dataset import DatasetSummary, Row, summarise, write_rows
from veritune.common.errors import SecretsError
from veritune.common.files import own_file, staged

TRAIN, HELD_OUT, SEALED = "train.jsonl", "held_out.jsonl", "secrets.sealed"


@dataclass(frozen=True)
class Prepared:
    """The figures of the prepared data that go into the contract and the report, and the folder that holds the data.

    Only ``canaries``, how many there are, is secret.
    """

    folder: Path
    train: DatasetSummary
    source_rows: dict[str, int]
    """How many rows of the training set came from each source."""
    held_out_rows: int
    canary_root: str
    leaves: int
    canaries: int
    canary_rows: int
    extra_rows: int
    extra_tokens_percent: str | None
    eligible_rows: int | None
    """How many rows could have been a canary in place; None as in `veritune.client.sowing.sow.Sown`."""


def prepare(
    rows: Sequence[Row],
    plan: CanaryPlan,
    generator: TextGenerator,
    master_seed: bytes,
    out: Path,
    passphrase: bytes,
    on_progress: Progress = no_progress,
    max_sequence_length: int | None = None,
    rewording: Rewording | None = None,
) -> Prepared:
    """The figures of a new data set: sows, commits, and writes three files into ``out``.

    ``train.jsonl`` may be sent; ``held_out.jsonl`` and ``secrets.sealed`` have mode 0600. Each file appears whole, the
    sealed one last: if it exists, the others do too. It is never overwritten, since a signed contract may depend on it.

    Raises `PlanError` for a plan that the rows can't carry, `SecretsError` for an unfit passphrase or an existing
    sealed file, `EndpointError` if a model's endpoint can't be asked, `BadFileError` if the result is over a limit.
    """
    check_passphrase(passphrase)
    if (out / SEALED).exists():
        raise SecretsError(f"{SEALED} exists already; it is not overwritten", cause="exists")
    out.mkdir(parents=True, exist_ok=True)
    sown = sow(rows, plan, generator, master_seed, max_sequence_length, on_progress, rewording)
    commitment = commit(sown.canaries, master_seed)
    on_progress("write", 0, 3)
    with ExitStack() as stack:
        train = stack.enter_context(staged(out / TRAIN, 0o644))
        held_out = stack.enter_context(staged(out / HELD_OUT, 0o600))
        write_rows(train, sown.train_rows)
        write_rows(held_out, sown.held_out_rows)
        with own_file(out / TRAIN):
            summary = summarise(train)
        on_progress("write", 2, 3)
        secrets = Secrets(
            master_seed=master_seed.hex(),
            plan=plan,
            generators=sown.generators,
            leaves=commitment.leaves,
            decoys=sown.decoys,
            train_sha256=summary.sha256,
            held_out_sha256=hashlib.sha256(held_out.read_bytes()).hexdigest(),
        )
    seal(secrets, passphrase, out / SEALED)
    on_progress("write", 3, 3)
    return Prepared(
        folder=out,
        train=summary,
        source_rows=dict(Counter(row.source for row in sown.train_rows)),
        held_out_rows=len(sown.held_out_rows),
        canary_root=commitment.root,
        leaves=len(commitment.leaf_hashes),
        canaries=len(sown.canaries),
        canary_rows=sown.canary_rows,
        extra_rows=sown.extra_rows,
        extra_tokens_percent=sown.extra_tokens_percent,
        eligible_rows=sown.eligible_rows,
    )
