"""Preparing by a job file: which generator draws, and what a prepared folder was made from."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

from veritune.client.figures import PreparedFigures
from veritune.client.generator import TextGenerator
from veritune.client.job import Job, JobError
from veritune.client.prepare import SEALED, TRAIN, prepare
from veritune.client.rows import Progress, preprocessing_digest, read_user_rows
from veritune.client.stream import new_seed
from veritune.common.canonical import canonical_bytes, sha256_hex
from veritune.common.dataset import read_rows
from veritune.common.modelfiles import model_digest


def prepare_inputs(job: Job) -> str:
    """Digest of all that decides what is prepared, but the randomness. Raises `JobError` for missing files."""
    if not job.data.is_file():
        raise JobError(f"data.file: there is no file {job.data}")
    if not job.model.is_dir():
        raise JobError(f"model.folder: there is no folder {job.model}")
    with job.data.open("rb") as file:
        data = hashlib.file_digest(file, "sha256").hexdigest()
    inputs = {
        "data": data,
        "source": job.file.data.source,
        "plan": job.file.canaries.model_dump(mode="json"),
        "model": model_digest(job.model),
        "generator": job.file.generator.model_dump(mode="json"),
        "max_sequence_length": job.file.training.max_sequence_length,
    }
    return sha256_hex(canonical_bytes(inputs))


def _generator(job: Job, progress: Progress) -> TextGenerator:
    chosen = job.file.generator
    if chosen.kind == "openai":
        from veritune.client.openai_generator import OpenAIGenerator

        return OpenAIGenerator(chosen.url, chosen.model, chosen.samples)
    from veritune.client.transformers_generator import TransformersGenerator

    progress("load generator", 0, 0)
    return TransformersGenerator(job.generator_folder, job.file.challenge.precision)


def sow_job(job: Job, folder: Path, passphrase: bytes, progress: Progress) -> PreparedFigures:
    """Sows into a run's folder. Whatever an unfinished attempt left there is replaced: nothing rests on it yet."""
    source = job.file.data.source
    rows = read_user_rows(job.data, source, progress)
    (folder / SEALED).unlink(missing_ok=True)
    made = prepare(
        rows,
        job.file.canaries,
        _generator(job, progress),
        new_seed(),
        folder,
        passphrase,
        progress,
        job.file.training.max_sequence_length,
    )
    return PreparedFigures(
        rows=made.train.rows,
        size=made.train.size,
        sha256=made.train.sha256,
        merkle_root=made.train.merkle_root,
        canary_root=made.canary_root,
        leaves=made.leaves,
        canary_rows=made.canary_rows,
        extra_rows=made.extra_rows,
        extra_tokens_percent=made.extra_tokens_percent,
        held_out_rows=made.held_out_rows,
        preprocessing_digest=preprocessing_digest(source),
        base_digest=model_digest(job.model),
        source_rows=dict(Counter(row.source for row in read_rows(folder / TRAIN))),
    )
