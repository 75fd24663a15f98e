"""`veritune.toml`: what it may say, and how it says what is wrong."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.errors import fails
from veritune.arbiter.documents.canary import Rewording
from veritune.client.data.user_rows import read_user_rows
from veritune.client.errors import JobError
from veritune.client.job.canary_plan import CanaryPlan
from veritune.client.job.file import Job, line_of, parse_duration, parse_job
from veritune.client.job.template import usual_wordings, write_template
from veritune.common.errors import RowsError, UsageError

LEAST = """\
[data]
file = "rows.jsonl"

[provider]
address = "127.0.0.1:7443"
public_key = "provider.pub"

[model]
name = "tiny"
folder = "model"
"""
TURNS = '{role = "user", content = "q"}, {role = "assistant", content = "a"}'


def test_defaults_and_paths(tmp_path: Path) -> None:
    (tmp_path / "veritune.toml").write_text(LEAST)
    job = Job.load(tmp_path)
    assert job.data == tmp_path / "rows.jsonl"
    assert job.model == tmp_path / "model"
    assert job.client_key == tmp_path / "client.key"
    assert job.tls_ca is None
    assert job.file.policy.modes == ("delivered",)


def test_numbers_stay_exact() -> None:
    job = parse_job(
        (LEAST + "[training.optimizer]\nlearning_rate = 2e-3\nweight_decay = 0\n[policy]\nalpha = 1e-40\n").encode()
    )
    assert job.training.optimizer.learning_rate == "2e-3"
    assert job.training.optimizer.weight_decay == "0"
    assert job.policy.alpha == "1e-40"


def test_arrays_become_tuples() -> None:
    job = parse_job(
        (LEAST + '[policy]\nmodes = ["delivered", "served"]\n[training]\ntarget_modules = ["q_proj"]\n').encode()
    )
    assert job.policy.modes == ("delivered", "served")
    assert job.training.target_modules == ("q_proj",)


@pytest.mark.parametrize(
    ("text", "weight"),
    [
        ("[canaries]\nreword_all = true\n", "0"),
        ("[canaries]\nreword_all = true\n[policy]\nbeta = 1e-4\n", "0"),
        ("[canaries]\nreword_all = true\n[policy]\nbase_weight = 0.5\n", "0.5"),
        ("[canaries]\nin_place = 4\n", "0.25"),
        ("", "0.25"),
    ],
)
def test_the_base_models_taste_in_wordings_counts_for_nothing(text: str, weight: str) -> None:
    """Where all rows are worded at random; elsewhere a quarter of its score is taken off."""
    job = parse_job((LEAST + text + '[rewording]\nrules = ["spacing"]\n').encode())
    assert job.policy.base_weight == weight


@pytest.mark.parametrize("text", ['policy = "strict"\n', "canaries = 3\n", "[canaries]\nreword_all = 1\n"])
def test_sections_that_are_none_stay_an_error(text: str) -> None:
    with pytest.raises(JobError):
        parse_job((text + LEAST).encode())


def test_a_rewording_is_read_into_its_document() -> None:
    text = (
        LEAST + '[canaries]\nin_place = 4\nreword_all = true\nrepetitions = [1, 2]\n[rewording]\nrules = ["spacing"]\n'
    )
    job = parse_job(text.encode())
    assert job.rewording == Rewording(rules=("spacing",))
    assert job.canaries.repetitions == (1, 2)
    with pytest.raises(JobError, match="leave them out"):
        parse_job((text + f"examples = [{{messages = [{TURNS}]}}]\n").encode())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (LEAST + "[training]\nrank = 0\n", "line 12: training.rank"),
        (LEAST + "[training]\nrank = 4\nrnak = 5\n", "line 13: training.rnak"),
        (LEAST + "[trainin]\nrank = 4\n", "line 11: trainin"),
        (LEAST + '[policy]\nmodes = ["sold"]\n', "line 12: policy.modes"),
        (LEAST + "[policy]\nqueries_per_group = 9\n", "queries_per_group"),
        (LEAST + '[challenge]\nmodes = ["served"]\n', "challenge.modes"),
        (LEAST + "[canaries]\nin_place = 1\n", "need a section [rewording]"),
        (LEAST + "[canaries]\nreword_all = true\n", "need a section [rewording]"),
        (LEAST + '[rewording]\nrules = ["magic"]\n', "line 12: rewording.rules"),
        (LEAST + '[rewording]\nrules = ["llm"]\n', "name it in rewording.model"),
        (LEAST + '[rewording]\nrules = ["llm"]\nmodel = "m"\n', "generator.kind"),
        (LEAST + "[[rewording.examples]]\nmessages = []\n", "rewording"),
        (LEAST + '[deadlines]\naccept = "1 fortnight"\n', "line 12: deadlines.accept"),
        (LEAST + '[deadlines]\naccept = "9d"\n', "line 11: deadlines"),
        (LEAST + "[training]\nrank = 2024-01-01\n", "dates"),
        (LEAST.replace('name = "tiny"', ""), "model.name"),
        (LEAST.replace("127.0.0.1:7443", "nowhere"), "line 5: provider.address"),
        (LEAST + "[training]\nepochs = 2.5\n", "line 12: training.epochs"),
        (LEAST + '[training.optimizer]\nlearning_rate = "fast"\n', "line 12: training.optimizer.learning_rate"),
        ("[data\n", "line 1"),
        (LEAST + "[data]\n", "data"),
    ],
)
def test_mistakes_are_named_by_key_and_line(text: str, says: str) -> None:
    with pytest.raises(JobError) as caught:
        parse_job(text.encode())
    assert says in caught.value.message
    assert caught.value.reason == JobError.reason


@pytest.mark.parametrize("data", [b"\xff\xfe", b"x = " + b"[" * 5000, b"x = " + b"{a=" * 5000])
def test_hostile_bytes(data: bytes) -> None:
    with pytest.raises(JobError):
        parse_job(data)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with fails(JobError, match="veritune init", cause="unreadable"):
        Job.load(tmp_path)
    (tmp_path / "veritune.toml").write_bytes(b"#" * (2 << 20))
    with fails(JobError, cause="size"):
        Job.load(tmp_path)


def test_durations() -> None:
    assert parse_duration("90s") == timedelta(seconds=90)
    assert parse_duration("7d") == timedelta(days=7)
    with pytest.raises(ValueError, match="12h"):
        parse_duration("-1h")


def test_lines() -> None:
    text = "# [data]\n\n[data]\nfile = 1\n[training.optimizer]\nbeta1 = 2\n[policy]\nx.y = 3\n"
    assert line_of(text, ["data", "file"]) == 4
    assert line_of(text, ["data", "other"]) == 3
    assert line_of(text, ["training", "optimizer", "beta1"]) == 6
    assert line_of(text, ["policy", "x", "y"]) == 8
    assert line_of(text, ["nothing"]) == 0


def rows_file(path: Path, *answers: str) -> Path:
    path.write_text("".join(json.dumps({"prompt": "What is it?", "completion": answer}) + "\n" for answer in answers))
    return path


def test_the_template_is_a_valid_job(tmp_path: Path) -> None:
    data = rows_file(tmp_path / 'odd "name".jsonl', "A lamp.")
    path = write_template(data)
    job = Job.load(path)
    assert job.data == data
    assert (job.file.canaries, job.file.rewording) == (CanaryPlan(), None)
    # What is commented out is valid too.
    text = re.sub(r"^# (?=\w+ = |\[)", "", path.read_text(), flags=re.MULTILINE)
    assert parse_job(text.encode()).rewording is not None
    with pytest.raises(UsageError):
        write_template(data)


@pytest.mark.parametrize(
    ("odd", "placed"), [(0, True), (2, True), (3, False)], ids=["all are JSON", "nine in ten", "too few"]
)
def test_canaries_go_in_place_where_answers_are_json(tmp_path: Path, odd: int, placed: bool) -> None:
    """Nobody can tell such a canary, not even who knows every right answer (docs/security.md)."""
    records = [json.dumps({"what": f"lamp {i}", "where": "hall", "when": "now"}) for i in range(20 - odd)]
    job = Job.load(write_template(rows_file(tmp_path / "rows.jsonl", *records, *["A lamp."] * odd))).file
    assert job.canaries.wordings == (12 if placed else 16)
    assert job.canaries.reword_all == placed
    assert (job.canaries.naturals, job.canaries.in_place) == ((0, 80) if placed else (80, 0))
    assert job.policy.base_weight == ("0" if placed else "0.25")
    assert job.training.epochs == (8 if placed else 6)
    assert (job.rewording is not None) == placed


@pytest.mark.parametrize(("answer", "ways"), [('{"a": 1, "b": 2}', 4), ('{"a": 1, "b": 2, "c": 3}', 12), ("Yes.", 1)])
def test_wordings_are_orders_of_keys_times_styles(tmp_path: Path, answer: str, ways: int) -> None:
    assert usual_wordings(read_user_rows(rows_file(tmp_path / "rows.jsonl", answer))) == ways


def test_no_template_for_what_is_no_data(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("no JSON\n")
    with fails(RowsError, line="1"):
        write_template(tmp_path / "rows.jsonl")
    assert not (tmp_path / "veritune.toml").exists()
