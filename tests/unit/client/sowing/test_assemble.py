"""The training set put together: every row is there once, and every canary names the places of its own rows."""

from __future__ import annotations

from tests.support.parcel_rows import ROWS, row, stream
from veritune.arbiter.documents.canary import Generator, NaturalCanary, Rewording, TriggerCanary
from veritune.client.generation.protocols import DrawnSignature
from veritune.client.sowing.assemble import Assembled, TriggerGroup, assemble
from veritune.client.sowing.in_place import RewrittenRows
from veritune.client.sowing.naturals import Natural
from veritune.common.dataset import Row

GENERATOR = Generator(
    kind="wordlist", model="toy", model_digest=None, prompt="P", top_k=8, temperature="1", cap="0.25", certified=True
)
REWORDING = Rewording(rules=("synonyms",))
TRAIN = [7, 3, 5, 1]


def natural(asked: str, copies: int = 1) -> Natural:
    return Natural(row(asked, "yes"), ("no", "yes"), 1, copies)


IN_PLACE = {3: natural("worded?")}
GROUPS = tuple(
    TriggerGroup(f"trigger {g}", DrawnSignature("s", 8, ("8",)), (row(f"{g} a"), row(f"{g} b")), (ROWS[0].prompt,))
    for g in range(2)
)
DRAWN = (natural("drawn once?"), natural("drawn twice?", 2))


def put_together(label: str = "a", rewording: Rewording | None = REWORDING) -> Assembled:
    in_place = IN_PLACE if rewording else {}
    rows = {i: in_place[i].row if i in in_place else ROWS[i] for i in TRAIN}
    return assemble(TRAIN, RewrittenRows(rows, in_place, None), GROUPS, DRAWN, GENERATOR, rewording, stream(label))


def _rows_of(made: Assembled, number: int) -> list[Row]:
    canary = made.canaries[number]
    assert isinstance(canary, (TriggerCanary, NaturalCanary))
    assert list(canary.rows) == sorted(canary.rows)
    return [made.rows[place] for place in canary.rows]


def test_every_row_is_there_once_and_every_canary_finds_its_own() -> None:
    made = put_together()
    sent = [IN_PLACE[3].row, *(ROWS[i] for i in (7, 5, 1))]
    carriers = [carrier for group in GROUPS for carrier in group.rows]
    answers = [DRAWN[0].row, DRAWN[1].row, DRAWN[1].row]
    assert sorted(r.to_bytes() for r in made.rows) == sorted(r.to_bytes() for r in (*sent, *carriers, *answers))
    for number, group in enumerate(GROUPS):
        assert set(_rows_of(made, number)) == set(group.rows)
    assert _rows_of(made, 2) == [DRAWN[0].row]
    assert _rows_of(made, 3) == [DRAWN[1].row] * 2
    assert _rows_of(made, 4) == [IN_PLACE[3].row]
    assert len(made.canaries) == 5


def test_canaries_name_the_document_they_were_drawn_by() -> None:
    made = put_together()
    assert made.generators == (GENERATOR, REWORDING)
    named = [c.generator_digest for c in made.canaries if isinstance(c, (TriggerCanary, NaturalCanary))]
    assert named == [GENERATOR.digest] * 4 + [REWORDING.digest]
    assert put_together(rewording=None).generators == (GENERATOR,)


def test_the_stream_decides_the_order() -> None:
    assert put_together() == put_together()
    assert put_together("a").rows != put_together("b").rows
