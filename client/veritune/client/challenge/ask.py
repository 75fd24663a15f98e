"""A session's questions put to the delivered adapter or to the served endpoint, and what came back as evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from veritune.arbiter.documents.canary import Canary, TriggerCanary
from veritune.arbiter.documents.evidence import (
    Asked,
    DecoyObservation,
    EnvelopeDocument,
    NaturalObservation,
    Observations,
    TriggerObservation,
)
from veritune.arbiter.measure.questions import Question
from veritune.arbiter.selection import challenge_order, challenge_seed, session_leaves
from veritune.client.challenge.answer_log import AnswerLog, Entry
from veritune.client.data.user_rows import Progress, no_progress
from veritune.client.exchange.inference_client import Endpoint
from veritune.client.sowing.sealed import Secrets
from veritune.common.dataset import Message
from veritune.common.documents.manifest import Manifest
from veritune.common.errors import OutOfOrderError, PlanError
from veritune.common.inference import SamplingTerms, format_logprob

Mode = Literal["delivered", "served"]
_MARGIN = 8
"""Tokens beyond a signature that an answer must have room for: a model may begin with white space."""


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


@dataclass(frozen=True)
class Sitting:
    """Which leaves a session may open, in order, with their canaries, and the seed of the order.

    Under ``fixed`` it opens all of them; under ``sequential`` the first ones, and the others stay secret.
    """

    session: int
    seed: bytes
    leaves: tuple[int, ...]
    canaries: dict[int, Canary]
    """By leaf, padding included."""


def sit(secrets: Secrets, manifest: Manifest, manifest_digest: str, receipt_digest: str, session: int) -> Sitting:
    """What the seed picks for a session. Raises `OutOfOrderError` for one that the contract does not allow."""
    terms = manifest.verification
    seed = challenge_seed(manifest_digest, receipt_digest)
    leaves = session_leaves(challenge_order(seed, secrets.commitment().leaf_hashes), session, terms)
    if session > terms.policy.sessions or not leaves:
        raise OutOfOrderError(f"the contract allows {terms.policy.sessions} session(s), each with leaves of its own")
    return Sitting(session, seed, tuple(leaves), {leaf: secrets.leaves[leaf].canary for leaf in leaves})


def sampling_for(sitting: Sitting, max_tokens: int) -> SamplingTerms:
    """Greedy, with room for the longest signature. Raises `PlanError` where ``max_tokens`` has none."""
    longest = max((len(c.token_bits) for c in sitting.canaries.values() if isinstance(c, TriggerCanary)), default=0)
    if max_tokens < longest + _MARGIN:
        raise PlanError(
            f"challenge.max_tokens is {max_tokens}, but the longest signature has {longest} tokens; "
            f"set it to {longest + _MARGIN} or more"
        )
    return SamplingTerms(max_tokens=max_tokens)


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
    endpoint: Endpoint,
    base_scores: Callable[[Question], tuple[str, ...]],
    sampling: SamplingTerms,
    log: AnswerLog,
    *,
    progress: Progress = no_progress,
    among: Sequence[Question] | None = None,
) -> None:
    """Puts to the endpoint what the log has no answer for yet, one call after the other.

    ``base_scores`` are the client's own measurements of the base model, which both sides hold; ``among`` is what the
    progress counts, where ``questions`` are a part of it.
    """
    log.begin(sampling)
    meter = _Meter("challenge (served)", among or questions, log, progress)
    for item in _unanswered_first(questions, log):
        nonce = log.nonce(item.digest)
        if item.completions:
            scored = endpoint.score(item.chat, item.completions, nonce)
            entry = Entry(
                question=item.digest,
                tuned=scored.totals,
                base=base_scores(item),
                asked=Asked(nonce=nonce.hex(), sequence=scored.sequence),
                receipt=EnvelopeDocument.of(scored.receipt),
            )
        else:
            answer = endpoint.generate(item.chat, sampling, nonce)
            entry = Entry(
                question=item.digest,
                text=answer.text,
                finish_reason=answer.finish_reason,
                asked=Asked(nonce=nonce.hex(), sequence=answer.sequence),
                receipt=EnvelopeDocument.of(answer.receipt),
            )
        log.add(entry)
        meter.step()


def observe(
    mode: Mode,
    questions: Sequence[Question],
    log: AnswerLog,
    receipts: Iterable[EnvelopeDocument] = (),
) -> Observations:
    """What the log says to each question; a question without an answer is left out, which the verdict counts."""
    if log.sampling is None:
        raise OutOfOrderError(f"nothing was asked of the {mode} model yet; run the step 'challenge' first")
    triggers, decoys, naturals = [], [], []
    for item in questions:
        entry = log.entries.get(item.digest)
        if entry is None:
            continue
        if item.kind == "natural":
            naturals.append(NaturalObservation(leaf=item.leaf, tuned=entry.tuned, base=entry.base, asked=entry.asked))
        elif item.kind == "decoy":
            decoys.append(
                DecoyObservation(
                    prompt=item.chat, answer=entry.text, finish_reason=entry.finish_reason, asked=entry.asked
                )
            )
        else:
            triggers.append(
                TriggerObservation(
                    leaf=item.leaf,
                    held_out=item.held_out,
                    query=item.query,
                    answer=entry.text,
                    finish_reason=entry.finish_reason,
                    asked=entry.asked,
                )
            )
    return Observations(
        mode=mode,
        sampling=log.sampling,
        triggers=tuple(triggers),
        decoys=tuple(decoys),
        naturals=tuple(naturals),
        receipts=tuple(receipts),
    )


def receipts_of(logs: Iterable[AnswerLog]) -> tuple[EnvelopeDocument, ...]:
    """Every inference receipt of these sessions by its number."""
    kept = [
        (entry.asked.sequence, entry.receipt)
        for log in logs
        for entry in log.entries.values()
        if entry.asked and entry.receipt
    ]
    return tuple(receipt for _, receipt in sorted(kept, key=lambda pair: pair[0]))


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
