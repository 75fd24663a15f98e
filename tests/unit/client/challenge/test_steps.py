"""A sequential challenge: what it asks, when it stops, that it goes on after a kill, what the audit makes of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.challenge_folder import MAX_TOKENS, SEQUENTIAL, Knowing, exchange, lay
from tests.support.exchange import HONEST, UNTRAINED, Behaviour, small
from tests.support.scrypt import cheapen
from veritune.arbiter.audit.audit import audit
from veritune.arbiter.documents.canary import Canary, NaturalCanary, PaddingCanary, TriggerCanary
from veritune.arbiter.documents.evidence import Evidence
from veritune.arbiter.measure.questions import Question
from veritune.arbiter.selection import leaves_available
from veritune.client.challenge.answer_log import AnswerLog
from veritune.client.challenge.run import LEAVES_AT_ONCE
from veritune.client.challenge.steps import is_settled, steps_begun, steps_of
from veritune.common.canonical import canonical_bytes
from veritune.common.dataset import Message
from veritune.common.documents.manifest import Policy
from veritune.common.errors import AuditError, StepError

BOTH = SEQUENTIAL.model_copy(
    update={"modes": ("delivered", "served"), "served_assumption": "answers-from-weights"},
)


# --- the order ------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _cheap_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    cheapen(monkeypatch)


def ask(kind: Any, leaf: int, query: int = 0) -> Question:
    return Question(kind, leaf, query, True, (Message(role="user", content=f"{kind} {leaf} {query}"),))


QUESTIONS = [
    ask("trigger", 7, 1),
    ask("decoy", 0, 0),
    ask("natural", 0),
    ask("natural", 4),
    ask("trigger", 7, 0),
    ask("decoy", 0, 1),
    ask("natural", 9),
]


def test_questions_come_leaf_by_leaf_with_decoys_spread_among_them() -> None:
    steps = steps_of([5, 9, 7, 2, 0, 4, 8], QUESTIONS)
    assert [step.place for step in steps] == [1, 2, 4, 5]
    asked = [[item.chat[0].content for item in step.questions] for step in steps]
    assert asked == [
        ["natural 9 0"],
        ["trigger 7 1", "decoy 0 0", "trigger 7 0"],
        ["natural 0 0"],
        ["natural 4 0", "decoy 0 1"],
    ]
    assert sorted(item.digest for step in steps for item in step.questions) == sorted(q.digest for q in QUESTIONS)


def test_more_decoys_than_leaves_and_no_leaf_at_all() -> None:
    decoys = [ask("decoy", 0, number) for number in range(5)]
    steps = steps_of([3, 1], [*decoys, ask("natural", 1), ask("natural", 3)])
    assert [len(step.questions) for step in steps] == [3, 4]
    assert [(step.place, len(step.questions)) for step in steps_of([3, 1], decoys)] == [(0, 5)]
    assert steps_of([3, 1], []) == ()


def test_steps_count_up_to_the_last_one_with_an_answer() -> None:
    steps = steps_of([9, 7, 0, 4], QUESTIONS)
    assert steps_begun(steps, set()) == 0
    assert steps_begun(steps, {QUESTIONS[6].digest}) == 1
    assert steps_begun(steps, {QUESTIONS[3].digest}) == 4
    assert not steps[1].is_answered({QUESTIONS[0].digest, QUESTIONS[1].digest})
    assert steps[1].is_begun({QUESTIONS[0].digest})


def test_leaves_of_the_last_session_may_be_fewer() -> None:
    terms = exchange(leaves_per_session=24).manifest.verification
    assert [leaves_available(session, terms) for session in (1, 2, 3, 4)] == [24, 24, 16, 0]


# --- a run on disk --------------------------------------------------------------------------------------------------


def canaries_of(evidence: Evidence) -> list[Canary]:
    return [o.canary for o in evidence.openings if not isinstance(o.canary, PaddingCanary)]


@pytest.mark.parametrize(("behaviour", "verdict"), [(HONEST, "PASS"), (UNTRAINED, "FAIL")])
def test_a_delivered_challenge_stops_once_the_evidence_is_enough(
    tmp_path: Path, behaviour: Behaviour, verdict: str
) -> None:
    table = lay(tmp_path, exchange())
    table.deliver(model := Knowing(table.deal, behaviour))
    assert table.verdict() == verdict
    evidence = table.run().evidence()
    opened = [opening.leaf for opening in evidence.openings]
    assert opened == list(table.deal.opened_leaves[: len(opened)])
    assert len(opened) < 40
    # One look earlier it was not yet decided.
    fewer = canaries_of(evidence)[: -LEAVES_AT_ONCE["delivered"]]
    earlier = {o.leaf for o in evidence.openings if o.canary in fewer}
    cut = evidence.observations[0].model_copy(
        update={
            "triggers": tuple(t for t in evidence.observations[0].triggers if t.leaf in earlier),
            "naturals": tuple(n for n in evidence.observations[0].naturals if n.leaf in earlier),
        }
    )
    before = table.deal.report_on(evidence.model_copy(update={"observations": (cut,)})).statement
    assert before.verdict == "INCONCLUSIVE"
    # Nothing more is asked afterwards, and no model is loaded for it.
    asked = list(model.asked)
    assert table.run().is_answered("delivered")
    table.run().ask_delivered(lambda: pytest.fail("loaded again"), MAX_TOKENS, 32)
    assert model.asked == asked


def test_what_was_not_asked_stays_secret(tmp_path: Path) -> None:
    table = lay(tmp_path, exchange())
    table.deliver(Knowing(table.deal, HONEST))
    evidence = table.run().evidence()
    opened, data = {o.leaf for o in evidence.openings}, evidence.to_bytes()
    closed = [leaf for leaf in range(64) if leaf not in opened]
    assert closed
    for leaf in closed:
        canary = table.deal.canaries[leaf]
        assert table.deal.salt(leaf).hex().encode() not in data
        if isinstance(canary, TriggerCanary):
            assert canary.signature.encode() not in data
        if isinstance(canary, NaturalCanary):
            assert canonical_bytes(canary.candidates[canary.truth]) not in data


def test_a_served_challenge_stops_by_itself_and_both_modes_share_a_prefix(tmp_path: Path) -> None:
    table = lay(tmp_path, exchange(policy=BOTH))
    table.deliver(Knowing(table.deal, HONEST))
    # The endpoint is duller: every third canary comes out last, so that it is asked for longer.
    duller = Behaviour(rank=lambda natural: 16 if natural % 3 == 2 else 1)
    table.serve(Knowing(table.deal, duller), base=Knowing(table.deal, duller))
    assert table.verdict() == "PASS"
    evidence = table.run().evidence()
    modes = table.deal.report_on(evidence).statement.predicate.judgement.modes
    delivered, served = (mode.extent.leaves for mode in modes)
    assert delivered < served == len(evidence.openings) < 64
    assert {mode.extent.available for mode in modes} == {64}


def test_a_mode_that_can_not_pass_stops_when_all_is_shown(tmp_path: Path) -> None:
    policy = SEQUENTIAL.model_copy(update={"modes": ("served",)})
    table = lay(tmp_path, exchange(policy=policy, modes=("served",)))
    table.serve(Knowing(table.deal, HONEST), base=Knowing(table.deal, HONEST))
    assert table.verdict() == "INCONCLUSIVE"
    assert len(table.run().evidence().openings) < 40


@pytest.mark.parametrize("dies_after", [0, 1, 4, 7, 11])
def test_a_killed_challenge_goes_on_and_ends_in_the_same_place(tmp_path: Path, dies_after: int) -> None:
    whole, killed = lay(tmp_path / "a", exchange()), lay(tmp_path / "b", exchange())
    whole.deliver(Knowing(whole.deal, HONEST))
    with pytest.raises(KeyboardInterrupt):
        killed.deliver(first := Knowing(killed.deal, HONEST, dies_after))
    assert not killed.run().is_answered("delivered")
    killed.deliver(second := Knowing(killed.deal, HONEST))
    assert not set(first.asked) & set(second.asked)
    assert killed.files() == whole.files()


def test_a_challenge_broken_off_within_a_leaf_decides_nothing(tmp_path: Path) -> None:
    deal = exchange(naturals=4, groups=8)
    table = lay(tmp_path, deal)
    with pytest.raises(KeyboardInterrupt):
        table.deliver(Knowing(deal, HONEST, dies_after=3))
    assert table.verdict() == "INCONCLUSIVE"
    with pytest.raises(StepError):
        lay(tmp_path / "new", deal).run().evidence()


def test_without_enough_evidence_everything_is_asked(tmp_path: Path) -> None:
    policy = SEQUENTIAL.model_copy(update={"alpha": "1e-300"})
    table = lay(tmp_path, exchange(policy=policy))
    table.deliver(Knowing(table.deal, HONEST))
    assert table.verdict() == "INCONCLUSIVE"
    assert len(canaries_of(table.run().evidence())) == 43
    assert table.run().is_answered("delivered")
    shown = [event for event in table.events if event[0] == "challenge (delivered)"]
    assert shown[-1][1:] == (len(table.run().questions),) * 2


def test_progress_shows_the_evidence_so_far(tmp_path: Path) -> None:
    table = lay(tmp_path, exchange())
    table.deliver(Knowing(table.deal, HONEST))
    shown = [event[1:] for event in table.events if event[0] == "-log10 p (delivered)"]
    assert shown[0][0] < shown[-1][0]
    assert shown[-1][0] >= 12
    assert {needed for _, needed in shown} == {12}
    never = lay(tmp_path / "b", exchange(policy=SEQUENTIAL.model_copy(update={"alpha": "0"}), naturals=2))
    never.deliver(Knowing(never.deal, HONEST))
    assert {event[2] for event in never.events if event[0] == "-log10 p (delivered)"} == {0}


def test_the_fixed_form_asks_and_opens_everything(tmp_path: Path) -> None:
    table = lay(tmp_path, exchange(policy=Policy(coverage_floor="0.25")))
    table.deliver(model := Knowing(table.deal, HONEST))
    assert len(model.asked) == len(table.run().questions)
    assert len(table.run().evidence().openings) == 64
    assert table.verdict() == "PASS"
    assert not any(what.startswith("-log10") for what, _, _ in table.events)


def test_an_answer_that_decides_nothing_ends_the_challenge() -> None:
    """It would be missing whatever else were asked."""
    deal = exchange(opens=20)
    observations = deal.evidence.observations[0]
    held_out = next(t for t in observations.triggers if t.held_out)
    left = observations.model_copy(update={"triggers": tuple(t for t in observations.triggers if t is not held_out)})
    judgement = deal.report_on(deal.evidence.model_copy(update={"observations": (left,)})).statement.predicate.judgement
    assert judgement.modes[0].missing == 1
    assert is_settled(judgement)
    assert not is_settled(exchange(opens=5).report.statement.predicate.judgement)


# --- the audit ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opens", [1, 7, 63, 64])
def test_any_prefix_passes_the_audit(opens: int) -> None:
    deal = exchange(opens=opens, modes=("delivered", "served"), policy=BOTH)
    result = audit(deal.report_bytes, deal.evidence_bytes, *deal.keys)
    assert result.verdict == ("PASS" if opens > 60 else "INCONCLUSIVE")


def test_a_few_leaves_are_too_little_and_most_are_enough() -> None:
    verdicts = [exchange(opens=opens).report.statement.verdict for opens in (5, 50)]
    assert verdicts == ["INCONCLUSIVE", "PASS"]


@pytest.mark.parametrize(
    "chosen",
    [
        lambda leaves: leaves[1:],  # the first one left out
        lambda leaves: (*leaves[:5], *leaves[6:]),  # a gap
        lambda leaves: (leaves[1], leaves[0], *leaves[2:]),  # another order
        lambda leaves: (leaves[-1],),  # one picked by hand
    ],
)
def test_leaves_that_are_no_prefix_are_refused(chosen: Callable[[tuple[int, ...]], tuple[int, ...]]) -> None:
    deal = exchange(opens=10)
    cheat = deal.having(opened_leaves=chosen(deal.opened_leaves))
    with pytest.raises(AuditError) as found:
        audit(cheat.report_bytes, cheat.evidence_bytes, *deal.keys)
    assert found.value.check == 9


def test_the_fixed_form_still_opens_every_leaf() -> None:
    deal = small(opens=7)
    with pytest.raises(AuditError) as found:
        audit(deal.report_bytes, deal.evidence_bytes, *deal.keys)
    assert found.value.check == 9


def test_a_gap_in_the_answers_decides_nothing_and_a_shorter_look_counts_what_it_has() -> None:
    deal = exchange(opens=50)
    evidence = deal.evidence
    observations = evidence.observations[0]
    order = [opening.leaf for opening in evidence.openings]

    def verdict(keep: Callable[[int], bool]) -> tuple[str, int]:
        cut = observations.model_copy(
            update={
                "triggers": tuple(t for t in observations.triggers if keep(order.index(t.leaf))),
                "naturals": tuple(n for n in observations.naturals if keep(order.index(n.leaf))),
            }
        )
        report = deal.report_on(evidence.model_copy(update={"observations": (cut,)}))
        mode = report.statement.predicate.judgement.modes[0]
        return mode.verdict, mode.extent.leaves

    naturals = [place for place, o in enumerate(evidence.openings) if isinstance(o.canary, NaturalCanary)]
    assert verdict(lambda place: True)[0] == "PASS"
    assert verdict(lambda place: place != naturals[3])[0] == "INCONCLUSIVE"
    assert verdict(lambda place: place <= naturals[-2]) == ("PASS", naturals[-2] + 1)
    assert verdict(lambda place: place <= naturals[0])[0] == "INCONCLUSIVE"
    assert verdict(lambda place: False) == ("INCONCLUSIVE", 0)


def test_the_log_of_a_new_run_is_empty(tmp_path: Path) -> None:
    table = lay(tmp_path, exchange())
    assert not AnswerLog(table.space.answers(1, "delivered")).entries
    assert not table.run().is_answered("delivered")
