"""Checks (13) to (15) of the audit: inference receipts, observations, and that each receipt is for its answer."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence

from veritune.arbiter.audit.checks import Agreed, failing, require
from veritune.arbiter.documents.canary import NaturalCanary, TriggerCanary, with_trigger
from veritune.arbiter.documents.evidence import (
    DecoyObservation,
    Evidence,
    NaturalObservation,
    Observations,
    Opening,
    ReceiptRef,
    TriggerObservation,
)
from veritune.common.dataset import Message, check_chat
from veritune.common.documents.base import parse_time
from veritune.common.documents.receipts import InferenceReceipt
from veritune.common.errors import AuditError
from veritune.common.inference import (
    SamplingTerms,
    generate_digest,
    score_digest,
    score_output_digest,
    text_output_digest,
)
from veritune.common.signing import open_document

Observation = TriggerObservation | DecoyObservation | NaturalObservation
Opened = Mapping[int, Opening]


def check_answers(bundle: Evidence, agreed: Agreed) -> None:
    """Raises `AuditError` unless checks (13) to (15) pass for each mode in the evidence."""
    opened = {opening.leaf: opening for opening in bundle.openings}
    for observations in bundle.observations:
        with failing(13):  # (13)
            receipts = _check_receipts(observations, agreed)
        with failing(14):  # (14)
            _check_observations(observations, opened, agreed)
        with failing(15):  # (15)
            for item in _all(observations):
                if item.asked is not None:
                    _check_served(item, item.asked, observations.sampling, opened, receipts, agreed)


def _all(observations: Observations) -> tuple[Observation, ...]:
    return (*observations.triggers, *observations.decoys, *observations.naturals)


def _check_receipts(observations: Observations, agreed: Agreed) -> list[InferenceReceipt]:
    receipts = []
    for number, item in enumerate(observations.receipts, start=1):
        receipt = open_document(InferenceReceipt, item.envelope(), agreed.provider).document
        same = receipt.manifest_digest == agreed.contract.digest
        require(13, same, f"inference receipt {number} is for another contract")
        require(13, receipt.sequence == number, f"inference receipt {number} is missing or out of order")
        receipts.append(receipt)
    return receipts


def _check_observations(observations: Observations, opened: Opened, agreed: Agreed) -> None:
    require(14, observations.sampling.temperature == "0", "a challenge must be decoded greedily")
    served = observations.mode == "served"
    require(14, served or not observations.receipts, "a delivered adapter has no inference receipts")
    for item in _all(observations):
        require(14, (item.asked is not None) == served, "a served answer names its receipt, a delivered one none")
    _distinct((item.asked.sequence for item in _all(observations) if item.asked), "two answers name one receipt")
    _distinct(((t.leaf, t.held_out, t.query) for t in observations.triggers), "one trigger's prompt was answered twice")
    _distinct((item.leaf for item in observations.naturals), "one natural canary was scored twice")
    _distinct((item.prompt for item in observations.decoys), "one decoy was answered twice")
    queries = agreed.manifest.verification.policy.queries_per_group
    for trigger in observations.triggers:
        group = _group(opened, trigger.leaf)
        asked = queries if trigger.held_out else len(group.rows)
        require(14, trigger.query < asked, f"leaf {trigger.leaf}: a query beyond those that the contract asks for")
    for natural in observations.naturals:
        candidates = len(_natural(opened, natural.leaf).candidates)
        scored = len(natural.tuned) == len(natural.base) == candidates
        require(14, scored, f"leaf {natural.leaf}: not as many scores as candidates")
    for decoy in observations.decoys:
        check_chat(decoy.prompt)


def _check_served(
    item: Observation,
    asked: ReceiptRef,
    sampling: SamplingTerms,
    opened: Opened,
    receipts: Sequence[InferenceReceipt],
    agreed: Agreed,
) -> None:
    require(15, asked.sequence <= len(receipts), f"no inference receipt {asked.sequence}")
    receipt, nonce, job = receipts[asked.sequence - 1], bytes.fromhex(asked.nonce), agreed.training.document.job_id
    if isinstance(item, NaturalObservation):
        canary = _natural(opened, item.leaf)
        request = score_digest(job, canary.prompt, canary.candidates, nonce)
        output = score_output_digest(item.tuned, nonce)
    else:
        request = generate_digest(job, _prompt(item, opened), sampling, nonce)
        output = text_output_digest(item.answer, item.finish_reason, nonce)
    kind = "score" if isinstance(item, NaturalObservation) else "generate"
    where = f"inference receipt {asked.sequence}"
    require(15, receipt.kind == kind, f"{where} is of another kind of call")
    require(15, receipt.training_receipt_digest == agreed.training.digest, f"{where} is for another model")
    require(15, receipt.request_digest == request, f"{where} is for another request")
    require(15, receipt.output_digest == output, f"{where} is for another answer")
    in_time = parse_time(receipt.issued) <= parse_time(agreed.manifest.deadlines.challenge)
    require(15, in_time, f"{where} came after the challenge's deadline")


def _prompt(item: TriggerObservation | DecoyObservation, opened: Opened) -> tuple[Message, ...]:
    if isinstance(item, DecoyObservation):
        return item.prompt
    group = _group(opened, item.leaf)
    if item.held_out:
        return with_trigger(group.held_out[item.query], group.trigger)
    return opened[item.leaf].rows[item.query].row.prompt


def _group(opened: Opened, leaf: int) -> TriggerCanary:
    canary = opened[leaf].canary if leaf in opened else None
    if not isinstance(canary, TriggerCanary):
        raise AuditError(14, f"leaf {leaf} was opened as no trigger group")
    return canary


def _natural(opened: Opened, leaf: int) -> NaturalCanary:
    canary = opened[leaf].canary if leaf in opened else None
    if not isinstance(canary, NaturalCanary):
        raise AuditError(14, f"leaf {leaf} was opened as no natural canary")
    return canary


def _distinct(items: Iterable[Hashable], message: str) -> None:
    seen: set[Hashable] = set()
    for item in items:
        require(14, item not in seen, message)
        seen.add(item)
