"""What cheating clients and providers sign, each with the numbered check of the audit that must find it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.exchange import REWORDING, Exchange, digest, fixed_key, key_ref
from veritune.client.canary import Canary, NaturalCanary, PaddingCanary, TriggerCanary
from veritune.client.evidence import EnvelopeDocument
from veritune.client.report import chain_of
from veritune.client.statement import PAYLOAD_TYPE
from veritune.common.canonical import canonical_bytes, sha256_hex
from veritune.common.documents import InferenceReceipt, Policy
from veritune.common.envelope import Envelope, countersign, sign
from veritune.common.keys import PrivateKey
from veritune.common.signing import sign_document

Files = tuple[bytes, bytes]
"""Report and evidence, as they stand on disk."""
Edit = Callable[[dict[str, Any]], object]
BOTH_WAYS = Policy(coverage_floor="0", modes=("delivered", "served"), served_assumption="answers-from-weights")


@dataclass(frozen=True)
class Cheat:
    """``make`` turns an honest exchange into what the cheater hands in."""

    check: int
    make: Callable[[Exchange], Files]


def small(**changes: Any) -> Exchange:
    """The smallest exchange that has one of everything, looked at both ways."""
    knobs: dict[str, Any] = {
        "groups": 2,
        "rows_per_group": 2,
        "naturals": 2,
        "repetitions": (1, 2),
        "in_place": 1,
        "candidates": 3,
        "plain_rows": 6,
        "leaves": 8,
        "leaves_per_session": 8,
        "policy": BOTH_WAYS,
        "modes": ("delivered", "served"),
        **changes,
    }
    return Exchange(**knobs)


def honest(exchange: Exchange) -> Files:
    return exchange.report_bytes, exchange.evidence_bytes


def forge(
    exchange: Exchange, evidence: Edit | None = None, statement: Edit | None = None, key: PrivateKey | None = None
) -> Files:
    """Edits the evidence, makes the report name it, edits the report, and signs that: all that a client can do."""
    bundle = exchange.evidence.model_dump(mode="json")
    if evidence:
        evidence(bundle)
    data = canonical_bytes(bundle)
    said = exchange.report.statement.model_dump(mode="json")
    said["predicate"]["chain"]["evidence"] = sha256_hex(data)
    if statement:
        statement(said)
    return sign(PAYLOAD_TYPE, canonical_bytes(said), key or exchange.client).to_json(), data


def edits(check: int, evidence: Edit | None = None, statement: Edit | None = None) -> Cheat:
    return Cheat(check, lambda exchange: forge(exchange, evidence, statement))


def parts(check: int, **make: Callable[[Exchange], Any]) -> Cheat:
    """Parts of the exchange made differently, with everything after them consistent."""

    def run(exchange: Exchange) -> Files:
        return honest(exchange.having(**{name: of(exchange) for name, of in make.items()}))

    return Cheat(check, run)


def sown(check: int, tamper: Callable[[Canary], Canary]) -> Cheat:
    return Cheat(check, lambda exchange: honest(exchange.but(tamper=tamper)))


def _trigger(**update: Any) -> Callable[[Canary], Canary]:
    return lambda canary: canary.model_copy(update=update) if isinstance(canary, TriggerCanary) else canary


def _natural(**update: Any) -> Callable[[Canary], Canary]:
    return lambda canary: canary.model_copy(update=update) if isinstance(canary, NaturalCanary) else canary


def _impossible(exchange: Exchange, tamper: Callable[[Canary], Canary]) -> Files:
    """Sown so that no judgement can be computed; the report carries one from an honest exchange."""
    other = exchange.but(tamper=tamper)
    chain = chain_of(other.evidence).model_dump(mode="json")
    said = exchange.report.statement.model_dump(mode="json")
    said["predicate"]["chain"] = chain
    return sign(PAYLOAD_TYPE, canonical_bytes(said), other.client).to_json(), other.evidence_bytes


def _manifest(**update: Any) -> Callable[[Exchange], Any]:
    return lambda exchange: exchange.manifest.model_copy(update=update)


def _asking_for_more_rows(exchange: Exchange) -> Any:
    """A contract with as many rows a group as honest work needs, and groups of fewer."""
    terms = exchange.manifest.verification
    policy = terms.policy.model_copy(update={"group_rows": exchange.rows_per_group + 1})
    return exchange.manifest.model_copy(update={"verification": terms.model_copy(update={"policy": policy})})


def _training(**update: Any) -> Callable[[Exchange], Envelope]:
    return lambda e: sign_document(e.training_receipt.model_copy(update=update), e.provider)


def _rows_of(bundle: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return next(o["rows"] for o in bundle["openings"] if o["canary"]["kind"] == kind)


def _opening(bundle: dict[str, Any], kind: str) -> dict[str, Any]:
    found: dict[str, Any] = next(o for o in bundle["openings"] if o["canary"]["kind"] == kind)
    return found


def _served(bundle: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(o for o in bundle["observations"] if o["mode"] == "served")
    return found


def _delivered(bundle: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(o for o in bundle["observations"] if o["mode"] == "delivered")
    return found


def _flip(text: str) -> str:
    return ("0" if text[0] != "0" else "1") + text[1:]


def _set(target: Callable[[dict[str, Any]], dict[str, Any] | list[Any]], key: Any, value: Any) -> Edit:
    def edit(root: dict[str, Any]) -> None:
        place: Any = target(root)
        place[key] = value(place[key]) if callable(value) else value

    return edit


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


def _own_provider_key(exchange: Exchange) -> Files:
    """The client plays the provider too, under a key of its own."""
    return honest(exchange.but(provider=fixed_key(3)))


def _client_alone(exchange: Exchange) -> Envelope:
    return sign_document(exchange.manifest, exchange.client)


def _other_job(exchange: Exchange) -> Exchange:
    return exchange.but(seed=exchange.seed + 1, job_id="job-2")


def _receipt(exchange: Exchange, number: int, key: PrivateKey | None = None, **update: Any) -> dict[str, Any]:
    """An inference receipt of the exchange, changed and signed anew."""
    mode = next(item for item in exchange.evidence.observations if item.mode == "served")
    receipt = InferenceReceipt.from_bytes(mode.receipts[number].envelope().payload)
    envelope = sign_document(receipt.model_copy(update=update), key or exchange.provider)
    return EnvelopeDocument.of(envelope).model_dump(mode="json")


def _receipts(check: int, number: int = 0, key: PrivateKey | None = None, **update: Any) -> Cheat:
    def run(exchange: Exchange) -> Files:
        changed = _receipt(exchange, number, key, **update)
        return forge(exchange, _set(lambda b: _served(b)["receipts"], number, changed))

    return Cheat(check, run)


def _spliced_receipt(exchange: Exchange) -> Files:
    """The provider's own receipt, from another job."""
    other = _receipt(_other_job(exchange), 0)
    return forge(exchange, _set(lambda b: _served(b)["receipts"], 0, other))


def _answer_by_score(exchange: Exchange) -> Files:
    """The receipt of an answer says that completions were scored."""
    mode = next(item for item in exchange.evidence.observations if item.mode == "served")
    asked = mode.triggers[0].asked
    assert asked is not None
    changed = _receipt(exchange, asked.sequence - 1, kind="score")
    return forge(exchange, _set(lambda b: _served(b)["receipts"], asked.sequence - 1, changed))


def _other_canary(bundle: dict[str, Any]) -> None:
    """Swaps one canary for another opening of the same leaf."""
    _opening(bundle, "trigger")["canary"] = _opening(bundle, "natural")["canary"]


def _copies(bundle: dict[str, Any]) -> dict[str, Any]:
    """The opening of a natural canary that stands in several rows."""
    naturals = (o for o in bundle["openings"] if o["canary"]["kind"] == "natural")
    return next(o for o in naturals if len(o["rows"]) > 1)


def _drop_leaf(bundle: dict[str, Any]) -> None:
    bundle["openings"].pop()


def _swap_leaves(bundle: dict[str, Any]) -> None:
    bundle["openings"].insert(0, bundle["openings"].pop())


def _swap_receipts(bundle: dict[str, Any]) -> None:
    receipts = _served(bundle)["receipts"]
    receipts[0], receipts[1] = receipts[1], receipts[0]


def _answer_twice(bundle: dict[str, Any]) -> None:
    triggers = _delivered(bundle)["triggers"]
    triggers.append({**triggers[0], "answer": "Nothing."})


def _decoy_twice(bundle: dict[str, Any]) -> None:
    _delivered(bundle)["decoys"].append(_delivered(bundle)["decoys"][0])


def _score_twice(bundle: dict[str, Any]) -> None:
    _delivered(bundle)["naturals"].append(_delivered(bundle)["naturals"][0])


def _one_receipt_twice(bundle: dict[str, Any]) -> None:
    triggers = _served(bundle)["triggers"]
    triggers[0]["asked"] = triggers[1]["asked"]


def _fewer_scores(bundle: dict[str, Any]) -> None:
    scores = _delivered(bundle)["naturals"][0]
    scores["tuned"], scores["base"] = scores["tuned"][:2], scores["base"][:2]


def _padding_leaf(bundle: dict[str, Any]) -> int:
    return int(_opening(bundle, "padding")["leaf"])


def _about_padding(kind: str) -> Edit:
    return lambda b: _delivered(b)[kind][0].update(leaf=_padding_leaf(b))


def _odd_decoy(bundle: dict[str, Any]) -> None:
    _delivered(bundle)["decoys"][0]["prompt"] = [{"content": "Hello.", "role": "assistant"}]


def _first(bundle: dict[str, Any], kind: str) -> dict[str, Any]:
    found: dict[str, Any] = _served(bundle)[kind][0]
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
    "manifest-other-than-the-report-says": edits(
        4, statement=_set(lambda s: s["predicate"]["chain"], "manifest", _flip)
    ),
    "manifest-naming-another-client-key": parts(4, manifest=_manifest(client=key_ref(fixed_key(9).public))),
    "manifest-naming-another-provider-key": parts(4, manifest=_manifest(provider=key_ref(fixed_key(9).public))),
    "dataset-receipt-of-another-job": parts(5, signed_dataset_receipt=lambda e: _other_job(e).signed_dataset_receipt),
    "dataset-receipt-other-than-the-report-says": edits(
        5, statement=_set(lambda s: s["predicate"]["chain"], "dataset_receipt", _flip)
    ),
    "training-receipt-of-another-job": parts(
        6, signed_training_receipt=lambda e: _other_job(e).signed_training_receipt
    ),
    "training-receipt-for-other-data": parts(6, signed_training_receipt=_training(dataset_receipt_digest=digest("x"))),
    "training-receipt-other-than-the-report-says": edits(
        6, statement=_set(lambda s: s["predicate"]["chain"], "training_receipt", _flip)
    ),
    "subject-is-another-adapter": edits(6, statement=_set(lambda s: s["subject"][0]["digest"], "sha256", _flip)),
    "training-after-its-deadline": parts(7, signed_training_receipt=_training(finished="2026-03-03T00:00:01Z")),
    "training-before-the-data": parts(7, signed_training_receipt=_training(started="2026-03-01T00:00:00Z")),
    "training-on-a-day-that-is-none": parts(7, signed_training_receipt=_training(finished="2026-02-30T00:00:00Z")),
    "report-after-its-deadline": edits(7, statement=_set(lambda s: s["predicate"], "issued", "2026-03-05T00:00:01Z")),
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
    "leaf-hash-changed": edits(8, _set(lambda b: b["leaf_hashes"], 0, _flip)),
    "leaf-hash-dropped": edits(8, lambda b: b["leaf_hashes"].pop()),
    "leaf-hash-twice": edits(8, lambda b: b["leaf_hashes"].__setitem__(0, b["leaf_hashes"][1])),
    "leaf-skipped": edits(9, _drop_leaf),
    "leaves-in-another-order": edits(9, _swap_leaves),
    "session-beyond-the-contract": edits(9, lambda b: b.update(session=2)),
    "opening-of-another-canary": edits(10, _other_canary),
    "opening-with-more-bits": edits(10, _set(lambda b: _opening(b, "trigger")["canary"], "bits", 300)),
    "opening-with-another-truth": edits(
        10, _set(lambda b: _opening(b, "natural")["canary"], "truth", lambda t: 1 - t % 2)
    ),
    "opening-with-another-salt": edits(10, _set(lambda b: _opening(b, "padding"), "salt", _flip)),
    "row-not-opened": edits(11, lambda b: _rows_of(b, "trigger").pop()),
    "row-opened-that-nobody-named": edits(11, lambda b: _rows_of(b, "padding").append(_rows_of(b, "natural")[0])),
    "row-that-is-not-in-the-data": edits(11, _set(lambda b: _rows_of(b, "natural")[0]["row"], "source", "other")),
    "row-with-a-wrong-proof": edits(11, _set(lambda b: _rows_of(b, "natural")[0]["proof"], 0, _flip)),
    "row-without-its-canary": sown(11, _trigger(trigger="never sown")),
    "row-with-another-answer": sown(11, _natural(candidates=("one", "two", "three"))),
    "row-of-two-canaries": sown(11, _trigger(rows=(1, 1))),
    "copy-named-twice": Cheat(11, lambda e: honest(e.but(tamper=_copy_twice))),
    "copy-with-another-answer": Cheat(11, lambda e: honest(e.but(tamper=_OtherCopy(e)))),
    "copy-not-opened": edits(11, lambda b: _copies(b)["rows"].pop()),
    "truth-beyond-the-candidates": Cheat(11, lambda e: _impossible(e, _natural(truth=200))),
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
    "generator-unknown": sown(12, _natural(generator_digest=digest("other"))),
    "trigger-drawn-by-a-rewording": sown(12, _trigger(generator_digest=REWORDING.digest)),
    "token-bits-short-of-the-claim": sown(12, _trigger(bits=300)),
    "token-bits-negative": sown(12, _trigger(token_bits=("-1", "200"))),
    "one-held-out-prompt-too-few": Cheat(12, lambda e: honest(e.but(tamper=_one_prompt))),
    "candidates-alike": Cheat(12, lambda e: honest(e.but(tamper=_alike))),
    "held-out-prompt-in-the-data": Cheat(12, lambda e: honest(e.but(tamper=_HeldOutInData(e)))),
    "held-out-prompt-twice": Cheat(12, lambda e: honest(e.but(tamper=_prompt_twice))),
    "held-out-prompt-that-ends-with-an-answer": Cheat(12, lambda e: honest(e.but(tamper=_answered))),
    "receipt-omitted": edits(13, lambda b: _served(b)["receipts"].pop(3)),
    "receipts-out-of-order": edits(13, _swap_receipts),
    "receipt-of-another-job": Cheat(13, _spliced_receipt),
    "receipt-signed-by-the-client": _receipts(13, key=fixed_key(1)),
    "answers-sampled": Cheat(14, lambda e: forge(e, _set(lambda b: _delivered(b)["sampling"], "temperature", "1"))),
    "answer-twice": edits(14, _answer_twice),
    "decoy-twice": edits(14, _decoy_twice),
    "score-twice": edits(14, _score_twice),
    "answers-sharing-a-receipt": edits(14, _one_receipt_twice),
    "delivered-answer-with-a-receipt": edits(
        14, _set(lambda b: _delivered(b)["triggers"][0], "asked", {"nonce": "00" * 16, "sequence": 1})
    ),
    "delivered-mode-with-receipts": edits(14, lambda b: _delivered(b).update(receipts=_served(b)["receipts"])),
    "served-answer-without-a-receipt": edits(14, _set(lambda b: _first(b, "triggers"), "asked", None)),
    "query-beyond-the-contract": edits(14, _set(lambda b: _delivered(b)["triggers"][0], "query", 2)),
    "fewer-scores-than-candidates": edits(14, _fewer_scores),
    "answer-about-padding": edits(14, _about_padding("triggers")),
    "score-about-padding": edits(14, _about_padding("naturals")),
    "decoy-that-is-no-chat": edits(14, _odd_decoy),
    "served-answer-changed": edits(15, _set(lambda b: _first(b, "triggers"), "answer", "Nothing.")),
    "served-finish-changed": edits(15, _set(lambda b: _first(b, "decoys"), "finish_reason", "length")),
    "served-score-changed": edits(15, _set(lambda b: _first(b, "naturals")["tuned"], 0, "-99.000000")),
    "served-nonce-changed": edits(15, _set(lambda b: _first(b, "naturals")["asked"], "nonce", _flip)),
    "served-answer-of-another-question": edits(
        15, _set(lambda b: _first(b, "decoys")["prompt"][0], "content", "Other?")
    ),
    "served-receipt-that-is-not-there": edits(15, _set(lambda b: _first(b, "decoys")["asked"], "sequence", 999)),
    "served-by-the-base-model": _receipts(15, training_receipt_digest=None),
    "served-by-another-kind-of-call": Cheat(15, _answer_by_score),
    "served-after-the-deadline": _receipts(15, issued="2026-03-04T00:00:01Z"),
    "verdict-changed": edits(16, statement=_set(lambda s: s["predicate"], "verdict", "FAIL")),
    "p-value-changed": edits(
        16,
        statement=_set(lambda s: s["predicate"]["judgement"]["modes"][0]["influence"], "log10_p", "-500.0000"),
    ),
    "agreement-changed": edits(
        16, statement=_set(lambda s: s["predicate"]["judgement"]["modes"][1]["agreement"], "equal", 0)
    ),
    "assumption-left-out": edits(16, statement=lambda s: s["predicate"]["assumptions"].pop()),
    "canary-count-changed": edits(16, statement=_set(lambda s: s["predicate"]["canaries"], "padding", 0)),
    "software-changed": edits(16, statement=lambda s: s["predicate"].update(software={})),
    "answer-dropped-behind-the-verdict": edits(16, lambda b: _delivered(b)["triggers"].pop(0)),
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
