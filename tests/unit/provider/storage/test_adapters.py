"""Adapter folders hold the signed bytes, whatever happens around them; what is lost or damaged is said so."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from veritune.common.documents.receipts import FileRef
from veritune.common.errors import NotFoundError
from veritune.provider.storage.adapters import AdapterFolders
from veritune.provider.storage.blobs import BlobStore

FILES = {"adapter_config.json": b"{}", "adapter_model.safetensors": b"weights"}


class State:
    """A state folder with one signed adapter in it, which a job left in its working folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.blobs = BlobStore(folder / "blobs")
        self.job = folder / "jobs" / "job-1"
        self.job.mkdir(parents=True)
        self.refs = tuple(self.keep(name, data) for name, data in FILES.items())
        self.adapters = AdapterFolders(folder / "adapters", self.blobs)

    def keep(self, name: str, data: bytes) -> FileRef:
        path = self.job / name
        path.write_bytes(data)
        ref = FileRef(name=name, size=len(data), sha256=hashlib.sha256(data).hexdigest())
        self.blobs.add_copy(path, ref.sha256)
        return ref


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path / "state")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_folder_holds_the_signed_files(state: State) -> None:
    assert contents(state.adapters.folder(state.refs)) == FILES


def test_the_same_files_get_the_same_folder_and_others_another(state: State) -> None:
    first = state.adapters.folder(state.refs)
    made = first.stat().st_ino
    assert state.adapters.folder(state.refs) == first
    assert first.stat().st_ino == made
    other = state.adapters.folder((state.refs[0], state.keep("adapter_model.safetensors", b"others")))
    assert other != first
    assert AdapterFolders(state.folder / "adapters", state.blobs).folder(state.refs) == first
    assert first.stat().st_ino == made


def test_the_working_folder_of_the_job_does_not_count(state: State) -> None:
    before = state.adapters.folder(state.refs)
    for name in FILES:
        with (state.job / name).open("r+b") as file:
            file.write(b"XX")
    assert contents(state.adapters.folder(state.refs)) == FILES
    shutil.rmtree(state.job)
    shutil.rmtree(before)
    assert contents(state.adapters.folder(state.refs)) == FILES


@pytest.mark.parametrize("harm", ["missing", "stranger", "file", "elsewhere", "no folder", "link"])
def test_a_folder_that_is_not_as_it_was_made_is_made_anew(state: State, harm: str) -> None:
    folder = state.adapters.folder(state.refs)
    link = folder / "adapter_model.safetensors"
    match harm:
        case "missing":
            link.unlink()
        case "stranger":
            (folder / "adapter_model.bin").write_bytes(b"pickle")
        case "file":
            link.unlink()
            link.write_bytes(b"other")
        case "elsewhere":
            link.unlink()
            link.symlink_to(state.job / "adapter_model.safetensors")
        case "no folder":
            shutil.rmtree(folder)
            folder.write_bytes(b"x")
        case "link":
            shutil.rmtree(folder)
            folder.symlink_to(state.job)
    assert contents(state.adapters.folder(state.refs)) == FILES
    assert not (state.adapters.folder(state.refs)).is_symlink()
    assert contents(state.job) == FILES


def test_a_state_folder_can_be_moved(state: State) -> None:
    name = state.adapters.folder(state.refs).name
    moved = state.folder.rename(state.folder.with_name("moved"))
    assert contents(moved / "adapters" / name) == FILES


@pytest.mark.parametrize("harm", ["lost", "damaged"])
def test_a_blob_that_is_lost_or_damaged_is_named(state: State, harm: str) -> None:
    state.adapters.folder(state.refs)
    blob = state.blobs.path(state.refs[1].sha256)
    if harm == "lost":
        blob.unlink()
    else:
        blob.write_bytes(b"WEIGHTS")
    with pytest.raises(NotFoundError) as caught:
        state.adapters.folder(state.refs)
    assert caught.value.metadata == {"artifact": "adapter_model.safetensors"}


def test_half_a_folder_is_removed_at_the_next_start(state: State) -> None:
    (state.folder / "adapters" / ".draft-x").mkdir()
    AdapterFolders(state.folder / "adapters", state.blobs)
    assert not list((state.folder / "adapters").iterdir())
