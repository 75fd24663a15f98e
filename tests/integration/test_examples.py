"""The three examples together: a provider that the script starts, a client's job with it, and an arbiter's audit.

The model is tiny and learns nothing, so the verdict is not asked about; that each script does its part is.
"""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from veritune.common.keys import PrivateKey
from veritune.provider.daemon.config import ProviderConfig, load_config

EXAMPLES = Path(__file__).parents[2] / "examples"
ROWS = 48
PASSPHRASE = "a passphrase for the tests"


def example(path: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLES / path), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1", "VERITUNE_PASSPHRASE": PASSPHRASE},
    )


@pytest.fixture(scope="module")
def port(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """A provider's port and its folder."""
    folder = tmp_path_factory.mktemp("provider")
    arguments = [str(folder), "--models", str(tiny_model.parent), "--listen", "127.0.0.1:0"]
    process = subprocess.Popen(
        [sys.executable, str(EXAMPLES / "provider" / "serve.py"), *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    said = next(line for line in process.stdout if line.startswith("serving on port "))
    yield int(said.split()[3].rstrip(";")), folder
    process.terminate()
    process.stdout.read()
    assert process.wait(60) == 0


@pytest.fixture(scope="module")
def home(port: tuple[int, Path], tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A client's folder as examples/client/README.md makes it, with a shorter data set and a smaller model."""
    folder = tmp_path_factory.mktemp("client")
    rows = (EXAMPLES / "tickets" / "tickets.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "tickets.jsonl").write_text("".join(rows[:ROWS]), encoding="utf-8")
    text = (EXAMPLES / "client" / "veritune.toml").read_text(encoding="utf-8")
    changes = {
        "127.0.0.1:8470": f"127.0.0.1:{port[0]}",
        '"provider/keys': f'"{port[1]}/keys',
        "models/SmolLM2-135M-Instruct": str(tiny_model),
        "SmolLM2-135M-Instruct": tiny_model.name,
        "epochs = 2": "epochs = 1",
        "in_place = 24": "in_place = 6",
    }
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "veritune.toml").write_text(text, encoding="utf-8")
    key = PrivateKey.generate()
    key.save(folder / "client.key", None)
    key.public.save(folder / "client.pub")
    return folder


def test_preparing_sends_nothing_and_writes_the_rows(home: Path) -> None:
    fine_tune = runpy.run_path(str(EXAMPLES / "client" / "fine_tune.py"))["fine_tune"]
    assert fine_tune(str(home), PASSPHRASE.encode(), only_prepare=True) == ""
    assert (home / "veritune-run" / "train.jsonl").stat().st_size > 0
    assert not (home / "veritune-run" / "contract.json").exists()


def test_client_provider_and_arbiter_together(home: Path, port: tuple[int, Path]) -> None:
    done = example("client/fine_tune.py", home)
    assert done.returncode == 0, done.stderr
    verdict = done.stdout.splitlines()[-1]
    assert verdict in ("PASS", "FAIL", "INCONCLUSIVE")
    files = [home / "veritune-run" / f"{kind}-1.json" for kind in ("report", "evidence")]
    audited = example("arbiter/audit_report.py", *files, home / "client.pub", port[1] / "keys" / "provider.pub")
    assert audited.returncode == {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 2}[verdict], audited.stderr
    assert audited.stdout.startswith(verdict)


@pytest.mark.parametrize("name", ["audit_report.py", "unpack_vector.py"])
def test_an_arbiters_script_without_its_files_says_how_to_call_it(name: str) -> None:
    done = example(f"arbiter/{name}")
    assert done.returncode == 64
    assert f"python examples/arbiter/{name}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_is_missing_is_not_taken_for_a_forgery(tmp_path: Path) -> None:
    done = example("arbiter/audit_report.py", *(tmp_path / name for name in ("r", "e", "c", "p")))
    assert done.returncode == 66


def test_a_missing_passphrase_is_named(home: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "VERITUNE_PASSPHRASE"}
    command = [sys.executable, str(EXAMPLES / "client" / "fine_tune.py"), str(home)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1
    assert done.stderr == "set VERITUNE_PASSPHRASE: it seals the canaries on this disk\n"


def test_the_providers_commented_settings_are_the_defaults() -> None:
    places = {"state", "models"}
    written = load_config(EXAMPLES / "provider" / "provider.toml", {}).model_dump(exclude=places)
    assert written == ProviderConfig().model_dump(exclude=places)
