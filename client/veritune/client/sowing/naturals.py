"""Natural canaries: answers drawn or given for set-aside rows, and rewordings of real rows where they stand.

Of both, the true candidate is drawn uniformly, from a stream of its own, once the candidates are fixed: whatever the
candidates are, each is as likely (docs/statistics.md, equation 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from veritune.arbiter.documents.canary import of_different_forms
from veritune.client.generation.protocols import TextGenerator
from veritune.client.job.canary_plan import CanaryPlan
from veritune.client.progress import Progress
from veritune.client.randomness import SecretStream
from veritune.client.sowing.likeness import Likeness
from veritune.common.dataset import Message, Row


@dataclass(frozen=True)
class Natural:
    """A natural canary before its rows have places: ``row`` carries the true answer and stands ``copies`` times."""

    row: Row
    candidates: tuple[str, ...]
    truth: int
    copies: int = 1


def draw_naturals(
    hosts: Sequence[Row],
    given: Sequence[tuple[str, ...]],
    examples: Sequence[Row],
    plan: CanaryPlan,
    generator: TextGenerator,
    likeness: Likeness,
    seed: bytes,
    on_progress: Progress,
) -> list[Natural]:
    """A canary for each of the set-aside rows, whose own answers are not used; copies go round the plan's list.

    Candidates are those that are ``given`` for the host, as many as the plan says, or drawn ones where there are
    none: of these the ones that look most like the data's.
    """
    asked = [number for number, answers in enumerate(given) if not answers]
    streams = [SecretStream(seed, f"candidates/{number}") for number in asked]
    prompts = [hosts[number].prompt for number in asked]
    answers = generator.answers(examples, prompts, plan, streams, on_progress) if asked else []
    drawn = dict(zip(asked, answers, strict=True))
    naturals = []
    for number, host in enumerate(hosts):
        stream = SecretStream(seed, f"likeness/{number}")
        if number in drawn:
            texts = of_different_forms(drawn[number])
            if len(texts) < plan.candidates:
                raise RuntimeError("a generator gave too few different candidates")
            candidates = likeness.pick(host.prompt[-1].content, texts, plan.candidates, stream)
        else:
            candidates = tuple(stream.sample(given[number], min(plan.candidates, len(given[number]))))
        truth = SecretStream(seed, f"truth/{number}").below(len(candidates))
        copies = plan.repetitions[number % len(plan.repetitions)]
        naturals.append(Natural(answered(host, candidates[truth]), candidates, truth, copies))
    return naturals


def answered(row: Row, answer: str) -> Row:
    """The row's prompt with another answer."""
    return Row(messages=(*row.prompt, Message(role="assistant", content=answer)), source=row.source)
