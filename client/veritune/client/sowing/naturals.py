"""Natural canaries: rows whose answer was drawn uniformly among candidates, one of which the provider trains on.

Candidates are answers that a model drew or that the data have for a set-aside row, or wordings of a real row's answer
(`sowing.in_place`). The true one is drawn from a stream of its own once the candidates are fixed, so each is equally
likely whatever the candidates are (docs/statistics.md, equation 2).
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
    """A natural canary before its rows have places: ``row`` has the true answer, ``candidates[truth]``.

    The training set will have ``copies`` of the row.
    """

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
    """One natural canary for each of ``hosts``, the set-aside rows; the hosts' own answers are not used.

    Canary i has ``plan.repetitions[i % length]`` copies. Its candidates are a sample of those ``given`` for its host;
    if there are none, the generator draws some and those most like the data's are kept (``likeness``).

    Raises `PlanError` if the generator gives too few different answers, `EndpointError` if it can't be asked.
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
    """A row with the prompt and source of ``row`` and another answer."""
    return Row(messages=(*row.prompt, Message(role="assistant", content=answer)), source=row.source)
