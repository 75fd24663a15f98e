"""Turning a session's log of answers into the observations and receipts of the evidence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from veritune.arbiter.documents.evidence import (
    DecoyObservation,
    EnvelopeDocument,
    NaturalObservation,
    Observations,
    TriggerObservation,
)
from veritune.arbiter.documents.judgement import Mode
from veritune.arbiter.measure.questions import Question
from veritune.client.challenge.answer_log import AnswerLog
from veritune.client.exchange.receipt_numbers import ReceiptNumbers
from veritune.common.errors import StepError


def observe(
    mode: Mode,
    questions: Sequence[Question],
    log: AnswerLog,
    receipts: Iterable[EnvelopeDocument] = (),
) -> Observations:
    """The observations of one mode: the answers and scores that the log has for these questions.

    A question without an answer is left out, and the verdict counts it as missing. Raises `StepError` for an empty log.
    """
    if log.sampling is None:
        raise StepError(f"nothing was asked of the {mode} model yet; run the step 'challenge' first", step="challenge")
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
    """All inference receipts in these logs, sorted by their sequence number."""
    kept = [
        (entry.asked.sequence, entry.receipt)
        for log in logs
        for entry in log.entries.values()
        if entry.asked and entry.receipt
    ]
    return tuple(receipt for _, receipt in sorted(kept, key=lambda pair: pair[0]))


def numbers_of(logs: Sequence[AnswerLog]) -> ReceiptNumbers:
    """The numbers of every inference receipt of these sessions, and how many calls were begun without an answer."""
    known = {entry.asked.sequence for log in logs for entry in log.entries.values() if entry.asked}
    return ReceiptNumbers(known, sum(len(log.nonces.keys() - log.entries.keys()) for log in logs))
