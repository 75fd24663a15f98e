"""The tests mirror the sources, and no test file needs another one."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
WINGS = {wing: ROOT / wing / "veritune" / wing for wing in ("common", "arbiter", "client", "provider")}
BESIDE = {"examples": ROOT / "examples", "support": TESTS / "support"}
"""What else has unit tests."""
NAMED_OTHERWISE = {
    "arbiter/statistics/test_sequential_coverage.py": "how often the sequential rules err, by simulation",
    "arbiter/statistics/test_sequential_mpmath.py": "sequential.py against mpmath",
    "arbiter/statistics/test_tails_mpmath.py": "coverage.py, exact.py, influence.py and the verdict against mpmath",
    "arbiter/verdict/test_judge_sequential.py": "judge.py for contracts whose challenge may stop early",
    "client/redteam/test_detectors.py": "every detector on the same rows",
    "provider/training/test_parts.py": "small parts of one loop: data.py, batching.py, hf_loop.py",
}


def imported(path: Path) -> set[str]:
    """Each module that the file imports, and each name imported from one, dotted."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_no_file_imports_a_test_file() -> None:
    """What two test files share is in tests/support."""
    test_files = {path.stem for path in TESTS.rglob("test_*.py")}
    assert len(test_files) > 90
    places = [ROOT / "examples", ROOT / "benchmarks", TESTS, *WINGS.values()]
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for place in places
        for path in sorted(place.rglob("*.py"))
        for name in imported(path)
        if test_files & set(name.split(".")) or (name.startswith("tests.") and "conftest" in name)
    ]
    assert not wrong


def test_a_unit_test_file_is_named_after_what_it_tests() -> None:
    """``tests/unit/<wing>/<room>/test_<file>.py`` tests ``<wing>/veritune/<wing>/<room>/<file>.py``."""
    homeless, listed = [], set()
    for path in sorted((TESTS / "unit").rglob("test_*.py")):
        place = path.relative_to(TESTS / "unit")
        source = (WINGS | BESIDE)[place.parts[0]].joinpath(*place.parts[1:-1], place.name.removeprefix("test_"))
        if str(place) in NAMED_OTHERWISE:
            listed.add(str(place))
            assert not source.exists(), f"{place} need not be listed"
        elif not source.exists():
            homeless.append(str(place))
    assert not homeless
    assert listed == set(NAMED_OTHERWISE), "listed, but not there"


def test_every_test_is_collected() -> None:
    """A file of tests under another name would never run."""
    silent = [
        str(path.relative_to(TESTS))
        for path in sorted(TESTS.rglob("*.py"))
        if not path.name.startswith("test_")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]
    assert not silent


def test_no_leftover_of_a_merge_is_kept() -> None:
    places = (TESTS, *WINGS.values())
    assert not [path for place in places for path in place.rglob("*") if path.suffix in {".orig", ".rej"}]
