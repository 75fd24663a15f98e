"""The door of each room: its ``__init__.py`` says what comes in, what goes out, what it reads and never reads.

A door has this form, and a test below compares each line of it with the code::

    \"""Sowing: from the user's rows and a plan to a training set that carries secret canaries.

    In      rows, a canary plan, a generator
    Out     training rows, held-out rows, sealed secrets, a Merkle commitment
    Reads   arbiter.documents; client.data, client.job; common
    Never   planning, torch
    Start   sow.sow

    >>> an example that runs
    \"""

``Reads`` lists every room outside this one that a module in it imports, type checking included. Names stand without
``veritune.``, in alphabetical order, a comma between names of one wing and a semicolon between wings. Of ``common`` it
says only that it is read, and ``nothing`` where nothing is. ``Never`` lists rooms of the same wing by their last name,
others by wing and room, and third-party libraries; none may be imported, not even by way of other rooms. ``Start``
lists names to begin with, as seen from the room. A line that is too long goes on below, behind eight spaces.
"""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
import textwrap
from functools import cache
from itertools import groupby
from pathlib import Path

import grimp
import pytest

from tests.support.source_tree import ROOT, WINGS, exists, imports, module_name, rooms, sources

LABELS = ("In", "Out", "Reads", "Never", "Start")
_INDENT = 8

ROOMS = {module_name(folder): folder for folder in rooms()}
FACES = {"veritune.arbiter", "veritune.provider"}
"""Doors that also give names to import; each does so lazily."""


def parse_door(text: str) -> dict[str, str]:
    """The lines of a door by label, and its first line as ``""``; raises ``ValueError`` saying what is wrong."""
    lines = text.split("\n")
    if not lines[0].endswith(".") or lines[1:2] != [""]:
        raise ValueError("a door begins with one sentence on a line of its own, and an empty line")
    fields: dict[str, str] = {"": lines[0]}
    label = ""
    rest = iter(lines[2:])
    for line in rest:
        if not line:
            break
        head, value = line[:_INDENT].strip(), line[_INDENT:].strip()
        if not value or line[_INDENT - 1] != " ":
            raise ValueError(f"a label or white space fills eight columns: {line!r}")
        if not head and not label:
            raise ValueError(f"no label before {line!r}")
        if head:
            label = head
        fields[label] = value if head else f"{fields[label]} {value}"
    if tuple(fields) != ("", *LABELS):
        raise ValueError(f"its labels are not {', '.join(LABELS)}")
    if not any(line.startswith(">>> ") for line in rest):
        raise ValueError("a door shows one example that runs")
    return fields


def reads(room: str) -> str:
    """What the modules in a room import from outside of it, as a door writes it."""
    found = {
        _shown(name, room) for path in ROOMS[room].rglob("*.py") for name in imports(path) if _is_outside(name, room)
    }
    by_wing = groupby(sorted(found), key=lambda name: name.partition(".")[0])
    return "; ".join(", ".join(names) for _, names in by_wing) or "nothing"


def _is_outside(name: str, room: str) -> bool:
    return name.startswith("veritune.") and name != room and not name.startswith(f"{room}.")


def _shown(name: str, room: str) -> str:
    parts, own = name.split(".")[1:], room.split(".")[1]
    return parts[0] if parts[0] in {"common", "v1"} and parts[0] != own else ".".join(parts[:2])


def _field(room: str, label: str) -> str:
    return parse_door(_docstring(room))[label]


def _docstring(room: str) -> str:
    return ast.get_docstring(ast.parse((ROOMS[room] / "__init__.py").read_text(encoding="utf-8"))) or ""


def _as_written(label: str, value: str) -> str:
    indent = " " * _INDENT
    return textwrap.fill(value, 120, initial_indent=label.ljust(_INDENT), subsequent_indent=indent)


@pytest.mark.parametrize("room", ROOMS)
def test_each_room_has_a_door(room: str) -> None:
    assert all(parse_door(_docstring(room)).values())


@pytest.mark.parametrize("room", ROOMS)
def test_a_door_says_what_its_room_reads(room: str) -> None:
    written, true = _field(room, "Reads"), reads(room)
    assert written == true, f"the door of {room} says what is not so; it reads:\n{_as_written('Reads', true)}"


@pytest.mark.parametrize("room", ROOMS)
def test_what_a_door_never_reads_is_not_read_by_way_of_others(room: str) -> None:
    for name in _field(room, "Never").split(", "):
        never = _resolved(name, room)
        if never is None:
            pytest.fail(f"the door of {room} never reads {name!r}, which is no room of ours and no library that we use")
        chains = _graph().find_shortest_chains(importer=room, imported=never, as_packages=True)
        found = next(iter(sorted(chains)), None)
        assert found is None, f"the door of {room} says that it never reads {name}: {' -> '.join(found)}"


def _resolved(name: str, room: str) -> str | None:
    """The full name behind a name in ``Never``, None if there is no such room and no such library in the tree."""
    for full in (f"veritune.{room.split('.')[1]}.{name}", f"veritune.{name}"):
        if exists(full):
            return full
    return name if name in _libraries() else None


@cache
def _libraries() -> set[str]:
    found = {name.partition(".")[0] for wing in WINGS for path in sources(wing) for name in imports(path)}
    return found - set(sys.stdlib_module_names) - {"veritune"}


@cache
def _graph() -> grimp.ImportGraph:
    graph = grimp.build_graph(*(f"veritune.{wing}" for wing in WINGS), include_external_packages=True, cache_dir=None)
    assert {module for module in graph.modules if module in ROOMS} == set(ROOMS)
    # Libraries that no module of ours imports can't be asked for.
    for library in _libraries() - graph.modules:
        graph.add_module(library)
    return graph


@pytest.mark.parametrize("room", ROOMS)
def test_a_door_starts_with_names_that_exist(room: str) -> None:
    for start in _field(room, "Start").split(", "):
        assert _is_defined(ROOMS[room], start.split(".")), f"the door of {room} starts with {start}, which is not there"


def _is_defined(folder: Path, parts: list[str]) -> bool:
    """Whether the dotted parts lead through folders to a module and to a name that its source defines."""
    if (folder / parts[0]).is_dir():
        return bool(parts[1:]) and _is_defined(folder / parts[0], parts[1:])
    path = (folder / parts[0]).with_suffix(".py")
    if not path.is_file():
        return False
    body = ast.parse(path.read_text(encoding="utf-8")).body
    names = {node.name for node in body if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))}
    names |= {alias.name for node in body if isinstance(node, ast.ImportFrom) for alias in node.names}
    return not parts[1:] or (len(parts) == 2 and parts[1] in names)


_RUN_EXAMPLES = """
import contextlib, doctest, importlib, io, json, sys
found = {}
for room in sys.argv[1:]:
    with contextlib.redirect_stdout(io.StringIO()) as said:
        result = doctest.testmod(importlib.import_module(room))
    found[room] = [result.attempted, result.failed, said.getvalue()]
print(json.dumps([found, "torch" in sys.modules]))
"""


@cache
def _examples() -> tuple[dict[str, tuple[int, int, str]], bool]:
    """Per room how many examples ran, how many failed and what doctest says; and whether they loaded torch."""
    found, loads_torch = json.loads(_in_child(_RUN_EXAMPLES, *ROOMS))
    return found, loads_torch


def _in_child(script: str, *arguments: str) -> str:
    paths = [str(ROOT / wing) for wing in (*WINGS, "proto")]
    command = [sys.executable, "-c", f"import sys\nsys.path[:0] = {paths!r}\n{script}", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("room", ROOMS)
def test_the_example_at_a_door_runs(room: str) -> None:
    attempted, failed, said = _examples()[0][room]
    assert attempted, f"the door of {room} shows no example"
    assert not failed, said


def test_no_example_needs_torch() -> None:
    assert not _examples()[1]


@pytest.mark.parametrize("room", sorted(set(ROOMS) - FACES))
def test_a_door_gives_no_names(room: str) -> None:
    body = ast.parse((ROOMS[room] / "__init__.py").read_text(encoding="utf-8")).body
    assert [type(node) for node in body] == [ast.Expr], f"{room} re-exports: whoever needs one step would load others"


@pytest.mark.parametrize("room", sorted(FACES))
def test_a_face_gives_every_name_that_it_lists(room: str) -> None:
    module = importlib.import_module(room)
    assert module.__all__
    assert all(hasattr(module, name) for name in module.__all__)
    with pytest.raises(AttributeError):
        _ = module.no_such_name


def test_to_open_every_door_loads_nothing_heavy() -> None:
    script = f"import sys\nimport {', '.join(ROOMS)}\nprint(*sorted({{m.partition('.')[0] for m in sys.modules}}))"
    assert not {"torch", "grpc", "transformers", "sqlalchemy", "numpy"} & set(_in_child(script).split())


SOWING = """Sowing: from the user's rows to a training set.

In      rows, a canary plan,
        a generator
Out     training rows
Reads   client.data, client.job; common
Never   planning, torch
Start   sow.sow

>>> 1 + 1
2
"""


def test_a_door_is_read_label_by_label() -> None:
    assert parse_door(SOWING) == {
        "": "Sowing: from the user's rows to a training set.",
        "In": "rows, a canary plan, a generator",
        "Out": "training rows",
        "Reads": "client.data, client.job; common",
        "Never": "planning, torch",
        "Start": "sow.sow",
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("set.\n\n", "set\n\n"),
        ("set.\n\n", "set.\n"),
        ("Never ", "Seldom "),
        ("Out     training rows\n", ""),
        ("In      rows", "In: rows"),
        ("In      rows, a canary plan,\n        a generator\n", "        rows\n"),
        (">>> 1 + 1\n2\n", ""),
        ("\nStart   sow.sow\n", "\n"),
    ],
)
def test_what_has_another_form_is_no_door(old: str, new: str) -> None:
    assert old in SOWING
    with pytest.raises(ValueError, match=r"."):
        parse_door(SOWING.replace(old, new))


def test_a_door_that_lies_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads is compared with imports of every form: of modules, of names, in functions and for type checking."""
    (tmp_path / "sow.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "import veritune.arbiter.documents.canary\n"
        "from veritune.client import progress\n"
        "from veritune.client.sowing.split import split\n"
        "if TYPE_CHECKING:\n    from veritune.client.exchange.channel import Channel\n"
        "def late():\n    from veritune.common.errors import PlanError\n    from veritune.v1 import envelope_pb2\n",
        encoding="utf-8",
    )
    monkeypatch.setitem(ROOMS, "veritune.client.sowing", tmp_path)
    assert reads("veritune.client.sowing") == "arbiter.documents; client.exchange, client.progress; common; v1"
