"""One tree of errors: every exception is in it or on a short list, every reason has an exit code and a remedy."""

from __future__ import annotations

import ast
import builtins
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "common"))
import errors_page  # noqa: E402 - a script beside the package, as proto/generate.py is

from veritune.common import errors  # noqa: E402
from veritune.common.errors import AuditError, InternalError, OwnError, PeerError, VerituneError  # noqa: E402
from veritune.common.exits import CODES_OF_FAULT, EXIT_CODES, EXITS, exit_of  # noqa: E402

PARTS = ("common", "arbiter", "client", "provider")
FAMILIES = {"peer": PeerError, "own": OwnError, "client": AuditError, "internal": InternalError}
INTERNAL = {
    "veritune.provider.engines.base": {
        "AdapterConflictError",
        "AdapterSlotsFullError",
        "PromptTooLongError",
        "UnknownAdapterError",
    },
    "veritune.provider.models.chat": {"ChatRefusedError"},
    "veritune.provider.training.base": {"TrainingCancelled"},
    "veritune.provider.training.worker_protocol": {"WorkerResultError"},
}
"""Exceptions that one room keeps to itself and translates at its door, as their docstrings say."""
BUILTIN = {
    name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, BaseException)
}


def defined() -> dict[str, tuple[str, list[str]]]:
    """Of every class under the source roots its module and the names of its bases."""
    found = {}
    for part in PARTS:
        for path in sorted((ROOT / part / "veritune" / part).rglob("*.py")):
            module = ".".join(path.relative_to(ROOT / part).with_suffix("").parts)
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    bases = [ast.unparse(base).rpartition(".")[2] for base in node.bases]
                    found[node.name] = module, bases
    return found


def exceptions() -> dict[str, str]:
    """Every class under the source roots that is an exception, and its module."""
    classes = defined()

    def is_exception(name: str) -> bool:
        return name in BUILTIN or (name in classes and any(map(is_exception, classes[name][1])))

    return {name: module for name, (module, _) in classes.items() if is_exception(name)}


def tree() -> list[type[VerituneError]]:
    """Every exception of the source roots but the internal ones."""
    found: list[type[VerituneError]] = []
    for name, module in exceptions().items():
        if name not in INTERNAL.get(module, ()):
            found.append(getattr(import_module(module), name))
    return found


def test_every_exception_is_in_the_tree_or_kept_in_its_room() -> None:
    assert len(exceptions()) > 40
    assert not [cls for cls in tree() if not issubclass(cls, VerituneError)]
    outside = {(module, name) for module, names in INTERNAL.items() for name in names}
    assert outside <= {(module, name) for name, module in exceptions().items()}
    for module, name in outside:
        kept = getattr(import_module(module), name)
        assert not issubclass(kept, VerituneError)
        assert "nternal" in kept.__doc__ or "own:" in kept.__doc__, name


def test_the_drawing_is_the_tree() -> None:
    picture = (errors.__doc__ or "").split("::\n\n")[1].split("\n\n")[0]
    shown = {}
    parents: dict[int, str] = {}
    for line in picture.splitlines():
        text = line.lstrip("│├└─ ")
        name, *rest = text.split()
        depth = (len(line) - len(text) - 4) // 4
        parents[depth] = name
        shown[name] = parents.get(depth - 1), rest
    assert set(shown) == {cls.__name__ for cls in tree()}
    for cls in tree():
        parent, rest = shown[cls.__name__]
        assert parent == (None if cls is VerituneError else cls.__bases__[0].__name__), cls
        if cls not in (VerituneError, PeerError, OwnError):
            assert rest[0] == cls.reason, cls
            if cls.__module__ != errors.__name__:
                assert rest[1] == cls.__module__


def test_a_reason_belongs_to_one_class_of_one_family() -> None:
    kinds = [cls for cls in tree() if cls not in (VerituneError, PeerError, OwnError)]
    assert len({cls.reason for cls in kinds}) == len(kinds)
    for cls in kinds:
        assert "reason" in vars(cls) or cls is InternalError, cls
        assert cls.__bases__[0] in (VerituneError, PeerError, OwnError), f"{cls}: one level below its family"
        assert issubclass(cls, FAMILIES[cls.fault])
        # What is ours is not sent: it has no gRPC code of its own.
        assert not (issubclass(cls, OwnError) and "code" in vars(cls)), cls
        assert not (issubclass(cls, PeerError) and cls.__module__ != errors.__name__), cls


def test_every_reason_has_an_exit_code_of_its_own_family_and_a_remedy() -> None:
    kinds = {cls.reason: cls for cls in tree() if cls not in (VerituneError, PeerError, OwnError)}
    assert set(EXITS) == set(kinds)
    for reason, ending in EXITS.items():
        assert ending.code in CODES_OF_FAULT[kinds[reason].fault], reason
        assert ending.code in EXIT_CODES
        assert ending.code > 2, "a verdict's"
        assert ending.remedy.strip(), reason
        assert "\n" not in ending.remedy
        assert not ending.remedy.endswith("."), reason
        error = AuditError(1, "x") if kinds[reason] is AuditError else kinds[reason]("x")
        assert exit_of(error) is ending


def test_the_families_share_no_exit_code() -> None:
    assert not CODES_OF_FAULT["peer"] & CODES_OF_FAULT["own"]
    assert not CODES_OF_FAULT["internal"] & (CODES_OF_FAULT["peer"] | CODES_OF_FAULT["own"])


def test_the_page_is_the_tables() -> None:
    page = errors_page.page()
    assert errors_page.PAGE.read_text(encoding="utf-8") == page, "run `python common/errors_page.py`"
    for cls in tree():
        if cls not in (VerituneError, PeerError, OwnError):
            lines = [line for line in page.splitlines() if line.startswith(f"| `{cls.reason}` ")]
            assert len(lines) == 1, cls
            cells = [cell.strip() for cell in lines[0].strip("|").split("|")]
            assert len(cells) == 5
            assert all(cells), cls


@pytest.mark.parametrize("argument", [[], ["--check"]])
def test_the_page_is_made_and_checked(argument: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors_page, "PAGE", tmp_path / "errors.md")
    monkeypatch.setattr(sys, "argv", ["errors_page.py", *argument])
    if argument:
        with pytest.raises(SystemExit, match="out of date"):
            errors_page.main()
        (tmp_path / "errors.md").write_text(errors_page.page(), encoding="utf-8")
    errors_page.main()
    assert (tmp_path / "errors.md").read_text(encoding="utf-8") == errors_page.page()
