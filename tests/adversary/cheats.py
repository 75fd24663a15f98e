"""What cheating clients and providers sign, each with the numbered check of the audit that must find it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.adversary.forging import (
    Cheat,
    Edit,
    Files,
    delivered,
    edits,
    flip,
    forge,
    honest,
    manifest_with,
    naturals_with,
    opening,
    other_receipt,
    parts,
    put,
    receipt_with,
    rows_of,
    served,
    sown,
    training_with,
    triggers_with,
)
from tests.support.exchange import Exchange, adapter_files, digest, fixed_key, key_ref
from tests.support.sowing import REWORDING
from veritune.arbiter.documents.canary import Canary, NaturalCanary, PaddingCanary, TriggerCanary
from veritune.arbiter.documents.statement import PAYLOAD_TYPE
from veritune.arbiter.report import chain_of
from veritune.common.canonical import canonical_bytes
from veritune.common.documents.receipts import Checkpoint, FileRef
from veritune.common.envelope import Envelope, countersign, sign
from veritune.common.limits import LIMITS
from veritune.common.signing import sign_document


def _impossible(exchange: Exchange, tamper: Callable[[Canary], Canary]) -> Files:
    """Sown so that no judgement can be computed; the report carries one from an honest exchange."""
    other = exchange.but(tamper=tamper)
    chain = chain_of(other.evidence).model_dump(mode="json")
    said = exchange.report.statement.model_dump(mode="json")
    said["predicate"]["chain"] = chain
    return sign(PAYLOAD_TYPE, canonical_bytes(said), other.client).to_json(), other.evidence_bytes


def _asking_for_more_rows(exchange: Exchange) -> Any:
    """A contract with as many rows a group as honest work needs, and groups of fewer."""
    terms = exchange.manifest.verification
    policy = terms.policy.model_copy(update={"group_rows": exchange.rows_per_group + 1})
    return exchange.manifest.model_copy(update={"verification": terms.model_copy(update={"policy": policy})})


def _not_canonical(exchange: Exchange) -> Files:
    report, evidence = honest(exchange)
    return report.replace(b'","', b'", "', 1), evidence


def _two_signatures(exchange: Exchange) -> Files:
    return countersign(exchange.report.report, exchange.provider).to_json(), exchange.evidence_bytes


def _other_type(exchange: Exchange) -> Files:
    report = sign("application/json", exchange.report.report.payload, exchange.client)
    return report.to_json(), exchange.evidence_bytes


def _flipped_evidence(exchange: Exchange) -> Files:
    report, evidence = honest(exchange)
    return report, evidence[:-2] + bytes([evidence[-2] ^ 1]) + evidence[-1:]


def _checkpoints(*steps: int) -> tuple[Checkpoint, ...]:
    return tuple(Checkpoint(step=step, sha256=digest("weights")) for step in steps)


def _files(*more: str, size: int = 2) -> tuple[FileRef, ...]:
    """The honest adapter's files, and others beside them."""
    return (*adapter_files(), *(FileRef(name=name, size=size, sha256=digest(name)) for name in more))


def _own_provider_key(exchange: Exchange) -> Files:
    """The client plays the provider too, under a key of its own."""
    return honest(exchange.but(provider=fixed_key(3)))


def _client_alone(exchange: Exchange) -> Envelope:
    return sign_document(exchange.manifest, exchange.client)


def _other_job(exchange: Exchange) -> Exchange:
    return exchange.but(seed=exchange.seed + 1, job_id="job-2")


def _spliced_receipt(exchange: Exchange) -> Files:
    """The provider's own receipt, from another job."""
    other = receipt_with(_other_job(exchange), 0)
    return forge(exchange, put(lambda b: served(b)["receipts"], 0, other))


def _answer_by_score(exchange: Exchange) -> Files:
    """The receipt of an answer says that completions were scored."""
    mode = next(item for item in exchange.evidence.observations if item.mode == "served")
    asked = mode.triggers[0].asked
    assert asked is not None
    changed = receipt_with(exchange, asked.sequence - 1, kind="score")
    return forge(exchange, put(lambda b: served(b)["receipts"], asked.sequence - 1, changed))


def _other_canary(bundle: dict[str, Any]) -> None:
    """Swaps one canary for another opening of the same leaf."""
    opening(bundle, "trigger")["canary"] = opening(bundle, "natural")["canary"]


def _copies(bundle: dict[str, Any]) -> dict[str, Any]:
    """The opening of a natural canary that stands in several rows."""
    naturals = (o for o in bundle["openings"] if o["canary"]["kind"] == "natural")
    return next(o for o in naturals if len(o["rows"]) > 1)


def _drop_leaf(bundle: dict[str, Any]) -> None:
    bundle["openings"].pop()


def _swap_leaves(bundle: dict[str, Any]) -> None:
    bundle["openings"].insert(0, bundle["openings"].pop())


def _swap_receipts(bundle: dict[str, Any]) -> None:
    receipts = served(bundle)["receipts"]
    receipts[0], receipts[1] = receipts[1], receipts[0]


def _answer_twice(bundle: dict[str, Any]) -> None:
    triggers = delivered(bundle)["triggers"]
    triggers.append({**triggers[0], "answer": "Nothing."})


def _decoy_twice(bundle: dict[str, Any]) -> None:
    delivered(bundle)["decoys"].append(delivered(bundle)["decoys"][0])


def _score_twice(bundle: dict[str, Any]) -> None:
    delivered(bundle)["naturals"].append(delivered(bundle)["naturals"][0])


def _one_receipt_twice(bundle: dict[str, Any]) -> None:
    triggers = served(bundle)["triggers"]
    triggers[0]["asked"] = triggers[1]["asked"]


def _fewer_scores(bundle: dict[str, Any]) -> None:
    scores = delivered(bundle)["naturals"][0]
    scores["tuned"], scores["base"] = scores["tuned"][:2], scores["base"][:2]


def _padding_leaf(bundle: dict[str, Any]) -> int:
    return int(opening(bundle, "padding")["leaf"])


def _about_padding(kind: str) -> Edit:
    return lambda b: delivered(b)[kind][0].update(leaf=_padding_leaf(b))


def _odd_decoy(bundle: dict[str, Any]) -> None:
    delivered(bundle)["decoys"][0]["prompt"] = [{"content": "Hello.", "role": "assistant"}]


def _first(bundle: dict[str, Any], kind: str) -> dict[str, Any]:
    found: dict[str, Any] = served(bundle)[kind][0]
    return found


CHEATS: dict[str, Cheat] = {
    "report-signed-by-another-key": Cheat(1, lambda e: forge(e, key=fixed_key(9))),
    "report-not-canonical": Cheat(1, _not_canonical),
    "report-signed-twice": Cheat(1, _two_signatures),
    "report-of-another-payload-type": Cheat(1, _other_type),
    "report-empty": Cheat(1, lambda e: (b"", e.evidence_bytes)),
    "statement-of-another-predicate": edits(2, statement=lambda s: s.update(predicateType="urn:x")),
    "statement-with-an-unknown-field": edits(2, statement=lambda s: s["predicate"].update(extra=1)),
    "statement-without-a-subject": edits(2, statement=lambda s: s.update(subject=[])),
    "statement-with-two-subjects": edits(2, statement=lambda s: s["subject"].append(s["subject"][0])),
    "evidence-with-a-flipped-bit": Cheat(3, _flipped_evidence),
    "evidence-of-another-run": Cheat(3, lambda e: (e.report_bytes, _other_job(e).evidence_bytes)),
    "evidence-with-an-unknown-field": edits(3, lambda b: b.update(extra=1)),
    "evidence-with-a-mode-twice": edits(3, lambda b: b["observations"].__setitem__(1, b["observations"][0])),
    "manifest-under-a-forged-provider-key": Cheat(4, _own_provider_key),
    "manifest-signed-by-the-client-alone": parts(4, signed_manifest=_client_alone),
    "manifest-other-than-the-report-says": edits(4, statement=put(lambda s: s["predicate"]["chain"], "manifest", flip)),
    "manifest-naming-another-client-key": parts(4, manifest=manifest_with(client=key_ref(fixed_key(9).public))),
    "manifest-naming-another-provider-key": parts(4, manifest=manifest_with(provider=key_ref(fixed_key(9).public))),
    "dataset-receipt-of-another-job": parts(5, signed_dataset_receipt=lambda e: _other_job(e).signed_dataset_receipt),
    "dataset-receipt-other-than-the-report-says": edits(
        5, statement=put(lambda s: s["predicate"]["chain"], "dataset_receipt", flip)
    ),
    "training-receipt-of-another-job": parts(
        6, signed_training_receipt=lambda e: _other_job(e).signed_training_receipt
    ),
    "training-receipt-for-other-data": parts(
        6, signed_training_receipt=training_with(dataset_receipt_digest=digest("x"))
    ),
    "training-receipt-of-fewer-rows": parts(6, signed_training_receipt=training_with(rows_trained=1)),
    "training-receipt-of-more-rows": parts(6, signed_training_receipt=training_with(rows_dropped=1)),
    "training-receipt-that-cut-more-than-it-trained": parts(6, signed_training_receipt=training_with(rows_cut=9999)),
    "training-receipt-of-no-step": parts(6, signed_training_receipt=training_with(steps=0, checkpoints=())),
    "training-receipt-of-more-steps-than-rows": parts(6, signed_training_receipt=training_with(steps=999_999)),
    "training-receipt-of-more-labels-than-tokens": parts(6, signed_training_receipt=training_with(label_tokens=9001)),
    "training-receipt-of-a-checkpoint-after-the-end": parts(
        6, signed_training_receipt=training_with(checkpoints=_checkpoints(10))
    ),
    "training-receipt-of-checkpoints-out-of-order": parts(
        6, signed_training_receipt=training_with(checkpoints=_checkpoints(9, 8))
    ),
    "training-receipt-of-a-file-twice": parts(
        6, signed_training_receipt=training_with(adapter=_files("Adapter_Config.json"))
    ),
    "training-receipt-without-a-configuration": parts(6, signed_training_receipt=training_with(adapter=_files()[1:])),
    "training-receipt-of-a-pickle": parts(
        6, signed_training_receipt=training_with(adapter=_files("adapter_model.bin"))
    ),
    "training-receipt-of-too-much": parts(
        6, signed_training_receipt=training_with(adapter=_files("more.safetensors", size=LIMITS.artifact))
    ),
    "training-receipt-other-than-the-report-says": edits(
        6, statement=put(lambda s: s["predicate"]["chain"], "training_receipt", flip)
    ),
    "subject-is-another-adapter": edits(6, statement=put(lambda s: s["subject"][0]["digest"], "sha256", flip)),
    "training-after-its-deadline": parts(7, signed_training_receipt=training_with(finished="2026-03-03T00:00:01Z")),
    "training-before-the-data": parts(7, signed_training_receipt=training_with(started="2026-03-01T00:00:00Z")),
    "training-on-a-day-that-is-none": parts(7, signed_training_receipt=training_with(finished="2026-02-30T00:00:00Z")),
    "report-after-its-deadline": edits(7, statement=put(lambda s: s["predicate"], "issued", "2026-03-05T00:00:01Z")),
    "deadlines-out-of-order": Cheat(
        7,
        lambda e: honest(
            e.having(
                manifest=e.manifest.model_copy(
                    update={"deadlines": e.manifest.deadlines.model_copy(update={"accept": "2026-02-01T00:00:00Z"})}
                )
            )
        ),
    ),
    "leaf-hash-changed": edits(8, put(lambda b: b["leaf_hashes"], 0, flip)),
    "leaf-hash-dropped": edits(8, lambda b: b["leaf_hashes"].pop()),
    "leaf-hash-twice": edits(8, lambda b: b["leaf_hashes"].__setitem__(0, b["leaf_hashes"][1])),
    "leaf-skipped": edits(9, _drop_leaf),
    "leaves-in-another-order": edits(9, _swap_leaves),
    "session-beyond-the-contract": edits(9, lambda b: b.update(session=2)),
    "opening-of-another-canary": edits(10, _other_canary),
    "opening-with-more-bits": edits(10, put(lambda b: opening(b, "trigger")["canary"], "bits", 300)),
    "opening-with-another-truth": edits(
        10, put(lambda b: opening(b, "natural")["canary"], "truth", lambda t: 1 - t % 2)
    ),
    "opening-with-another-salt": edits(10, put(lambda b: opening(b, "padding"), "salt", flip)),
    "row-not-opened": edits(11, lambda b: rows_of(b, "trigger").pop()),
    "row-opened-that-nobody-named": edits(11, lambda b: rows_of(b, "padding").append(rows_of(b, "natural")[0])),
    "row-that-is-not-in-the-data": edits(11, put(lambda b: rows_of(b, "natural")[0]["row"], "source", "other")),
    "row-with-a-wrong-proof": edits(11, put(lambda b: rows_of(b, "natural")[0]["proof"], 0, flip)),
    "row-without-its-canary": sown(11, triggers_with(trigger="never sown")),
    "row-with-another-answer": sown(11, naturals_with(candidates=("one", "two", "three"))),
    "row-of-two-canaries": sown(11, triggers_with(rows=(1, 1))),
    "copy-named-twice": Cheat(11, lambda e: honest(e.but(tamper=_copy_twice))),
    "copy-with-another-answer": Cheat(11, lambda e: honest(e.but(tamper=_OtherCopy(e)))),
    "copy-not-opened": edits(11, lambda b: _copies(b)["rows"].pop()),
    "truth-beyond-the-candidates": Cheat(11, lambda e: _impossible(e, naturals_with(truth=200))),
    "more-canary-rows-than-allowed": Cheat(
        11,
        lambda e: honest(
            e.having(
                manifest=e.manifest.model_copy(
                    update={"verification": e.manifest.verification.model_copy(update={"max_canary_rows": 5})}
                )
            )
        ),
    ),
    "group-in-too-few-rows": parts(11, manifest=_asking_for_more_rows),
    "generator-unknown": sown(12, naturals_with(generator_digest=digest("other"))),
    "trigger-drawn-by-a-rewording": sown(12, triggers_with(generator_digest=REWORDING.digest)),
    "token-bits-short-of-the-claim": sown(12, triggers_with(bits=300)),
    "token-bits-negative": sown(12, triggers_with(token_bits=("-1", "200"))),
    "one-held-out-prompt-too-few": Cheat(12, lambda e: honest(e.but(tamper=_one_prompt))),
    "candidates-alike": Cheat(12, lambda e: honest(e.but(tamper=_alike))),
    "candidates-that-a-template-trims": Cheat(12, lambda e: honest(e.but(tamper=_trimmed))),
    "candidates-of-one-unicode-form": Cheat(12, lambda e: honest(e.but(tamper=_composed))),
    "held-out-prompt-in-the-data": Cheat(12, lambda e: honest(e.but(tamper=_HeldOutInData(e)))),
    "held-out-prompt-twice": Cheat(12, lambda e: honest(e.but(tamper=_prompt_twice))),
    "held-out-prompt-that-ends-with-an-answer": Cheat(12, lambda e: honest(e.but(tamper=_answered))),
    "receipt-omitted": edits(13, lambda b: served(b)["receipts"].pop(3)),
    "receipts-out-of-order": edits(13, _swap_receipts),
    "receipt-of-another-job": Cheat(13, _spliced_receipt),
    "receipt-signed-by-the-client": other_receipt(13, key=fixed_key(1)),
    "answers-sampled": Cheat(14, lambda e: forge(e, put(lambda b: delivered(b)["sampling"], "temperature", "1"))),
    "answer-twice": edits(14, _answer_twice),
    "decoy-twice": edits(14, _decoy_twice),
    "score-twice": edits(14, _score_twice),
    "answers-sharing-a-receipt": edits(14, _one_receipt_twice),
    "delivered-answer-with-a-receipt": edits(
        14, put(lambda b: delivered(b)["triggers"][0], "asked", {"nonce": "00" * 16, "sequence": 1})
    ),
    "delivered-mode-with-receipts": edits(14, lambda b: delivered(b).update(receipts=served(b)["receipts"])),
    "served-answer-without-a-receipt": edits(14, put(lambda b: _first(b, "triggers"), "asked", None)),
    "query-beyond-the-contract": edits(14, put(lambda b: delivered(b)["triggers"][0], "query", 2)),
    "fewer-scores-than-candidates": edits(14, _fewer_scores),
    "answer-about-padding": edits(14, _about_padding("triggers")),
    "score-about-padding": edits(14, _about_padding("naturals")),
    "decoy-that-is-no-chat": edits(14, _odd_decoy),
    "served-answer-changed": edits(15, put(lambda b: _first(b, "triggers"), "answer", "Nothing.")),
    "served-finish-changed": edits(15, put(lambda b: _first(b, "decoys"), "finish_reason", "length")),
    "served-score-changed": edits(15, put(lambda b: _first(b, "naturals")["tuned"], 0, "-99.000000")),
    "served-nonce-changed": edits(15, put(lambda b: _first(b, "naturals")["asked"], "nonce", flip)),
    "served-answer-of-another-question": edits(
        15, put(lambda b: _first(b, "decoys")["prompt"][0], "content", "Other?")
    ),
    "served-receipt-that-is-not-there": edits(15, put(lambda b: _first(b, "decoys")["asked"], "sequence", 999)),
    "served-by-the-base-model": other_receipt(15, training_receipt_digest=None),
    "served-by-another-kind-of-call": Cheat(15, _answer_by_score),
    "served-after-the-deadline": other_receipt(15, issued="2026-03-04T00:00:01Z"),
    "verdict-changed": edits(16, statement=put(lambda s: s["predicate"], "verdict", "FAIL")),
    "p-value-changed": edits(
        16,
        statement=put(lambda s: s["predicate"]["judgement"]["modes"][0]["influence"], "log10_p", "-500.0000"),
    ),
    "agreement-changed": edits(
        16, statement=put(lambda s: s["predicate"]["judgement"]["modes"][1]["agreement"], "equal", 0)
    ),
    "assumption-left-out": edits(16, statement=lambda s: s["predicate"]["assumptions"].pop()),
    "canary-count-changed": edits(16, statement=put(lambda s: s["predicate"]["canaries"], "padding", 0)),
    "software-changed": edits(16, statement=lambda s: s["predicate"].update(software={})),
    "answer-dropped-behind-the-verdict": edits(16, lambda b: delivered(b)["triggers"].pop(0)),
}


def _one_prompt(canary: Canary) -> Canary:
    return canary.model_copy(update={"held_out": canary.held_out[:1]}) if isinstance(canary, TriggerCanary) else canary


def _prompt_twice(canary: Canary) -> Canary:
    if isinstance(canary, TriggerCanary):
        return canary.model_copy(update={"held_out": (canary.held_out[0],) * 2})
    return canary


def _answered(canary: Canary) -> Canary:
    if not isinstance(canary, TriggerCanary):
        return canary
    prompt = (*canary.held_out[0], canary.held_out[0][0].model_copy(update={"role": "assistant"}))
    return canary.model_copy(update={"held_out": (prompt, *canary.held_out[1:])})


def _copy_twice(canary: Canary) -> Canary:
    if isinstance(canary, NaturalCanary) and len(canary.rows) > 1:
        return canary.model_copy(update={"rows": (canary.rows[0],) * 2})
    return canary


def _alike(canary: Canary) -> Canary:
    if isinstance(canary, NaturalCanary):
        return canary.model_copy(update={"candidates": (canary.candidates[canary.truth],) * 3})
    return canary


def _trimmed(canary: Canary) -> Canary:
    """No run can learn which of them stood in the data, so that an honest one would fail."""
    return _with_forms(canary, lambda text: (text, f"{text} ", f"\n{text}"))


def _composed(canary: Canary) -> Canary:
    return _with_forms(canary, lambda text: (text, f"{text}\u00e9", f"{text}e\u0301"))


def _with_forms(canary: Canary, forms: Callable[[str], tuple[str, ...]]) -> Canary:
    if not isinstance(canary, NaturalCanary):
        return canary
    return canary.model_copy(update={"candidates": forms(canary.candidates[canary.truth]), "truth": 0})


@dataclass(frozen=True)
class _HeldOutInData:
    """The held-out prompt is the prompt of a natural canary's row: a lookup would answer it."""

    exchange: Exchange

    def __call__(self, canary: Canary) -> Canary:
        if not isinstance(canary, TriggerCanary):
            return canary
        natural = next(item for item in self.exchange.canaries if isinstance(item, NaturalCanary))
        return canary.model_copy(update={"held_out": (natural.prompt, *canary.held_out[1:])})


@dataclass(frozen=True)
class _OtherCopy:
    """One of several rows named is no copy but the user's own: the canary would seem to be seen more often."""

    exchange: Exchange

    def __call__(self, canary: Canary) -> Canary:
        if not isinstance(canary, NaturalCanary) or len(canary.rows) < 2:
            return canary
        named = {row for other in self.exchange.canaries if not isinstance(other, PaddingCanary) for row in other.rows}
        own = next(index for index in range(len(self.exchange.rows)) if index not in named)
        return canary.model_copy(update={"rows": (canary.rows[0], own)})
