"""What survives a kill or a stop of the real daemon, and what another program or a second daemon may not do."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path

import pytest

from tests.support.daemon import (
    DaemonProcess,
    connect,
    current,
    make_manifest,
    make_rows,
    quick_training,
    refusal,
    row_bytes,
    until_step,
)
from veritune.common.documents.manifest import Manifest
from veritune.common.documents.receipts import ADAPTER_WEIGHTS, TrainingReceipt
from veritune.common.keys import PrivateKey
from veritune.common.signing import open_document
from veritune.common.wire import envelope_from_wire
from veritune.v1 import provider_service_pb2 as pb

ROWS = make_rows(24)
DATA = row_bytes(ROWS)


def long_job(tiny_model: Path, folder: Path) -> tuple[DaemonProcess, PrivateKey, Manifest]:
    """A running daemon, and a client's contract for 96 steps with it."""
    daemon = DaemonProcess(folder, tiny_model.parent).start()
    key = PrivateKey.generate()
    training = quick_training(epochs=8, batch_size=2)
    return daemon, key, make_manifest(key.public, daemon.public_key, tiny_model, ROWS, training=training)


async def test_all_survives_a_kill(tiny_model: Path, tmp_path: Path) -> None:
    daemon, key, manifest = long_job(tiny_model, tmp_path)
    try:
        async with connect(daemon, key) as client:
            contract = await client.negotiate(manifest)
            digest = contract.digest
            await refusal(client.upload(digest, manifest.dataset, DATA, stop_at=1500))
            daemon.kill()
        daemon.start()
        async with connect(daemon, key) as client:
            assert await client.negotiate(manifest) == contract
            offset = (await client.durable(digest)).offset
            assert offset == 1500
            receipt = await client.upload(digest, manifest.dataset, DATA, offset)
            job = await client.train(digest)
            seen = await until_step(client, digest, job.job_id, 30)
            daemon.kill()
        daemon.start()
        async with connect(daemon, key) as client:
            assert envelope_from_wire((await client.durable(digest)).receipt) == receipt
            states = await client.watch(digest, job.job_id, seen.revision)
            assert all(state.revision > seen.revision for state in states)
            assert states[-1].state == pb.JOB_STATE_SUCCEEDED, states[-1].message
            trained = open_document(TrainingReceipt, envelope_from_wire(states[-1].receipt), daemon.public_key).document
            assert (trained.steps, len(trained.checkpoints)) == (96, 8)
        # From a checkpoint, not from the start: the second worker's first step is not step 1.
        task = json.loads((daemon.state / "jobs" / job.job_id / "task.json").read_text())
        assert task["training"]["epochs"] == 8
        resumed = [state.step for state in states if state.state == pb.JOB_STATE_RUNNING and state.step != seen.step]
        assert resumed
        assert min(resumed) > 12
        assert daemon.stop() == 0
        # A whole job is not done again, and what it left in its working folder is needed no more: blobs are served.
        shutil.rmtree(daemon.state / "jobs" / job.job_id)
        daemon.start()
        async with connect(daemon, key) as client:
            assert await current(client, digest, job.job_id) == states[-1]
            sha256 = next(ref.sha256 for ref in trained.adapter if ref.name == ADAPTER_WEIGHTS)
            blob = daemon.state / "blobs" / "sha256" / sha256[:2] / sha256
            lost = blob.rename(blob.with_name("lost"))
            asked = client.score(digest, job.job_id, "hello", ["one", "two"], b"n" * 16)
            assert await refusal(asked) == ("NOT_FOUND", "NOT_FOUND")
            lost.rename(blob)
            base = await client.score(digest, "", "hello", ["one", "two"], b"n" * 16)
            tuned = await client.score(digest, job.job_id, "hello", ["one", "two"], b"n" * 16)
            assert [score.total for score in tuned.scores] != [score.total for score in base.scores]
    finally:
        daemon.kill()


async def test_a_stop_in_mid_training_is_no_cancel(tiny_model: Path, tmp_path: Path) -> None:
    daemon, key, manifest = long_job(tiny_model, tmp_path)
    try:
        async with connect(daemon, key) as client:
            digest = (await client.negotiate(manifest)).digest
            await client.upload(digest, manifest.dataset, DATA)
            job = await client.train(digest)
            await until_step(client, digest, job.job_id, 20)
            begun = asyncio.Event()
            watcher = asyncio.create_task(client.watch(digest, job.job_id, begun=begun))
            await asyncio.wait_for(begun.wait(), 60)
            assert await asyncio.to_thread(daemon.stop) == 0
            assert (await refusal(watcher))[0] == "UNAVAILABLE"
        daemon.start()
        async with connect(daemon, key) as client:
            states = await client.watch(digest, job.job_id)
            assert states[-1].state == pb.JOB_STATE_SUCCEEDED, states[-1].message
            # The worker was asked, not killed: it left a checkpoint, and no step was done twice.
            assert all(state.step >= 20 for state in states)
    finally:
        daemon.kill()


async def test_another_trainer_is_another_command(tiny_model: Path, tmp_path: Path) -> None:
    """The cheating provider of the demo: all its papers are in order, and its adapter changes nothing."""
    script = Path(__file__).parents[2] / "examples" / "cheating_provider.py"
    daemon = DaemonProcess(tmp_path, tiny_model.parent, program=(sys.executable, str(script))).start()
    try:
        async with connect(daemon) as client:
            manifest = make_manifest(client.key.public, daemon.public_key, tiny_model, ROWS)
            digest = (await client.negotiate(manifest)).digest
            await client.upload(digest, manifest.dataset, DATA)
            job = await client.train(digest)
            last = (await client.watch(digest, job.job_id))[-1]
            assert last.state == pb.JOB_STATE_SUCCEEDED, last.message
            trained = open_document(TrainingReceipt, envelope_from_wire(last.receipt), daemon.public_key).document
            assert (trained.steps, trained.rows_trained) == (12, 24)
            base = await client.score(digest, "", "hello", ["one", "two"], b"n" * 16)
            tuned = await client.score(digest, job.job_id, "hello", ["one", "two"], b"n" * 16)
            assert [score.total for score in tuned.scores] == [score.total for score in base.scores]
    finally:
        daemon.kill()


def test_two_daemons_can_not_share_a_state(daemon: DaemonProcess, tiny_model: Path) -> None:
    second = DaemonProcess(daemon.folder, tiny_model.parent)
    ready = daemon.folder / "ready.json"
    kept = ready.read_bytes()
    with pytest.raises(RuntimeError, match="another daemon"):
        second.start()
    ready.write_bytes(kept)
