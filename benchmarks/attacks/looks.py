"""What an attack shows and how it is judged: the delivered adapter, or an engine that serves something else."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.paper import calibrate, looking
from benchmarks.paper.demo_policy import DEMO
from veritune.arbiter.documents.canary import TriggerCanary, shows_signature
from veritune.arbiter.documents.evidence import Observations
from veritune.arbiter.documents.judgement import Judgement
from veritune.arbiter.measure.local_model import LocalModel
from veritune.arbiter.measure.questions import Question
from veritune.arbiter.statistics.exact import log10_text
from veritune.arbiter.statistics.influence import GroupResult, Ranked, influence_p
from veritune.arbiter.verdict.agreement import compare
from veritune.arbiter.verdict.judge import judge
from veritune.arbiter.verdict.look import GroupLook, Look, look_of
from veritune.client.challenge.answer_log import AnswerLog, Entry
from veritune.client.challenge.ask import ask_delivered
from veritune.client.challenge.observe import observe
from veritune.common.documents.manifest import Policy
from veritune.common.inference import SamplingTerms, format_logprob
from veritune.provider.engines.base import InferenceEngine, Sampling

DEFAULT = Policy()
SERVED = Policy(modes=("served",))
BELIEVED = Policy(modes=("served",), served_assumption="answers-from-weights")
COMPARED = Policy(modes=("delivered", "served"), served_assumption="decoys-unrecognised")


def judged(seen: dict[str, Any], rows: int) -> dict[str, Any]:
    """Verdicts on a delivered adapter by the default policy and by the demo's, with the figures behind them.

    ``seen`` is what `looking.look` returns; ``rows`` is the size of the data set.
    """
    groups = [GroupResult(len(g["held_out"]), g["bits"], g["length"], any(g["held_out"])) for g in seen["groups"]]
    naturals = tuple(Ranked(n["rank"], n["candidates"], n["copies"]) for n in seen["naturals"])
    look = Look(
        mode="delivered",
        groups=tuple(
            GroupLook(group, sum(g["held_out"]), len(g["in_data"]), sum(g["in_data"]), certified=True)
            for group, g in zip(groups, seen["groups"], strict=True)
        ),
        naturals=naturals,
        decoys_asked=len(seen["decoys"]),
        decoys_shown=sum(seen["decoys"]),
        missing=0,
    )
    found = judge(DEFAULT, rows, [look])
    return {
        "verdict": found.verdict,
        "verdict_demo": judge(DEMO, rows, [look]).verdict,
        "log10_p": log10_text(influence_p(groups, naturals)),
        "share_least": found.modes[0].coverage.share_least,
        "groups_found": sum(group.found for group in groups),
        "groups": len(groups),
        "hits": found.modes[0].coverage.hits,
        "of": found.modes[0].coverage.asked,
    }


@dataclass(frozen=True)
class Endpoint:
    """A cheating endpoint over a real base model, and the adapter that was delivered beside it.

    ``name`` names the file of its answers under ``folder``, by which a look that was broken off goes on; ``delivered``
    that of the adapter's answers, which several endpoints share.
    """

    run: calibrate.Run
    sown: calibrate.Layout
    engine: InferenceEngine
    adapter: Path
    max_tokens: int
    folder: Path
    name: str
    delivered: str

    def look(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Verdicts on the endpoint alone, believed, and compared with the adapter; and what its groups showed."""
        plan, sown = calibrate.plan_for(self.run.data, self.run.plan), self.sown
        questions = looking.questions_of(sown.canaries, sown.rows, sown.decoys, plan.queries_per_group, sown.generators)
        delivered, base = self._ask_adapter(questions)
        served = asyncio.run(self._ask_endpoint(questions, base))
        opened, matches = list(enumerate(sown.canaries)), compare((delivered, served))

        def judgement(policy: Policy) -> Judgement:
            both = {"delivered": delivered, "served": served}
            looks = [look_of(opened, sown.generators, both[mode], policy, len(opened)) for mode in policy.modes]
            return judge(
                policy,
                len(sown.rows),
                [replace(look, matches=matches) if look.mode == "served" else look for look in looks],
            )

        alone = judgement(SERVED)
        claim = alone.modes[0]
        return {
            "verdict": alone.verdict,
            "verdict_believed": judgement(BELIEVED).verdict,
            "verdict_compared": judgement(COMPARED).verdict,
            "log10_p": claim.influence.log10_p,
            "share_least": claim.coverage.share_least,
            "groups_found": claim.influence.groups_found,
            "groups": claim.influence.groups,
            "hits": claim.coverage.hits,
            "of": claim.coverage.asked,
            "decoys_alike": [0, 0] if matches is None else [matches.equal, matches.asked],
        }, _groups_seen(sown, served)

    def _ask_adapter(self, questions: Sequence[Question]) -> tuple[Observations, dict[str, tuple[str, ...]]]:
        """What the adapter answers, and of each natural canary's question, by digest, the base model's scores."""
        once = looking.OnceScored(self.folder / "base-scores.json")
        once.model = LocalModel(self.run.model)
        once.model.attach(self.adapter, self.run.training)
        log = AnswerLog(self.folder / f"{self.delivered}.answers")
        ask_delivered(questions, once, SamplingTerms(max_tokens=self.max_tokens), log)
        return observe("delivered", questions, log), {name: entry.base for name, entry in log.entries.items()}

    async def _ask_endpoint(self, questions: Sequence[Question], base: dict[str, tuple[str, ...]]) -> Observations:
        """Every question, one after the other, as a client asks."""
        log = AnswerLog(self.folder / f"{self.name}.answers")
        log.begin(SamplingTerms(max_tokens=self.max_tokens))
        await self.engine.start()
        try:
            await self.engine.load_adapter("job", self.adapter)
            for item in questions:
                if item.digest not in log.entries:
                    log.add(await self._answer(item, base.get(item.digest, ())))
        finally:
            await self.engine.stop()
        return observe("served", questions, log)

    async def _answer(self, item: Question, base: tuple[str, ...]) -> Entry:
        chat = [(turn.role, turn.content) for turn in item.chat]
        if item.completions:
            scores = await self.engine.score(chat, item.completions, "job")
            return Entry(question=item.digest, tuned=tuple(format_logprob(s.total) for s in scores), base=base)
        text, finish = "", ""
        async for delta in self.engine.generate(chat, Sampling(max_tokens=self.max_tokens), "job"):
            text, finish = text + delta.text, delta.finish_reason or finish
        return Entry(question=item.digest, text=text, finish_reason="length" if finish == "length" else "stop")


def _groups_seen(sown: calibrate.Layout, observed: Observations) -> dict[str, Any]:
    """The groups of `looking.look`'s result, for the published test."""
    groups = []
    for leaf, canary in enumerate(sown.canaries):
        if isinstance(canary, TriggerCanary):
            mine = [item for item in observed.triggers if item.leaf == leaf and not item.held_out]
            shown = [shows_signature(item.answer, canary.signature) for item in mine]
            groups.append({"rows": len(canary.rows), "bits": canary.bits, "in_data": shown})
    return {"groups": groups}
