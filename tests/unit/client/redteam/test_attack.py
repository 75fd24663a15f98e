"""`veritune redteam`: from a prepared folder to figures and a picture, resumed, and without a secret in them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.support.errors import fails
from tests.support.red_team_rows import plain_rows
from tests.support.toygenerator import ToyGenerator, toy_wordings
from veritune.arbiter.documents.canary import NaturalCanary, Rewording, TriggerCanary
from veritune.client.cli.app import run_cli
from veritune.client.generation.openai_text_model import OpenAITextModel
from veritune.client.job.canary_plan import CanaryPlan
from veritune.client.redteam import attack
from veritune.client.redteam.attack import PreparedForRedTeam, RedTeam, run_attack
from veritune.client.redteam.chart import draw
from veritune.client.redteam.detectors.asked import AskedDetector
from veritune.client.redteam.detectors.base_model import BaseModel
from veritune.client.redteam.detectors.odd_characters import OddCharacters
from veritune.client.redteam.figures import RedTeamFigures, measure
from veritune.client.redteam.kinds import kinds_of
from veritune.client.redteam.table import conclusions
from veritune.client.sowing import in_place
from veritune.client.sowing.prepare import prepare
from veritune.client.sowing.sealed import Secrets, open_sealed
from veritune.common.dataset import Row, read_rows
from veritune.common.errors import RowsError, UsageError

PASSPHRASE = "open sesame"
JOB = """\
[data]
file = "rows.jsonl"
[provider]
address = "127.0.0.1:7443"
public_key = "provider.pub"
[model]
name = "tiny"
folder = "{model}"
"""
PLAN = CanaryPlan(
    groups=2,
    rows_per_group=4,
    signature_bits=16,
    naturals=6,
    repetitions=(1, 1, 2),
    candidates=4,
    in_place=5,
    wordings=6,
    held_out=8,
    queries_per_group=2,
    decoys=2,
)
CHEAP = {
    "phrases-longest",
    "phrases-most",
    "odd-characters",
    "answer-length",
    "missing-parts",
    "near-duplicates",
    "clusters",
    "neighbours",
}


@pytest.fixture(scope="module")
def prepared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train.jsonl and secrets.sealed of a toy."""
    folder = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(in_place, "draw_wordings", toy_wordings)
        prepare(
            plain_rows(80),
            PLAN,
            ToyGenerator(),
            b"7" * 32,
            folder,
            PASSPHRASE.encode(),
            rewording=Rewording(rules=("spacing",)),
        )
    return folder


@pytest.fixture(scope="module")
def secrets(prepared_folder: Path) -> Secrets:
    return open_sealed(prepared_folder / "secrets.sealed", PASSPHRASE.encode())


@pytest.fixture
def home(
    tmp_path: Path, prepared_folder: Path, secrets: Secrets, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A job's folder whose run is prepared."""
    monkeypatch.setenv("VERITUNE_PASSPHRASE", PASSPHRASE)
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "veritune.toml").write_text(JOB.format(model=tiny_model))
    (tmp_path / "rows.jsonl").write_text('{"prompt": "p", "completion": "c"}\n')
    (tmp_path / "veritune-run").mkdir()
    for path in prepared_folder.iterdir():
        (tmp_path / "veritune-run" / path.name).write_bytes(path.read_bytes())
    return tmp_path


def figures_in(home: Path) -> RedTeamFigures:
    return RedTeamFigures.from_bytes((home / "veritune-run" / "redteam.json").read_bytes())


def test_kinds_are_what_was_sown(prepared_folder: Path, secrets: Secrets) -> None:
    places, rows = (
        kinds_of((leaf.canary for leaf in secrets.leaves), secrets.generators),
        list(read_rows(prepared_folder / "train.jsonl")),
    )
    counts = {kind: list(places.values()).count(kind) for kind in ("trigger", "natural", "in-place", "repeated")}
    assert counts == {"trigger": 8, "natural": 4, "in-place": 5, "repeated": 4}
    signatures = {leaf.canary.signature for leaf in secrets.leaves if isinstance(leaf.canary, TriggerCanary)}
    signed = {i for i, row in enumerate(rows) if row.completion.split("\n")[0] in signatures}
    assert signed == {i for i, kind in places.items() if kind == "trigger"}


def test_cheap_ones_by_default(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["redteam", str(home), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    figures = figures_in(home)
    assert figures.model_dump(mode="json") == shown
    assert set(figures.detectors) == CHEAP
    assert figures.plain_rows + sum(figures.canary_rows.values()) == 80 - 8 + 8 + 2
    assert figures.detectors["near-duplicates"].kinds["trigger"].recall("0.1") == 1
    assert figures.detectors["phrases-longest"].kinds["trigger"].auc > 0.95
    for name in ("redteam.json", "redteam.svg"):
        assert (home / "veritune-run" / name).stat().st_mode & 0o777 == 0o600


def test_people_see_a_table_and_what_it_means(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["redteam", str(home), "--detectors", "near-duplicates"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for words in (
        "found at 1%",
        "rows of trigger groups can be found: near-duplicates",
        "the coverage claim does not rest on them",
        "A provider may look for odd rows or for usual ones",
        "redteam.svg",
    ):
        assert words in shown


def test_nothing_secret_is_written(home: Path, secrets: Secrets, prepared_folder: Path) -> None:
    assert run_cli(["redteam", str(home)]) == 0
    written = "".join((home / "veritune-run" / name).read_text() for name in ("redteam.json", "redteam.svg"))
    words = {
        word for row in read_rows(prepared_folder / "train.jsonl") for m in row.messages for word in m.content.split()
    }
    for leaf in secrets.leaves:
        canary = leaf.canary
        assert leaf.salt not in written
        if isinstance(canary, TriggerCanary):
            assert canary.trigger not in written
            words.update(canary.signature.split())
        elif isinstance(canary, NaturalCanary):
            words.update(word for text in canary.candidates for word in text.split())
    own = {"answer"}  # of the detector answer-length
    assert not {
        word
        for word in words - own
        if len(word) > 3 and word.isalpha() and re.search(rf"\b{re.escape(word)}\b", written)
    }
    # The only lists of numbers are curves of a fixed length.
    for found in figures_in(home).detectors.values():
        assert set(found.model_dump()) == {"needs", "basis", "seconds", "kinds"}


@pytest.mark.heavy
def test_what_is_done_is_not_done_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def counted(self: OddCharacters, rows: Sequence[Row], *rest: Any) -> list[float]:
        calls.append(len(rows))
        return [float(len(row.completion)) for row in rows]

    monkeypatch.setattr(OddCharacters, "suspicion", counted)
    asked = ["redteam", str(home), "--detectors", "odd-characters"]
    assert run_cli(asked) == run_cli(asked) == 0
    assert calls == [82]
    assert run_cli(["redteam", str(home)]) == 0
    assert calls == [82]
    assert set(figures_in(home).detectors) == CHEAP
    assert run_cli([*asked, "--fresh"]) == 0
    assert calls == [82, 82]
    assert set(figures_in(home).detectors) == CHEAP
    # Fewer rows are another question, and its answers don't mix with the first one's.
    assert run_cli([*asked, "--rows", "20"]) == 0
    assert calls == [82, 82, 41]
    assert set(figures_in(home).detectors) == {"odd-characters"}
    (home / "veritune-run" / "redteam.json").write_text("{")
    assert run_cli(asked) == 0
    assert calls[-1] == 82
    # More than there are is all of them.
    assert run_cli([*asked, "--rows", "1000"]) == 0
    assert len(calls) == 4


def test_an_interrupt_keeps_what_was_found(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> list[float]:
        raise KeyboardInterrupt

    monkeypatch.setattr(OddCharacters, "suspicion", interrupted)
    assert run_cli(["redteam", str(home)]) == 130
    assert set(figures_in(home).detectors) == {"phrases-longest", "phrases-most"}
    monkeypatch.undo()
    monkeypatch.setenv("VERITUNE_PASSPHRASE", PASSPHRASE)
    assert run_cli(["redteam", str(home)]) == 0
    assert set(figures_in(home).detectors) == CHEAP
    assert not list((home / "veritune-run").glob(".redteam*"))


@pytest.mark.heavy
def test_every_detector_runs(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "elsewhere"
    assert run_cli(["redteam", str(home), "--detectors", "all", "--rows", "12", "--out", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["detectors"]
    assert {"perplexity", "loss-drop", "gradient-neighbours", "asked"} | CHEAP < set(found)
    assert len({one["basis"] for one in found.values() if one["needs"] != "nothing"}) == 1
    assert {one["basis"] for one in found.values() if one["needs"] == "nothing"} == {""}
    assert sorted(path.name for path in out.iterdir()) == ["redteam.json", "redteam.svg"]
    assert not (home / "veritune-run" / "redteam.json").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--detectors", "luck"], 64, "there is no detector 'luck'"),
        (["--rows", "0"], 64, "--rows"),
        (["--endpoint", "https://a.example/v1"], 64, "an address and a model"),
        (["--endpoint", "http://a.example/v1", "--endpoint-model", "m", "--detectors", "asked"], 64, "https"),
    ],
)
def test_mistakes(home: Path, arguments: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["redteam", str(home), *arguments]) == code
    error = capsys.readouterr().err
    assert says in error
    assert len(error.splitlines()) <= 2


def test_folders_that_do_not_serve(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = home / "veritune-run"
    monkeypatch.setenv("VERITUNE_PASSPHRASE", "wrong")
    assert run_cli(["redteam", str(home)]) == 77
    monkeypatch.setenv("VERITUNE_PASSPHRASE", PASSPHRASE)
    (home / "veritune.toml").write_text(JOB.format(model="nowhere"))
    assert run_cli(["redteam", str(home), "--detectors", "perplexity"]) == 78
    assert "no folder" in capsys.readouterr().err
    assert run_cli(["redteam", str(home), "--detectors", "odd-characters"]) == 0
    with (run / "train.jsonl").open("ab") as file:
        file.write((run / "train.jsonl").read_bytes().splitlines(keepends=True)[0])
    assert run_cli(["redteam", str(home)]) == 65
    assert "not the data set" in capsys.readouterr().err
    (run / "train.jsonl").unlink()
    assert run_cli(["redteam", str(home)]) == 64
    assert "run the step 'prepare' first" in capsys.readouterr().err


def test_without_canaries_or_plain_rows_there_is_nothing_to_tell(
    prepared_folder: Path, secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    for places in ({}, dict.fromkeys(range(82), "natural")):
        monkeypatch.setattr(attack, "kinds_of", lambda canaries, generators, found=places: found)
        with fails(RowsError, cause="one_kind"):
            PreparedForRedTeam(prepared_folder / "train.jsonl", secrets)


def test_an_endpoint_is_asked_instead_of_the_base_model(
    prepared_folder: Path, secrets: Secrets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int]] = []

    def reply(self: object, text: str, max_tokens: int) -> str:
        asked.append((text, max_tokens))
        return "[101]"

    def no_model() -> BaseModel:
        raise AssertionError("no model is needed")

    monkeypatch.setattr(OpenAITextModel, "reply", reply)
    wanted = RedTeam(("asked",), endpoint="http://localhost:1/v1", endpoint_model="strong")
    prepared = PreparedForRedTeam(prepared_folder / "train.jsonl", secrets)
    figures = run_attack(wanted, prepared, no_model, lambda: "", tmp_path)
    assert len(asked) == 22  # 82 rows, eight at once, two rounds
    assert figures.detectors["asked"].basis == "strong"
    again = RedTeam(("asked",), endpoint="http://localhost:1/v1", endpoint_model="stronger")
    assert run_attack(again, prepared, no_model, lambda: "", tmp_path).detectors["asked"].basis == "stronger"
    assert len(asked) == 44
    with pytest.raises(UsageError):
        run_attack(RedTeam(endpoint_model="strong"), prepared, no_model, lambda: "", tmp_path)
    assert AskedDetector(wanted.asker()).needs == "nothing"


def test_the_picture_has_a_panel_a_kind_and_a_line_a_detector(home: Path) -> None:
    assert run_cli(["redteam", str(home)]) == 0
    root = ElementTree.fromstring(draw(figures_in(home)))  # noqa: S314 -- our own text
    lines = list(root.iter("{http://www.w3.org/2000/svg}polyline"))
    assert len(lines) == 4 * (len(CHEAP) + 1)
    places = [tuple(map(float, place.split(","))) for line in lines for place in (line.get("points") or "").split()]
    assert all(0 <= x <= 300 and 0 <= y <= 200 for x, y in places)
    words = " ".join(item.text or "" for item in root.iter())
    for word in ("0.1%", "1%", "10%", "100%", "chance", "near-duplicates", "canaries in place: recall"):
        assert word in words


def test_a_hidden_kind_is_called_hidden() -> None:
    kinds = [None] * 100 + ["in-place"] * 10
    figures = RedTeamFigures(
        train_sha256="0" * 64, sampled=None, plain_rows=100, canary_rows={"in-place": 10}, detectors={}
    )
    assert conclusions(figures) == ["- canaries in place: no detector was run"]
    from veritune.client.redteam.figures import DetectorFigures

    found = measure([1.0] * 110, kinds)  # type: ignore[arg-type]
    hidden = figures.with_detector("clusters", DetectorFigures(needs="nothing", basis="", seconds="0.1", kinds=found))
    assert "hidden from these detectors" in conclusions(hidden)[0]
    assert "of 10 rows: rough" in conclusions(hidden)[0]


def test_help_and_mistakes_load_no_library() -> None:
    code = (
        "import sys\n"
        "from veritune.client.cli.app import run_cli\n"
        "assert run_cli(['redteam', '--help']) == 0\n"
        "assert run_cli(['redteam', '/nowhere']) == 78\n"
        "heavy = {'torch', 'transformers', 'peft', 'grpc', 'scipy', 'numpy', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=300).returncode == 0
