"""The daemon that the tests of a module share, a client of it, and a contract that it would sign.

Only the folders whose ``conftest`` imports these fixtures see them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.daemon import MARKER, DaemonProcess, RawClient, connect, make_manifest, make_rows
from veritune.common.documents.manifest import Manifest


@pytest.fixture(scope="module")
def daemon(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    process = DaemonProcess(tmp_path_factory.mktemp("provider"), tiny_model.parent).start()
    yield process
    assert process.alive(), "the daemon died under the tests"
    assert process.stop() == 0
    assert_nothing_private(process)


@pytest.fixture
async def client(daemon: DaemonProcess) -> AsyncIterator[RawClient]:
    async with connect(daemon) as raw:
        yield raw


@pytest.fixture
def manifest(client: RawClient, daemon: DaemonProcess, tiny_model: Path) -> Manifest:
    return make_manifest(client.key.public, daemon.public_key, tiny_model, make_rows(24))


def assert_nothing_private(daemon: DaemonProcess) -> None:
    """Every test of the module has sent rows, prompts or tokens; none of them may stand in any log."""
    assert daemon.log.stat().st_size > 0
    for log in (daemon.log, *daemon.state.glob("jobs/*/worker.log")):
        text = log.read_text("utf-8", errors="replace")
        assert MARKER not in text
        assert "Veritune " not in text
        assert "Traceback" not in text
        assert '"level": "error"' not in text, text
