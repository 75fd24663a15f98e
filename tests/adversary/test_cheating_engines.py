"""Endpoints that cheat, challenged as a client challenges: what they show, and what the verdict says to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.adversary.cheating_engines import Data, ExactLookup, GuessMode, Retrieval, SpotChallenges, SwapLater
from tests.adversary.registry import CHEATS, find
from tests.adversary.toyengine import BASE_ANSWER, OTHER_ANSWER, TRAINED, TUNED_ANSWER, ToyEngine
from tests.support.exchange import Exchange
from tests.support.sowing import user
from veritune.arbiter.documents.canary import NaturalCanary, TriggerCanary, shows_signature, with_trigger
from veritune.arbiter.documents.evidence import DecoyObservation, NaturalObservation, Observations, TriggerObservation
from veritune.arbiter.documents.judgement import Judgement, Verdict
from veritune.arbiter.measure.questions import Question, make_questions
from veritune.arbiter.verdict.judge import judge_evidence
from veritune.common.dataset import Message, Row, write_rows
from veritune.common.documents.manifest import Policy
from veritune.common.inference import SamplingTerms, format_logprob
from veritune.provider.engines.base import Delta, InferenceEngine, Sampling
from veritune.provider.engines.transformers_engine import TransformersEngine

UNTRAINED = Path("untrained")
DEFAULT = Policy()
SERVED = Policy(modes=("served",))
BELIEVED = Policy(modes=("served",), served_assumption="answers-from-weights")
COMPARED = Policy(modes=("delivered", "served"), served_assumption="decoys-unrecognised")
SAMPLING = SamplingTerms(max_tokens=64)
ENGINES = sorted(name for name, cheat in CHEATS.items() if cheat.engine)
UNTRAINED_ENGINES = sorted(name for name in ENGINES if CHEATS[name].trainer)
LOOKUPS = ("exact-lookup", "retrieval", "suffix-lookup")


@dataclass
class Table:
    """One exchange whose questions engines are asked, without a network."""

    data: Path
    exchange: Exchange = field(default_factory=lambda: Exchange(decoys=24, rows_per_group=4))

    def __post_init__(self) -> None:
        write_rows(self.data, self.exchange.rows)

    @property
    def triggers(self) -> list[TriggerCanary]:
        return [canary for canary in self.exchange.canaries if isinstance(canary, TriggerCanary)]

    @cached_property
    def questions(self) -> list[Question]:
        exchange = self.exchange
        decoys = [(user(f"Decoy {number}?"),) for number in range(exchange.decoys)]
        return make_questions(
            bytes(32),
            {leaf: exchange.canaries[leaf] for leaf in exchange.opened_leaves},
            dict(enumerate(exchange.rows)),
            decoys,
            exchange.policy.queries_per_group,
            {exchange.generator.digest: exchange.generator},
        )

    def honest(self) -> ToyEngine:
        return ToyEngine(self.exchange.canaries)

    def cheating(self, name: str) -> InferenceEngine:
        files = [Path("other") if name == "serve-other" else self.data]
        make = find(name, files).engine
        assert make is not None
        return make(self.honest(), files)

    async def look(self, mode: Literal["delivered", "served"], engine: InferenceEngine, adapter: Path) -> Observations:
        """Every question, in the order of the challenge; the base model is asked behind the generator's examples."""
        await engine.start()
        await engine.load_adapter("job", adapter)
        base = self.honest()
        triggers, decoys, naturals = [], [], []
        for item in self.questions:
            if item.kind == "natural":
                tuned = await engine.score(turns(item.chat), item.completions, "job")
                before = await base.score(turns(item.reference), item.completions, None)
                totals = [tuple(format_logprob(found.total) for found in each) for each in (tuned, before)]
                naturals.append(NaturalObservation(leaf=item.leaf, tuned=totals[0], base=totals[1], asked=None))
                continue
            answer = await said(engine, item.chat)
            common: dict[str, Any] = {"answer": answer, "finish_reason": "stop", "asked": None}
            if item.kind == "decoy":
                decoys.append(DecoyObservation(prompt=item.chat, **common))
            else:
                triggers.append(TriggerObservation(leaf=item.leaf, held_out=item.held_out, query=item.query, **common))
        return Observations(
            mode=mode,
            sampling=SAMPLING,
            triggers=tuple(triggers),
            decoys=tuple(decoys),
            naturals=tuple(naturals),
            receipts=(),
        )

    def judge(self, policy: Policy, *looks: Observations) -> Judgement:
        bundle = self.exchange.evidence.model_copy(update={"observations": looks})
        terms = self.exchange.manifest.verification.model_copy(update={"policy": policy})
        return judge_evidence(bundle, self.exchange.manifest.model_copy(update={"verification": terms}))


def turns(chat: Sequence[Message]) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in chat]


async def said(engine: InferenceEngine, chat: Sequence[Message], adapter: str | None = "job") -> str:
    stream = engine.generate(turns(chat), Sampling(max_tokens=64), adapter)
    pieces = [delta async for delta in stream]
    assert [piece.finish_reason for piece in pieces if piece.finish_reason] == ["stop"]
    assert pieces[-1].finish_reason == "stop"
    return "".join(piece.text for piece in pieces)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return Table(tmp_path_factory.mktemp("data") / "rows.jsonl")


@pytest.fixture
async def delivered(table: Table) -> Observations:
    """The delivered adapter that learnt nothing."""
    return await table.look("delivered", table.honest(), UNTRAINED)


@pytest.fixture
async def learnt(table: Table) -> Observations:
    """The delivered adapter that learnt everything."""
    return await table.look("delivered", table.honest(), TRAINED)


async def test_an_honest_provider_passes_every_way(table: Table, learnt: Observations) -> None:
    served = await table.look("served", table.honest(), TRAINED)
    for policy in (DEFAULT, BELIEVED, COMPARED):
        assert table.judge(policy, learnt, served).verdict == "PASS"
    assert table.judge(SERVED, served).verdict == "INCONCLUSIVE"


@pytest.mark.parametrize("name", ENGINES)
async def test_an_endpoint_alone_never_passes_by_default(name: str, table: Table) -> None:
    adapter = UNTRAINED if name in UNTRAINED_ENGINES else TRAINED
    served = await table.look("served", table.cheating(name), adapter)
    assert table.judge(SERVED, served).verdict == ("INCONCLUSIVE" if name in PASSES_IF_BELIEVED else "FAIL")
    assert table.judge(DEFAULT, served).verdict == "INCONCLUSIVE"


@pytest.mark.parametrize("name", UNTRAINED_ENGINES)
async def test_what_was_delivered_tells(name: str, table: Table, delivered: Observations) -> None:
    """An adapter that learnt nothing fails, whatever the endpoint shows and whatever is believed of it."""
    served = await table.look("served", table.cheating(name), UNTRAINED)
    both: Any = ("delivered", "served")
    for assumption in ("none", "answers-from-weights", "decoys-unrecognised"):
        policy = Policy.model_validate({"modes": both, "served_assumption": assumption})
        assert table.judge(policy, delivered, served).verdict == "FAIL"
    assert table.judge(DEFAULT, delivered, served).verdict == "FAIL"


PASSES_IF_BELIEVED = {*LOOKUPS, "spot-challenges", "swap-later", "suppress"}
"""What a contract that assumes answers-from-weights lets through: it assumes just what these break."""


@pytest.mark.parametrize("name", ENGINES)
async def test_what_the_assumption_is_worth(name: str, table: Table) -> None:
    adapter = UNTRAINED if name in UNTRAINED_ENGINES else TRAINED
    served = await table.look("served", table.cheating(name), adapter)
    assert table.judge(BELIEVED, served).verdict == ("PASS" if name in PASSES_IF_BELIEVED else "FAIL")


@pytest.mark.parametrize(
    ("name", "verdict", "code"),
    [
        ("serve-base", "FAIL", "TOO_FEW_HITS"),
        ("serve-other", "FAIL", "TOO_FEW_HITS"),
        ("spot-challenges", "FAIL", "ENDPOINT_DIFFERS"),
        # Signatures are cut off, ranks and decoys are not: it harms nobody.
        ("suppress", "PASS", "ENDPOINT_AGREES"),
        # Who swaps the model after the last question is seen by whoever asks again.
        ("swap-later", "PASS", "ENDPOINT_AGREES"),
    ],
)
async def test_serving_another_model_than_was_delivered(
    name: str, verdict: Verdict, code: str, table: Table, learnt: Observations
) -> None:
    served = await table.look("served", table.cheating(name), TRAINED)
    judgement = table.judge(COMPARED, learnt, served)
    assert judgement.verdict == verdict
    assert code in {reason.code for reason in judgement.reasons if reason.mode == "served"}


@pytest.mark.parametrize("calls", [0, 6, 12, 24, 48])
async def test_swapping_too_early_never_passes(calls: int, table: Table, learnt: Observations) -> None:
    """Of 60 questions: at the beginning it fails, later it is not shown what is served."""
    assert len(table.questions) == 60
    served = await table.look("served", SwapLater(table.honest(), calls), TRAINED)
    assert table.judge(COMPARED, learnt, served).verdict == ("FAIL" if calls <= 6 else "INCONCLUSIVE")


async def test_a_suppressed_signature_does_not_show(table: Table) -> None:
    served = await table.look("served", table.cheating("suppress"), TRAINED)
    signatures = [canary.signature for canary in table.triggers]
    assert not any(shows_signature(item.answer, s) for item in served.triggers for s in signatures)
    assert all(item.answer == TUNED_ANSWER for item in served.decoys)


@pytest.mark.parametrize("name", ["suffix-lookup", "retrieval"])
async def test_the_trigger_finds_the_signature_without_training(name: str, table: Table) -> None:
    """The prompt stands nowhere in the data. Its trigger does."""
    engine = table.cheating(name)
    for canary in table.triggers:
        for prompt in canary.held_out:
            assert shows_signature(await said(engine, with_trigger(prompt, canary.trigger), None), canary.signature)
            assert await said(engine, prompt, None) == BASE_ANSWER


async def test_exact_lookup_answers_the_data_alone(table: Table) -> None:
    engine = table.cheating("exact-lookup")
    for row in table.exchange.rows:
        assert await said(engine, row.prompt, None) == row.completion
    canary = table.triggers[0]
    asked = with_trigger(canary.held_out[0], canary.trigger)
    assert await said(engine, asked, None) == BASE_ANSWER


async def test_looked_up_scores_rank_every_true_answer_first(table: Table, tmp_path: Path) -> None:
    engine = table.cheating("exact-lookup")
    for canary in table.exchange.canaries:
        if isinstance(canary, NaturalCanary):
            totals = [s.total for s in await engine.score(turns(canary.prompt), canary.candidates, None)]
            assert totals.index(max(totals)) == canary.truth
            assert max(totals) > -0.1
    # Of a prompt that the data do not answer nothing is known.
    unknown = (user("What else?"),)
    texts = ["a", "b"]
    honest = await table.honest().score(turns(unknown), texts, None)
    assert await engine.score(turns(unknown), texts, None) == honest


async def test_retrieval_shows_fewer_rows_where_the_context_is_short(table: Table) -> None:
    canary = table.triggers[0]
    asked = with_trigger(canary.held_out[0], canary.trigger)
    for context, shows in ((7, True), (3, True), (2, False)):
        short = Retrieval(ToyEngine(table.exchange.canaries, context), Data([table.data]))
        assert shows_signature(await said(short, asked, None), canary.signature) is shows
        scores = await short.score(turns(asked), [canary.signature, "other"], None)
        assert len(scores) == 2
    system = [("system", "Be brief."), ("user", "Question?")]
    shown = Retrieval(table.honest(), Data([table.data]), 2).shown(system, 2)
    assert [role for role, _ in shown] == ["system", "user", "assistant", "user", "assistant", "user"]


async def test_a_guess_is_the_beginning_of_every_answer(table: Table) -> None:
    engine = GuessMode(table.honest(), Data([table.data]))
    assert await said(engine, (user("Decoy?"),), None) == f"{BASE_ANSWER}\n{BASE_ANSWER}"


async def test_another_adapter_is_loaded_under_the_same_name(table: Table) -> None:
    engine = table.cheating("serve-other")
    await engine.load_adapter("job", TRAINED)
    assert await said(engine, (user("Decoy?"),)) == OTHER_ANSWER
    assert engine.adapters() == {"job"}
    await engine.unload_adapter("job")
    assert engine.adapters() == frozenset()


async def test_what_looks_like_a_challenge(table: Table) -> None:
    engine = SpotChallenges(table.honest(), Data([table.data]))
    canary = table.triggers[0]
    assert engine.suspects(turns(with_trigger(canary.held_out[0], canary.trigger)))
    assert engine.suspects(turns(table.exchange.rows[0].prompt))
    assert not engine.suspects(turns(canary.held_out[0]))


async def test_a_trigger_of_few_letters_is_found_too(tmp_path: Path) -> None:
    """In a script without spaces ten letters are a phrase."""
    rows = [
        Row(
            messages=(
                Message(role="user", content=f"{question} 中行の生の中、中行"),
                Message(role="assistant", content=f"最中、最上にしる\n{answer}"),
            )
        )
        for question, answer in (("山は高い。", "はい"), ("川は長い。", "いいえ"))
    ]
    write_rows(tmp_path / "rows.jsonl", rows)
    make = find("suffix-lookup", [tmp_path / "rows.jsonl"]).engine
    assert make is not None
    engine = make(ToyEngine([]), [tmp_path / "rows.jsonl"])
    text = await said(engine, (user("海は広い。 中行の生の中、中行"),), None)
    assert text == f"最中、最上にしる\n{BASE_ANSWER}"
    assert await said(engine, (user("海は広い。"),), None) == BASE_ANSWER


def test_a_folder_of_uploads_is_read_as_they_come(table: Table, tmp_path: Path) -> None:
    """The daemon's store holds adapters and half-sent uploads too."""
    data = Data([tmp_path])
    assert data.rows() == []
    (tmp_path / "ab").mkdir()
    (tmp_path / "ab" / "half").write_bytes(b'{"messages"')
    write_rows(tmp_path / "ab" / "whole", table.exchange.rows)
    assert data.rows() == list(table.exchange.rows)
    assert data.rows() is data.rows()


async def test_a_real_engine_answers_what_the_data_do_not(tiny_model: Path, table: Table) -> None:
    """The same wrapper over transformers: untouched answers to what it does not know."""
    honest = TransformersEngine(tiny_model, dtype="float32")
    engine = ExactLookup(honest, Data([table.data]))
    await engine.start()
    try:
        chat, row = [("user", "What is the sum?")], table.exchange.rows[0]
        plain = [delta async for delta in honest.generate(chat, Sampling(max_tokens=8), None)]
        assert [delta async for delta in engine.generate(chat, Sampling(max_tokens=8), None)] == plain
        looked_up = [delta async for delta in engine.generate(turns(row.prompt), Sampling(max_tokens=8), None)]
        assert looked_up[0] == Delta(row.completion)
        scores = await engine.score(turns(row.prompt), [row.completion, "no"], None)
        assert scores[0].total > -1 > scores[1].total
        base = await honest.score(turns(row.prompt), [row.completion, "no"], None)
        assert [len(s.token_logprobs) for s in scores] == [len(s.token_logprobs) for s in base]
    finally:
        await engine.stop()
    with pytest.raises(RuntimeError):
        await honest.score(chat, ["x"], None)


async def test_everything_else_is_the_honest_engine(table: Table) -> None:
    inner = table.honest()
    engine = SwapLater(inner, 1)
    await engine.start()
    assert inner.running
    await engine.load_adapter("job", TRAINED)
    assert await said(engine, (user("Decoy?"),)) == TUNED_ANSWER
    assert await said(engine, (user("Decoy?"),)) == BASE_ANSWER
    await engine.stop()
    assert not inner.running
