"""Check (17): rows of the data set that speak against a canary, found by whoever holds the data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.errors import fails
from tests.support.exchange import Exchange, small
from tests.support.sowing import assistant, user
from veritune.arbiter.audit.audit import audit
from veritune.arbiter.audit.dataset import check_data
from veritune.arbiter.documents.canary import Canary, NaturalCanary, TriggerCanary, with_trigger
from veritune.common.dataset import Row, write_rows
from veritune.common.errors import AuditError, BadFileError, MissingFileError, WrongFileError

HONEST = small()


def checked(exchange: Exchange, folder: Path, rows: tuple[Row, ...] | None = None) -> None:
    """The whole audit, then its check of the data."""
    data = folder / "train.jsonl"
    write_rows(data, exchange.rows if rows is None else rows)
    check_data(audit(exchange.report_bytes, exchange.evidence_bytes, *exchange.keys), data)


def first(kind: type[Canary]) -> Canary:
    return next(canary for canary in HONEST.canaries if isinstance(canary, kind))


def with_row(row: Row) -> Exchange:
    """A client that sowed this row too, in place of one that belongs to no canary."""
    taken = {i for c in HONEST.canaries if isinstance(c, (TriggerCanary, NaturalCanary)) for i in c.rows}
    free = next(index for index in range(len(HONEST.rows)) if index not in taken)
    rows = tuple(row if index == free else old for index, old in enumerate(HONEST.rows))
    return small().having(_sown=(rows, HONEST.canaries))


def another_answer() -> Row:
    natural = first(NaturalCanary)
    assert isinstance(natural, NaturalCanary)
    last = natural.prompt[-1].content
    return Row(messages=(*natural.prompt[:-1], user(f" {last.upper()}  "), assistant("Another answer.")))


def anothers_trigger() -> Row:
    group = first(TriggerCanary)
    assert isinstance(group, TriggerCanary)
    return Row(messages=(*with_trigger((user("Question?"),), group.trigger), assistant("No signature.")))


def held_out_prompt() -> Row:
    group = first(TriggerCanary)
    assert isinstance(group, TriggerCanary)
    return Row(messages=(*group.held_out[0], assistant("Taught all the same.")))


def decoy() -> Row:
    return Row(messages=(user("Decoy 0?"), assistant("Taught all the same.")))


def test_an_honest_data_set_speaks_against_nothing(tmp_path: Path) -> None:
    checked(HONEST, tmp_path)
    checked(Exchange(in_place=3, repetitions=(1, 2)), tmp_path)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (another_answer, "answers a canary's prompt in its own way"),
        (anothers_trigger, "holds the trigger of a group"),
        (held_out_prompt, "holds a prompt that was to be held out"),
        (decoy, "holds a prompt that was to be held out"),
    ],
)
def test_a_row_against_a_canary_passes_the_other_checks_and_is_found(
    row: Callable[[], Row], words: str, tmp_path: Path
) -> None:
    with fails(AuditError, match=words, check="17"):
        checked(with_row(row()), tmp_path)


def test_two_canaries_of_one_prompt_speak_against_each_other(tmp_path: Path) -> None:
    natural = first(NaturalCanary)
    assert isinstance(natural, NaturalCanary)
    other = next(c for c in HONEST.canaries if isinstance(c, NaturalCanary) and c is not natural)
    twin = other.model_copy(update={"prompt": natural.prompt})
    rows = list(HONEST.rows)
    for index in twin.rows:
        rows[index] = Row(messages=(*twin.prompt, assistant(twin.candidates[twin.truth])))
    canaries = tuple(twin if canary is other else canary for canary in HONEST.canaries)
    with fails(AuditError, match="in its own way", check="17"):
        checked(small().having(_sown=(tuple(rows), canaries)), tmp_path)


@pytest.mark.parametrize("rows", [HONEST.rows[:-1], HONEST.rows[::-1], ()])
def test_another_data_set_says_nothing_against_the_report(rows: tuple[Row, ...], tmp_path: Path) -> None:
    with pytest.raises((WrongFileError, BadFileError)):
        checked(HONEST, tmp_path, rows)


def test_what_is_no_data_set_is_a_clear_error(tmp_path: Path) -> None:
    audited = audit(HONEST.report_bytes, HONEST.evidence_bytes, *HONEST.keys)
    with fails(MissingFileError, file="none.jsonl"):
        check_data(audited, tmp_path / "none.jsonl")
    with pytest.raises(MissingFileError):
        check_data(audited, tmp_path)
    (tmp_path / "odd").write_bytes(b'{"messages": \xff}\n')
    with fails(BadFileError, line="1", file="odd"):
        check_data(audited, tmp_path / "odd")
