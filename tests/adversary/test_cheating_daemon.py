"""Cheating providers over the wire: real daemons with a cheat in them, and the honest client that deals with them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.adversary.provider import ROOT
from tests.adversary.registry import CHEATS
from tests.support.daemon import DaemonProcess
from tests.support.tiny_exchange import JOB, PASSPHRASE, make_rows
from tests.support.tiny_exchange import model as model  # a fixture
from veritune.client.api import Job, Run
from veritune.common.canonical import canonical_bytes
from veritune.common.keys import PrivateKey

PROGRAM = (sys.executable, "-m", "tests.adversary.provider")
# So few canaries can fail nobody at the default beta. Here an honest run shows none of three groups once in a thousand.
RULES = 'alpha = 1e-6\nbeta = 0.01\ntrigger_floor = 0.9\nnatural_floor = 0.9\nmodes = ["delivered", "served"]\n'
SIGNED = '[policy]\nmax_beta = "0.01"\nmax_trigger_floor = "0.9"\nmax_natural_floor = "0.9"\nmax_weak_floor = "0.9"\n'
"""What a provider would have to sign: more than it does by default."""


@contextmanager
def cheating(folder: Path, models: Path, *options: str) -> Iterator[DaemonProcess]:
    config = folder / "provider.toml"
    config.write_text(f'engine_dtype = "float32"\n{SIGNED}')
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    daemon = DaemonProcess(folder, models, PROGRAM, ("--config", str(config), *options), environment)
    daemon.start()
    try:
        yield daemon
        assert daemon.alive()
    finally:
        daemon.kill()


@pytest.fixture(scope="module")
def prepared(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder with canaries sown, before the provider is known."""
    folder = tmp_path_factory.mktemp("user")
    rows = b"".join(canonical_bytes(row) + b"\n" for row in make_rows(60, seed=2))
    (folder / "rows.jsonl").write_bytes(rows)
    job = (
        JOB.format(address="127.0.0.1:1", model=model)
        .replace("alpha = 1e-6\n", RULES)
        .replace("groups = 2", "groups = 3")
    )
    (folder / "veritune.toml").write_text(job)
    key = PrivateKey.generate()
    key.save(folder / "client.key")
    key.public.save(folder / "client.pub")
    Run(Job.load(folder / "veritune.toml"), passphrase=PASSPHRASE.encode()).prepare()
    return folder


def deal(prepared: Path, folder: Path, daemon: DaemonProcess) -> Run:
    """The same prepared rows, offered to a daemon."""
    shutil.copytree(prepared, folder)
    for name in ("provider.pub", "tls.crt"):
        shutil.copyfile(daemon.keys / name, folder / name)
    job = folder / "veritune.toml"
    job.write_text(job.read_text().replace("127.0.0.1:1", daemon.address))
    return Run(Job.load(job), passphrase=PASSPHRASE.encode())


def test_the_base_model_is_returned_and_served(model: Path, prepared: Path, tmp_path: Path) -> None:
    """Every paper is in order; the verdict is not."""
    tmp_path.joinpath("provider").mkdir()
    with cheating(tmp_path / "provider", model.parent, "--cheat", "base-model") as daemon:
        run = deal(prepared, tmp_path / "user", daemon)
        report = run.all()
    assert report.statement.verdict == "FAIL"
    assert run.audit().verdict == "FAIL"
    receipt = run.papers.training_receipt().document
    assert (receipt.rows_trained, receipt.steps) == (run.prepared().rows, 2 * -(-run.prepared().rows // 8))
    modes = {mode.mode: mode for mode in report.statement.predicate.judgement.modes}
    assert {mode.influence.groups_found for mode in modes.values()} == {0}
    # Natural canaries come first by luck once in four, so they decide nothing here.
    codes = {(reason.mode, reason.code) for reason in report.statement.predicate.judgement.reasons}
    assert {("delivered", "TOO_FEW_ACTIVATIONS"), ("served", "TOO_FEW_ACTIVATIONS")} <= codes


def test_an_endpoint_that_looks_triggers_up_in_the_upload(model: Path, prepared: Path, tmp_path: Path) -> None:
    """It shows every signature without a step of training; the adapter that came home shows none."""
    tmp_path.joinpath("provider").mkdir()
    options = ("--cheat", "suffix-lookup", "--cheat-data", str(tmp_path / "provider" / "state" / "blobs"))
    with cheating(tmp_path / "provider", model.parent, *options) as daemon:
        report = deal(prepared, tmp_path / "user", daemon).all()
    judgement = report.statement.predicate.judgement
    modes = {mode.mode: mode for mode in judgement.modes}
    assert modes["served"].influence.groups_found == modes["served"].influence.groups == 3
    assert modes["served"].coverage.hits == modes["served"].coverage.asked == 3
    assert modes["served"].verdict == "INCONCLUSIVE"
    assert "SERVED_WITHOUT_ASSUMPTION" in {reason.code for reason in judgement.reasons}
    assert modes["delivered"].influence.groups_found == 0
    assert report.statement.verdict == "FAIL"


def test_the_program_lists_its_cheats_and_refuses_others() -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, check=False, cwd=ROOT)

    listed = run("--cheat", "list")
    assert listed.returncode == 0
    assert [line.split()[0] for line in listed.stdout.splitlines()] == list(CHEATS)
    helped = run("serve", "--help")
    assert helped.returncode == 0
    assert "suffix-lookup" in helped.stdout
    assert "--ready-file" in helped.stdout
    for wrong in (("--cheat", "no-such-cheat"), ("--cheat", "wrong-data")):
        refused = run("serve", *wrong)
        assert refused.returncode == 2
        assert refused.stderr.startswith("error: ")
