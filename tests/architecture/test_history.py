"""The history of files that were moved into rooms: git still finds it, and ``git blame`` passes over the moves."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from tests.support.source_tree import ROOT

MOVES = "38cfc069b9d75768ac29ca405429450b8c04463e"
"""The commit that put every file into its room and changed nothing else."""

MOVED = {
    "arbiter/veritune/arbiter/audit/audit.py": "client/veritune/client/audit.py",
    "arbiter/veritune/arbiter/measure/local_model.py": "client/veritune/client/local_model.py",
    "arbiter/veritune/arbiter/statistics/influence.py": "client/veritune/client/influence.py",
    "arbiter/veritune/arbiter/verdict/judge.py": "client/veritune/client/verdict.py",
    "client/veritune/client/exchange/provider_client.py": "client/veritune/client/session.py",
    "client/veritune/client/planning/planner.py": "client/veritune/client/planner.py",
    "client/veritune/client/sowing/sow.py": "client/veritune/client/sow.py",
    "common/veritune/common/documents/manifest.py": "common/veritune/common/documents.py",
    "provider/veritune/provider/storage/store.py": "provider/veritune/provider/store.py",
    "provider/veritune/provider/training/worker.py": "provider/veritune/provider/worker.py",
}
"""Ten files and what each was called before."""


def git(*arguments: str) -> str:
    """What git says."""
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout


@pytest.fixture(autouse=True, scope="module")
def _history() -> None:
    """Skips where there is no history to look at; a history that lacks the moves is a failure."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: a source archive has no history")
    if git("rev-parse", "--is-shallow-repository").strip() == "true":
        pytest.skip("a shallow clone has no history; `git fetch --unshallow` brings it")


@pytest.mark.parametrize(("now", "before"), sorted(MOVED.items()))
def test_git_follows_a_file_to_where_it_was(now: str, before: str) -> None:
    log = git("log", "--follow", "--name-status", "--format=commit %H", "--", now)
    assert re.search(rf"^R[0-9]+\t{re.escape(before)}\t", log, re.MULTILINE), f"no rename from {before}"
    earlier = git("rev-list", f"{MOVES}^").split()
    assert set(re.findall(r"^commit ([0-9a-f]{40})$", log, re.MULTILINE)) & set(earlier), "nothing before the moves"


def test_blame_passes_over_commits_that_exist() -> None:
    lines = (ROOT / ".git-blame-ignore-revs").read_text(encoding="utf-8").splitlines()
    commits = [line for line in lines if line and not line.startswith("#")]
    assert MOVES in commits
    ours = set(git("rev-list", "HEAD").split())
    assert [commit for commit in commits if commit not in ours] == []
    titles = [git("show", "--no-patch", "--format=%s", commit).strip() for commit in commits]
    assert [title for title in titles if f"# {title}" not in lines] == [], "each stands under its title"
