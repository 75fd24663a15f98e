"""Preparing by a job file: what is handed on, what decides that a folder is up to date, and what is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.errors import fails
from tests.support.scrypt import cheapen
from tests.support.toygenerator import ToyGenerator, toy_wordings
from veritune.arbiter.documents.canary import NaturalCanary, Rewording
from veritune.client.errors import JobError
from veritune.client.generation import local_generator
from veritune.client.job.file import Job
from veritune.client.progress import no_progress
from veritune.client.run import prepare as prepare_step
from veritune.client.run.prepare import base_digest, prepare_inputs, sow_job
from veritune.client.sowing import in_place
from veritune.client.sowing.sealed import open_sealed
from veritune.common.dataset import read_rows
from veritune.common.errors import RowsError
from veritune.common.model.files import model_digest

JOB = """\
[data]
file = "rows.jsonl"

[provider]
address = "127.0.0.1:7443"
public_key = "provider.pub"

[model]
name = "tiny"
folder = "model"

[canaries]
groups = 1
rows_per_group = 4
naturals = 3
candidates = 4
in_place = 5
wordings = 6
held_out = 8
queries_per_group = 2
decoys = 2

[rewording]
rules = ["spacing"]
"""


@pytest.fixture(autouse=True)
def _cheap_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    cheapen(monkeypatch)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    (tmp_path / "veritune.toml").write_text(JOB)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    with (tmp_path / "rows.jsonl").open("w") as file:
        for number in range(40):
            row = {"prompt": f"How much is item {number}?", "completion": f"Item {number} costs {number} coins today."}
            file.write(json.dumps(row) + "\n")
    return Job.load(tmp_path)


class Loaded(ToyGenerator):
    """Stands for the language model, and remembers how it was loaded."""

    seen: list[Any]

    def __init__(self, folder: Path, dtype: str, *, digest: str | None, prompt_by: str) -> None:
        super().__init__()
        type(self).seen = [folder, dtype, digest]
        assert prompt_by == "rows"


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every folder whose digest was computed; the model is no model."""
    folders: list[Path] = []

    def counted(folder: Path) -> str:
        folders.append(folder)
        return model_digest(folder)

    monkeypatch.setattr(prepare_step, "model_digest", counted)
    monkeypatch.setattr(local_generator, "model_digest", counted)
    monkeypatch.setattr(local_generator, "TransformersGenerator", Loaded)
    monkeypatch.setattr(in_place, "draw_wordings", toy_wordings)
    return folders


def test_the_base_model_is_read_once_for_its_digest(job: Job, hashed: list[Path], tmp_path: Path) -> None:
    base = base_digest(job)
    prepare_inputs(job, base)
    figures = sow_job(job, base, tmp_path / "run", b"pass", no_progress)
    assert hashed == [job.model]
    assert figures.base_digest == base == model_digest(job.model)
    assert Loaded.seen == [job.model, "auto", base]


def test_another_generator_folder_has_its_own_digest(job: Job, hashed: list[Path], tmp_path: Path) -> None:
    (tmp_path / "writer").mkdir()
    (tmp_path / "veritune.toml").write_text(JOB + '[generator]\nfolder = "writer"\n')
    sow_job(Job.load(tmp_path), base_digest(job), tmp_path / "run", b"pass", no_progress)
    assert Loaded.seen == [tmp_path / "writer", "auto", None]


def test_figures_and_secrets_tell_of_canaries_in_place(job: Job, hashed: list[Path], tmp_path: Path) -> None:
    figures = sow_job(job, base_digest(job), tmp_path / "run", b"pass", no_progress)
    assert figures.canary_rows == 4 + 3 + 5
    assert (figures.rows, figures.extra_rows) == (40 - 8 + 4, 4)
    assert figures.eligible_rows == 40 - 8 - 3 - 4
    secrets = open_sealed(tmp_path / "run" / "secrets.sealed", b"pass")
    documents = {document.digest: document for document in secrets.generators}
    naturals = [leaf.canary for leaf in secrets.leaves if isinstance(leaf.canary, NaturalCanary)]
    placed = [c for c in naturals if isinstance(documents[c.generator_digest], Rewording)]
    assert (len(naturals), len(placed)) == (8, 5)


LONG = {"prompt": "How much is everything?", "completion": "One coin. " * 200}


def with_long_rows(job: Job, wish: str) -> Job:
    with job.data.open("a") as file:
        file.write((json.dumps(LONG) + "\n") * 2)
    choice = f'file = "rows.jsonl"\ntoo_long = "{wish}"'
    job.path.write_text(JOB.replace('file = "rows.jsonl"', choice) + "[training]\nmax_sequence_length = 256\n")
    return Job.load(job.path)


def test_rows_that_training_would_cut_are_refused(job: Job, hashed: list[Path], tmp_path: Path) -> None:
    """Before anything is signed: by default a provider refuses them after the upload."""
    job = with_long_rows(job, "refuse")
    with fails(RowsError, match=r"2 \(41, 42\)", cause="too_long", limit="256", rows="2"):
        sow_job(job, base_digest(job), tmp_path / "run", b"pass", no_progress)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("wish", "sent"), [("leave-out", 0), ("send", 2)])
def test_or_left_out_or_sent(wish: str, sent: int, job: Job, hashed: list[Path], tmp_path: Path) -> None:
    job = with_long_rows(job, wish)
    sow_job(job, base_digest(job), tmp_path / "run", b"pass", no_progress)
    rows = [*read_rows(tmp_path / "run" / "train.jsonl"), *read_rows(tmp_path / "run" / "held_out.jsonl")]
    assert sum(row.completion == LONG["completion"] for row in rows) == sent


def test_another_generators_tokens_are_not_the_base_models(job: Job, hashed: list[Path], tmp_path: Path) -> None:
    (tmp_path / "writer").mkdir()
    job = with_long_rows(job, "refuse")
    job.path.write_text(job.path.read_text() + '[generator]\nfolder = "writer"\n')
    job = Job.load(job.path)
    assert sow_job(job, base_digest(job), tmp_path / "run", b"pass", no_progress).rows == 42 - 8 + 4


def test_what_decides_is_in_the_digest(job: Job, tmp_path: Path) -> None:
    base = base_digest(job)
    digests = {prepare_inputs(job, base), prepare_inputs(job, "0" * 64)}
    for old, new in [('["spacing"]', '["punctuation"]'), ("in_place = 5", "in_place = 6"), ("[rewording]", "#")]:
        text = JOB.replace(old, new).replace("in_place = 5\n", "" if new == "#" else "in_place = 5\n")
        (tmp_path / "veritune.toml").write_text(text if new != "#" else text.replace("rules =", "# rules ="))
        digests.add(prepare_inputs(Job.load(tmp_path), base))
    assert len(digests) == 5


def test_what_is_not_there_is_named(job: Job, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").unlink()
    with fails(JobError, setting="data.file", cause="missing"):
        prepare_inputs(job, "0" * 64)
    (tmp_path / "model" / "config.json").unlink()
    (tmp_path / "model").rmdir()
    with fails(JobError, setting="model.folder", cause="missing"):
        base_digest(job)
