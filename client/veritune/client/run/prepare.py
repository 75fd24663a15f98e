"""Preparing by a job file: which generator draws, and what a prepared folder was made from."""

from __future__ import annotations

import hashlib
from pathlib import Path

from veritune.client.data.user_rows import preprocessing_digest, read_user_rows
from veritune.client.errors import JobError
from veritune.client.generation.protocols import TextGenerator
from veritune.client.job.file import Job
from veritune.client.progress import Progress
from veritune.client.randomness import new_seed
from veritune.client.sowing.prepare import SEALED, prepare
from veritune.client.sowing.prepared import PreparedFigures
from veritune.common.canonical import canonical_bytes, sha256_hex
from veritune.common.dataset import Row
from veritune.common.errors import RowsError
from veritune.common.model.files import model_digest


def base_digest(job: Job) -> str:
    """Digest of the base model's files. They may be gigabytes: it is computed once and handed on."""
    if not job.model.is_dir():
        raise JobError(f"model.folder: there is no folder {job.model}")
    return model_digest(job.model)


def prepare_inputs(job: Job, base: str) -> str:
    """Digest of all that decides what is prepared, but the randomness. Raises `JobError` for a missing file."""
    if not job.data.is_file():
        raise JobError(f"data.file: there is no file {job.data}")
    with job.data.open("rb") as file:
        data = hashlib.file_digest(file, "sha256").hexdigest()
    rewording = job.file.rewording
    inputs = {
        "data": data,
        "source": job.file.data.source,
        "too_long": job.file.data.too_long,
        "plan": job.file.canaries.model_dump(mode="json"),
        "model": base,
        "generator": job.file.generator.model_dump(mode="json"),
        "rewording": None if rewording is None else rewording.digest,
        "max_sequence_length": job.file.training.max_sequence_length,
    }
    return sha256_hex(canonical_bytes(inputs))


def _generator(job: Job, base: str, progress: Progress) -> TextGenerator:
    chosen = job.file.generator
    if chosen.kind == "openai":
        from veritune.client.generation.openai_generator import OpenAIGenerator

        return OpenAIGenerator(chosen.url, chosen.model, chosen.samples)
    from veritune.client.generation.local_generator import TransformersGenerator

    progress("load generator", 0, 0)
    digest = base if job.generator_folder == job.model else None
    return TransformersGenerator(
        job.generator_folder, job.file.challenge.precision, digest=digest, prompt_by=chosen.prompt_by
    )


def _short_enough(rows: list[Row], job: Job, generator: TextGenerator) -> list[Row]:
    """The rows that training does not cut, or all of them, as the job wishes. Raises `RowsError`.

    Counted where the generator is the base model, whose tokens training counts.
    """
    wish, most = job.file.data.too_long, job.file.training.max_sequence_length
    own = job.file.generator.kind == "transformers" and job.generator_folder == job.model
    tokens = generator.count_tokens(rows) if own and wish != "send" else None
    long = [number for number, count in enumerate(tokens or ()) if count > most]
    if long and wish == "refuse":
        named = ", ".join(str(number + 1) for number in long[:5]) + (", ..." if len(long) > 5 else "")
        raise RowsError(
            f"rows over training.max_sequence_length, {most} tokens, which training would cut: {len(long)} ({named}); "
            'raise it, shorten them, or set data.too_long to "leave-out" (or "send", where the provider allows it)'
        )
    dropped = frozenset(long)
    return [row for number, row in enumerate(rows) if number not in dropped]


def sow_job(job: Job, base: str, folder: Path, passphrase: bytes, progress: Progress) -> PreparedFigures:
    """Sows into a run's folder; ``base`` is the base model's digest.

    Whatever an unfinished attempt left there is replaced: nothing rests on it yet.
    """
    source = job.file.data.source
    generator = _generator(job, base, progress)
    rows = _short_enough(read_user_rows(job.data, source, progress), job, generator)
    (folder / SEALED).unlink(missing_ok=True)
    made = prepare(
        rows,
        job.file.canaries,
        generator,
        new_seed(),
        folder,
        passphrase,
        progress,
        job.file.training.max_sequence_length,
        job.file.rewording,
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
        base_digest=base,
        source_rows=made.source_rows,
        eligible_rows=made.eligible_rows,
    )
