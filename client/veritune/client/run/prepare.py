"""Preparing data as a job file says: its rows, its generator, and a digest of everything the result depends on."""

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
    """The digest of the base model's files (hexadecimal).

    They may be gigabytes, so callers compute it once and pass it on. Raises `JobError` if there is no such folder,
    `ModelFolderError` if it holds no model.
    """
    if not job.model.is_dir():
        raise JobError(f"model.folder: there is no folder {job.model}", setting="model.folder", cause="missing")
    return model_digest(job.model)


def prepare_inputs(job: Job, base: str) -> str:
    """The digest (hexadecimal) of all that decides what is prepared, except the randomness.

    ``base`` is the base model's digest. Raises `JobError` if the data file is missing.
    """
    if not job.data.is_file():
        raise JobError(f"data.file: there is no file {job.data}", setting="data.file", cause="missing")
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
    """The rows without those that training would cut, or all rows, as ``data.too_long`` says.

    Tokens can only be counted if the generator is the base model, because training uses its tokenizer. Raises
    `RowsError` if a row is too long and the job refuses such rows.
    """
    wish, most = job.file.data.too_long, job.file.training.max_sequence_length
    own = job.file.generator.kind == "transformers" and job.generator_folder == job.model
    tokens = generator.count_tokens(rows) if own and wish != "send" else None
    long = [number for number, count in enumerate(tokens or ()) if count > most]
    if long and wish == "refuse":
        named = ", ".join(str(number + 1) for number in long[:5]) + (", ..." if len(long) > 5 else "")
        raise RowsError(
            f"rows over training.max_sequence_length, {most} tokens, which training would cut: {len(long)} ({named}); "
            'raise it, shorten them, or set data.too_long to "leave-out" (or "send", where the provider allows it)',
            cause="too_long",
            limit=str(most),
            rows=str(len(long)),
        )
    dropped = frozenset(long)
    return [row for number, row in enumerate(rows) if number not in dropped]


def sow_job(job: Job, base: str, folder: Path, passphrase: bytes, progress: Progress) -> PreparedFigures:
    """The figures of the job's data, prepared in ``folder``; ``base`` is the base model's digest.

    Files of an unfinished attempt are replaced: no contract depends on them yet.

    Raises `RowsError`, `PlanError`, `SecretsError`, and `ModelFolderError` or `EndpointError` for the generator.
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
