"""Natural canaries in several rows and in place: where they stand, what else changes, and what gives nothing away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.errors import fails
from tests.support.plans import IN_PLACE, PLAN, REWORDING, RICH, SEED, canary_rows, groups, row, word_by_toy
from tests.support.plans import sown_in_place as sown
from tests.support.toygenerator import ToyGenerator
from veritune.arbiter.documents.canary import Canary, NaturalCanary, Rewording, is_natural_row
from veritune.client.job.canary_plan import CanaryPlan
from veritune.client.randomness import SecretStream
from veritune.client.sowing import in_place as sowing_in_place
from veritune.client.sowing.sow import Sown, sow
from veritune.common.dataset import Row
from veritune.common.errors import PlanError


@pytest.fixture(autouse=True)
def _worded_by_a_toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """What may be reworded is for `wording`'s own tests; here everything is known of every wording."""
    word_by_toy(monkeypatch)


def drawn_by(result: Sown, kind: str) -> list[NaturalCanary]:
    digests = {document.digest for document in result.generators if document.kind == kind}
    return [c for c in result.canaries if isinstance(c, NaturalCanary) and c.generator_digest in digests]


def in_place(result: Sown) -> list[NaturalCanary]:
    return drawn_by(result, "rewording")


def drawn(result: Sown) -> list[NaturalCanary]:
    return drawn_by(result, "wordlist")


def own(canary: NaturalCanary, rows: Sequence[Row] = RICH) -> Row:
    """The user's row under a canary in place."""
    return next(r for r in rows if r.prompt == canary.prompt)


def plainly(text: str) -> str:
    return " ".join(text.split())


# --- several rows ----------------------------------------------------------------------------------------------------


def test_copies_go_round_the_list() -> None:
    plan = PLAN.model_copy(update={"repetitions": (1, 2, 4), "naturals": 7})
    result = sown(plan=plan)
    naturals = drawn(result)
    assert [len(c.rows) for c in naturals] == [1, 2, 4, 1, 2, 4, 1]
    for canary in naturals:
        assert list(canary.rows) == sorted(set(canary.rows))
        found = [i for i, r in enumerate(result.train_rows) if is_natural_row(r, canary)]
        assert found == list(canary.rows)
    taken = canary_rows(result)
    assert len(taken) == len(set(taken)) == result.canary_rows == 12 + 15
    assert result.extra_rows == 12 + 8
    assert len(result.train_rows) == 70 - 12 + 12 + 8


def test_copies_change_nothing_but_how_often_a_row_stands() -> None:
    once, often = sown(plan=PLAN), sown(plan=PLAN.model_copy(update={"repetitions": (3,)}))
    key = [(c.prompt, c.candidates, c.truth) for c in drawn(once)]
    assert [(c.prompt, c.candidates, c.truth) for c in drawn(often)] == key
    before, after = (Counter(r.to_bytes() for r in s.train_rows) for s in (once, often))
    extra = after - before
    assert set(extra.values()) == {2}
    assert len(extra) == 6
    assert not before - after


# --- in place --------------------------------------------------------------------------------------------------------


def test_canaries_in_place_cost_no_row_and_leave_every_other_row_alone() -> None:
    result, without = sown(), sown(plan=PLAN)
    canaries = in_place(result)
    assert len(canaries) == 10
    assert (result.extra_rows, len(result.train_rows)) == (without.extra_rows, len(without.train_rows))
    assert result.canary_rows == without.canary_rows + 10
    for canary in canaries:
        (place,) = canary.rows
        assert is_natural_row(result.train_rows[place], canary)
        assert sum(r.prompt == canary.prompt for r in result.train_rows) == 1
        assert len(set(canary.candidates)) == 6
        assert {plainly(text) for text in canary.candidates} == {own(canary).completion}
    changed = {c.prompt for c in canaries}
    assert sorted(r.to_bytes() for r in result.train_rows if r.prompt not in changed) == sorted(
        r.to_bytes() for r in without.train_rows if r.prompt not in changed
    )
    taken = canary_rows(result)
    assert len(taken) == len(set(taken))


def test_a_trigger_group_copies_no_canary_in_place() -> None:
    """The copy would teach the model another answer to nearly the same question."""
    result = sown(plan=IN_PLACE.model_copy(update={"in_place": 30}))
    copied = {
        result.train_rows[i].prompt[-1].content.removesuffix(f" {group.trigger}")
        for group in groups(result)
        for i in group.rows
    }
    assert len(copied) == 12
    assert not copied & {canary.prompt[-1].content for canary in in_place(result)}
    assert result.eligible_rows == 70 - 6 - 12 - 12


def test_the_document_shows_rows_as_they_were_sent() -> None:
    result = sown(plan=IN_PLACE.model_copy(update={"reword_all": True}))
    generator, document = result.generators
    assert isinstance(document, Rewording)
    assert document.model_copy(update={"examples": ()}) == REWORDING
    assert document.examples == generator.examples != ()
    places = [result.train_rows.index(example) for example in document.examples]
    assert not set(places) & set(canary_rows(result))


def test_without_canaries_in_place_there_is_no_such_document() -> None:
    for plan in (PLAN, PLAN.model_copy(update={"reword_all": True})):
        result = sown(plan=plan)
        assert len(result.generators) == 1
        assert result.eligible_rows is None


def test_in_place_alone_gets_examples_too() -> None:
    result = sown(plan=IN_PLACE.model_copy(update={"naturals": 0, "groups": 0}))
    assert len(result.canaries) == 10
    assert all(document.examples for document in result.generators)


def test_reword_all_words_every_other_row_and_no_question() -> None:
    result = sown(plan=IN_PLACE.model_copy(update={"reword_all": True}))
    by_prompt = {r.prompt: r for r in RICH}
    plain = [r for i, r in enumerate(result.train_rows) if i not in canary_rows(result)]
    assert len(plain) == 70 - 12 - 6 - 10
    assert all(plainly(r.completion) == by_prompt[r.prompt].completion for r in plain)
    assert sum(r.completion != by_prompt[r.prompt].completion for r in plain) > len(plain) / 2
    assert all(r in RICH for r in result.held_out_rows)
    copies = [(g, result.train_rows[i]) for g in groups(result) for i in g.rows]
    sources = {r.prompt[-1].content: r for r in (*plain, *RICH)}
    worded = 0
    for group, copy in copies:
        answer = copy.completion.removeprefix(f"{group.signature}\n")
        host = by_prompt[next(p for p in by_prompt if f"{p[-1].content} {group.trigger}" == copy.prompt[-1].content)]
        assert plainly(answer) == host.completion
        worded += answer != host.completion
        assert host.prompt[-1].content in sources
    assert worded > len(copies) / 2


def test_the_seed_decides_everything() -> None:
    plan = IN_PLACE.model_copy(update={"reword_all": True})
    assert sown(plan=plan) == sown(plan=plan)
    other = sown(plan=plan, seed=b"x" * 32)
    assert {c.prompt for c in in_place(other)} != {c.prompt for c in in_place(sown(plan=plan))}


def test_more_canaries_in_place_leave_signatures_and_candidates_alone() -> None:
    """Their streams are their own."""
    assert {g.signature for g in groups(sown())} == {g.signature for g in groups(sown(plan=PLAN))}
    assert [c.truth for c in drawn(sown())] == [c.truth for c in drawn(sown(plan=PLAN))]


def test_truth_and_row_are_even() -> None:
    """600 runs of one canary among 6 wordings of 8 rows: chi-square, 1e-6 points 35.9 (5) and 40.5 (7 degrees)."""
    plan = CanaryPlan(groups=0, naturals=0, in_place=1, wordings=6, held_out=2, queries_per_group=1, decoys=1)
    truths: Counter[int] = Counter()
    rows: Counter[str] = Counter()
    for run in range(600):
        canary = in_place(sown(RICH[:10], plan, run.to_bytes(32, "big")))[0]
        truths[canary.truth] += 1
        rows[canary.prompt[-1].content] += 1
    assert sum((truths[i] - 100) ** 2 / 100 for i in range(6)) < 35.9
    assert len(rows) == 10
    assert sum((rows[r.prompt[-1].content] - 60) ** 2 / 60 for r in RICH[:10]) < 45.1  # nine degrees


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=32, max_size=32), st.integers(0, 12), st.integers(2, 8), st.booleans(), st.integers(1, 3))
def test_every_canary_opens_whatever_the_plan(
    seed: bytes, number: int, each: int, reword_all: bool, copies: int
) -> None:
    changes = {"in_place": number, "wordings": each, "reword_all": reword_all, "repetitions": (1, copies)}
    result = sown(plan=PLAN.model_copy(update=changes), seed=seed)
    taken = canary_rows(result)
    assert len(taken) == len(set(taken)) == result.canary_rows
    assert len(in_place(result)) == number
    naturals: list[Canary] = [*drawn(result), *in_place(result)]
    for canary in naturals:
        assert isinstance(canary, NaturalCanary)
        assert all(is_natural_row(result.train_rows[i], canary) for i in canary.rows)
        assert sum(r.prompt == canary.prompt for r in result.train_rows) == len(canary.rows)
        assert len(set(canary.candidates)) == len(canary.candidates)
    assert len(result.train_rows) == len(RICH) - PLAN.held_out + result.extra_rows


# --- which rows can carry one ----------------------------------------------------------------------------------------


def test_rows_with_too_few_wordings_or_a_question_asked_twice_are_passed_over() -> None:
    terse = [row(f"Is item {i} here?", "yes") for i in range(40)]
    twice = [row(f"How much is thing {i // 2}?", f"Thing {i} costs nothing at all, as before.") for i in range(40)]
    result = sown([*RICH, *terse, *twice], IN_PLACE.model_copy(update={"groups": 0, "naturals": 0, "in_place": 30}))
    assert {own(c, [*RICH, *terse, *twice]).prompt for c in in_place(result)} <= {r.prompt for r in RICH}
    kept = {r.prompt for r in result.train_rows}
    assert result.eligible_rows == sum(r.prompt in kept for r in RICH)


class Letters(ToyGenerator):
    """Every letter is a token."""

    def count_tokens(self, rows: Sequence[Row]) -> list[int] | None:
        return [sum(len(message.content) for message in r.messages) for r in rows]


class Blind(ToyGenerator):
    """Has no tokenizer."""

    def count_tokens(self, rows: Sequence[Row]) -> list[int] | None:
        return None


def longer(text: str, rewording: Rewording, most: int, stream: SecretStream) -> tuple[str, ...]:
    """Wordings of which the last adds 200 letters, but to a short text."""
    return tuple(text + "!" * (200 if len(text) > 50 and n == most - 1 else n) for n in range(most))


def test_wordings_that_training_would_cut_off_make_no_canary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sowing_in_place, "draw_wordings", longer)
    long = [row(f"And item {i}?", "It costs rather more than anybody here would like to pay.") for i in range(40)]
    rows, plan = [*RICH, *long], IN_PLACE.model_copy(update={"groups": 0, "naturals": 0})
    # 110 rows without 12 held out; rows of 70 letters have room for 128 more, not for 200.
    assert sow(rows, plan, Letters(), SEED, None, rewording=REWORDING).eligible_rows == 98
    assert sow(rows, plan, Letters(), SEED, 280, rewording=REWORDING).eligible_rows == 98
    assert sow(rows, plan, Blind(), SEED, 210, rewording=REWORDING).eligible_rows == 98
    tight = sow(rows, plan, Letters(), SEED, 210, rewording=REWORDING)
    assert tight.eligible_rows == sum(r.prompt in {s.prompt for s in tight.train_rows} for r in RICH)
    assert {own(c).prompt for c in in_place(tight)} <= {r.prompt for r in RICH}


def test_candidates_have_the_length_of_a_phrase(monkeypatch: pytest.MonkeyPatch) -> None:
    long = [row(f"And item {i}?", "word " * 900) for i in range(30)]
    plan = IN_PLACE.model_copy(update={"groups": 0, "naturals": 0})
    result = sown([*RICH, *long], plan)
    assert {own(c).prompt for c in in_place(result)} <= {r.prompt for r in RICH}
    monkeypatch.setattr(sowing_in_place, "draw_wordings", lambda *_: ("a" * 4001, *"bcdef"))
    with fails(PlanError, setting="canaries.in_place", found="0"):
        sown(plan=plan)


def test_a_wording_out_of_all_proportion_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sowing_in_place, "random_wording", lambda text, *_: text * 4000)
    result = sown(plan=PLAN.model_copy(update={"groups": 0, "naturals": 0, "reword_all": True}))
    assert all(r in RICH for r in result.train_rows)


def test_extra_tokens_are_those_of_the_wordings() -> None:
    plan = IN_PLACE.model_copy(update={"groups": 0, "naturals": 0, "reword_all": True})
    result = sow(RICH, plan, Letters(), SEED, rewording=REWORDING)
    kept = {r.prompt for r in result.train_rows}
    before = sum(Letters().count_tokens([r for r in RICH if r.prompt in kept]) or [])
    after = sum(Letters().count_tokens(result.train_rows) or [])
    assert after != before
    assert result.extra_tokens_percent == f"{100 * (after - before) / before:.2f}"
    assert result.extra_rows == 0


def test_refuses_what_the_data_can_not_carry() -> None:
    with fails(PlanError, setting="canaries.in_place", found="40"):
        sown(plan=IN_PLACE.model_copy(update={"in_place": 60}))
    with fails(PlanError, setting="rewording"):
        sown(rewording=None)
    with fails(PlanError, setting="rewording"):
        sown(plan=PLAN.model_copy(update={"reword_all": True}), rewording=None)


# --- what gives nothing away -----------------------------------------------------------------------------------------


def test_a_canarys_answer_is_distributed_as_any_other_rows() -> None:
    """Three gaps make eight wordings: each is as often a canary's answer, drawn among six, as another row's.

    About 2000 answers of either; the homogeneity of the two counts has chi-square of seven degrees, 1e-6 point 40.5.
    """
    rows = [row(f"How much is item {i}?", "one two three four") for i in range(130)]
    plan = CanaryPlan(
        groups=0, naturals=0, in_place=60, wordings=6, reword_all=True, held_out=4, queries_per_group=1, decoys=1
    )
    counts: list[Counter[str]] = [Counter(), Counter()]
    for run in range(33):
        result = sown(rows, plan, run.to_bytes(32, "big"))
        canaries = set(canary_rows(result))
        for place, sent in enumerate(result.train_rows):
            counts[place in canaries][sent.completion] += 1
    assert len(counts[0]) == len(counts[1]) == 8
    totals = [sum(count.values()) for count in counts]
    assert min(totals) > 1900
    distance = 0.0
    for text in counts[0]:
        both = counts[0][text] + counts[1][text]
        for count, total in zip(counts, totals, strict=True):
            expected = both * total / sum(totals)
            distance += (count[text] - expected) ** 2 / expected
    assert distance < 40.5
