"""Building the manifest that the client offers, from a job file and the figures of sowing."""

from __future__ import annotations

from datetime import datetime

from veritune.arbiter.papers import key_ref
from veritune.client.job.file import JobFile, parse_duration
from veritune.client.sowing.prepared import SownFigures
from veritune.common.dataset import DatasetSummary
from veritune.common.documents.base import format_time
from veritune.common.documents.manifest import BaseModelRef, DatasetTerms, Deadlines, Manifest, Source, Verification
from veritune.common.keys import PublicKey


def build_manifest(
    job: JobFile,
    summary: DatasetSummary,
    sown: SownFigures,
    base_digest: str,
    client: PublicKey,
    provider: PublicKey,
    now: datetime,
    nonce: str,
) -> Manifest:
    """The manifest that this client offers, not yet signed; its deadlines are counted from ``now``.

    ``base_digest`` is the base model's digest (hexadecimal), ``nonce`` 32 random bytes in hexadecimal.
    """
    spans = job.deadlines
    policy = job.policy
    return Manifest(
        client=key_ref(client),
        provider=key_ref(provider),
        base_model=BaseModelRef(name=job.model.name, digest=base_digest),
        dataset=DatasetTerms(
            rows=summary.rows,
            size=summary.size,
            sha256=summary.sha256,
            merkle_root=summary.merkle_root,
            preprocessing_digest=sown.preprocessing_digest,
            sources=tuple(
                Source(name=name, licence=job.data.licence, rows=rows, rows_per_epoch=rows)
                for name, rows in sorted(sown.source_rows.items())
            ),
        ),
        training=job.training,
        verification=Verification(
            canary_root=sown.canary_root,
            leaves=sown.leaves,
            leaves_per_session=-(-sown.leaves // policy.sessions),
            max_canary_rows=sown.canary_rows,
            policy=policy,
        ),
        deadlines=Deadlines(
            created=format_time(now),
            accept=format_time(now + parse_duration(spans.accept)),
            train=format_time(now + parse_duration(spans.train)),
            challenge=format_time(now + parse_duration(spans.challenge)),
            reveal=format_time(now + parse_duration(spans.reveal)),
        ),
        price=job.price,
        nonce=nonce,
    )
