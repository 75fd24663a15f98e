"""Asks the delivered adapter or the served endpoint a session's questions, and logs each answer as it comes."""

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
    """A generated answer; `veritune.arbiter.measure.local_model.LocalAnswer` is one."""

    @property
    def text(self) -> str:
        """The answer without its end-of-turn token."""

    @property
    def finish_reason(self) -> Literal["stop", "length"]:
        """``stop`` where the model ended the answer itself, ``length`` where the limit of tokens cut it off."""


class Model(Protocol):
    """The interface of the local model that holds the adapter; `LocalModel` of `veritune.arbiter.measure` is one."""

    def answers(
        self,
        chats: Sequence[Sequence[Message]],
        max_tokens: int,
        *,
        tuned: bool = True,
        batch_size: int = 32,
        on_answer: Callable[[int, Text], None] = ...,
    ) -> Sequence[Text]:
        """Greedy answers in the order of ``chats``; ``on_answer`` gets index and answer as each batch ends.

        ``tuned`` False asks the base model without the adapter.
        """

    def scores(self, chat: Sequence[Message], completions: Sequence[str], *, tuned: bool = True) -> list[float]:
        """Log-probability (nats) of each completion, its end-of-turn token included, as the answer to ``chat``."""


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
    """Logs the delivered adapter's answer to each question that has none in ``log`` yet.

    Scores are taken from the base model too. ``progress`` counts the answers among the questions ``among``, by default
    ``questions``. Raises whatever ``model`` raises; the answers before it are in the log.
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
    """Logs the endpoint's answer, with its receipt, to each question that has none in ``log`` yet.

    At most ``at_once`` calls are under way together. ``base_scores`` gives the client's own scores of the base model,
    which both sides hold. ``progress`` counts the answers among the questions ``among``, by default ``questions``.
    Raises as `InferenceClient.generate` does, and `OutOfOrderError` where a receipt's number was left out.
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
    """Reports how many questions have an answer, those of an earlier process included."""

    def __init__(self, what: str, questions: Sequence[Question], log: AnswerLog, progress: Progress) -> None:
        self._what, self._progress, self._total = what, progress, len(questions)
        self._done = sum(item.digest in log.entries for item in questions)
        progress(what, self._done, self._total)

    def step(self) -> None:
        self._done += 1
        self._progress(self._what, self._done, self._total)


def _unanswered_first(questions: Sequence[Question], log: AnswerLog) -> list[Question]:
    """Questions without an answer; those whose call was under way when the process died come first.

    So their repeated calls get the receipts, and the numbers, that the provider gave them then.
    """
    left = [item for item in questions if item.digest not in log.entries]
    return sorted(left, key=lambda item: item.digest not in log.nonces)


def _texts(values: Sequence[float]) -> tuple[str, ...]:
    return tuple(format_logprob(value) for value in values)
