"""A session's questions put to the delivered adapter or to the served endpoint, and what came back as evidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from veritune.arbiter.documents.evidence import (
    EnvelopeDocument,
    ReceiptRef,
)
from veritune.arbiter.measure.questions import Question
from veritune.client.challenge.answer_log import AnswerLog, Entry
from veritune.client.challenge.at_once import answers_at_once
from veritune.client.exchange.inference_client import InferenceClient, ServedAnswer, ServedScores
from veritune.client.progress import Progress, no_progress
from veritune.common.dataset import Message
from veritune.common.inference import SamplingTerms, format_logprob


class Text(Protocol):
    """An answer of any model."""

    @property
    def text(self) -> str: ...
    @property
    def finish_reason(self) -> Literal["stop", "length"]: ...


class Model(Protocol):
    """What the delivered challenge asks of a model; `veritune.arbiter.measure.local_model.LocalModel` is one."""

    def answers(
        self,
        chats: Sequence[Sequence[Message]],
        max_tokens: int,
        *,
        tuned: bool = True,
        batch_size: int = 32,
        on_answer: Callable[[int, Text], None] = ...,
    ) -> Sequence[Text]: ...

    def scores(self, chat: Sequence[Message], completions: Sequence[str], *, tuned: bool = True) -> list[float]: ...


def ask_delivered(
    questions: Sequence[Question],
    model: Model,
    sampling: SamplingTerms,
    log: AnswerLog,
    *,
    batch_size: int = 32,
    progress: Progress = no_progress,
    among: Sequence[Question] | None = None,
) -> None:
    """Puts to the delivered adapter what the log has no answer for yet.

    ``among`` is what the progress counts, where ``questions`` are a part of it.
    """
    log.begin(sampling)
    meter = _Meter("challenge (delivered)", among or questions, log, progress)
    texts = [item for item in questions if not item.completions and item.digest not in log.entries]

    def keep(index: int, answer: Text) -> None:
        log.add(Entry(question=texts[index].digest, text=answer.text, finish_reason=answer.finish_reason))
        meter.step()

    if texts:
        chats = [item.chat for item in texts]
        model.answers(chats, sampling.max_tokens, tuned=True, batch_size=batch_size, on_answer=keep)
    for item in questions:
        if item.completions and item.digest not in log.entries:
            tuned = _texts(model.scores(item.chat, item.completions, tuned=True))
            base = _texts(model.scores(item.reference, item.completions, tuned=False))
            log.add(Entry(question=item.digest, tuned=tuned, base=base))
            meter.step()


def ask_served(
    questions: Sequence[Question],
    endpoint: InferenceClient,
    base_scores: Callable[[Question], tuple[str, ...]],
    sampling: SamplingTerms,
    log: AnswerLog,
    *,
    at_once: int = 1,
    progress: Progress = no_progress,
    among: Sequence[Question] | None = None,
) -> None:
    """Puts to the endpoint what the log has no answer for yet, with ``at_once`` calls under way at most.

    ``base_scores`` are the client's own measurements of the base model, which both sides hold; ``among`` is what the
    progress counts, where ``questions`` are a part of it.
    """
    log.begin(sampling)
    meter = _Meter("challenge (served)", among or questions, log, progress)

    def begin(item: Question) -> Callable[[], ServedAnswer | ServedScores]:
        nonce = log.nonce(item.digest)
        if item.completions:
            return lambda: endpoint.score(item.chat, item.completions, nonce)
        return lambda: endpoint.generate(item.chat, sampling, nonce)

    for item, found in answers_at_once(_unanswered_first(questions, log), begin, at_once):
        log.add(_entry(item, found, log.nonces[item.digest], base_scores))
        meter.step()
    endpoint.require_whole()


def _entry(
    item: Question, found: ServedAnswer | ServedScores, nonce: str, base_scores: Callable[[Question], tuple[str, ...]]
) -> Entry:
    asked, receipt = ReceiptRef(nonce=nonce, sequence=found.sequence), EnvelopeDocument.of(found.receipt)
    if isinstance(found, ServedScores):
        return Entry(question=item.digest, tuned=found.totals, base=base_scores(item), asked=asked, receipt=receipt)
    return Entry(question=item.digest, text=found.text, finish_reason=found.finish_reason, asked=asked, receipt=receipt)


class _Meter:
    """Counts answers, those of an earlier process too."""

    def __init__(self, what: str, questions: Sequence[Question], log: AnswerLog, progress: Progress) -> None:
        self._what, self._progress, self._total = what, progress, len(questions)
        self._done = sum(item.digest in log.entries for item in questions)
        progress(what, self._done, self._total)

    def step(self) -> None:
        self._done += 1
        self._progress(self._what, self._done, self._total)


def _unanswered_first(questions: Sequence[Question], log: AnswerLog) -> list[Question]:
    """What has no answer yet; a call that was under way when the process died comes first, to get its own receipt."""
    left = [item for item in questions if item.digest not in log.entries]
    return sorted(left, key=lambda item: item.digest not in log.nonces)


def _texts(values: Sequence[float]) -> tuple[str, ...]:
    return tuple(format_logprob(value) for value in values)
