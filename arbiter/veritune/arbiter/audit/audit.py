"""The offline audit: trusts neither side, only two public keys (SPEC section 8).

Whoever holds a report, its evidence and the two keys learns here whether the verdict follows. The checks, in order;
each is repeated as ``(n)`` where it is made, and an `AuditError` carries its number:

 (1) The report is one canonical DSSE envelope of in-toto's type, signed by exactly the client's key.
 (2) Its payload is an in-toto Statement v1 with veritune's predicate and one subject.
 (3) The evidence has the SHA-256 that the report names, and is one canonical, well-formed bundle.
 (4) The manifest is the one that the report names, signed by exactly the client's and the provider's keys, which
     differ and are the keys that it names; its policy makes sense.
 (5) The dataset receipt is the one that the report names, signed by the provider for this manifest, and its figures
     are the manifest's.
 (6) The training receipt is the one that the report names, signed by the provider for this manifest and dataset
     receipt; it accounts for the contract's rows, its steps, tokens and checkpoints can be true, its files have
     different names and accepted kinds, and its adapter's weights are the report's subject.
 (7) Times: the contract's deadlines follow each other, the provider's receipts too, and each kept its deadline; so
     did the report.
 (8) The leaf hashes are as many as the contract says, all different, and give its canary root.
 (9) The session is one of the contract's, and its openings are exactly the leaves that the seed picks, in its order;
     where the policy stops sequentially, the first of them, at least one.
(10) Every opening hashes to its leaf.
(11) Rows: each canary's rows, and no others, are opened, stand in the data set, carry the canary, belong to no other
     canary; a trigger group has as many as the contract asks for, and all together are no more than it allows.
(12) Canaries: the documents that they name are in the evidence, a trigger's is a generator, token bits add up to the
     bits claimed, the true answer is one of the candidates, no two of which have one form (Unicode NFC, without white
     space at the ends), triggers and signatures differ, and held-out prompts are in none of the opened rows.
(13) Inference receipts are signed by the provider for this manifest, with sequence numbers 1, 2, 3 ... without a gap.
(14) Observations: greedy, about opened canaries only, each at most once and within its list; delivered ones name no
     receipt, served ones do, each another.
(15) Each served answer is the one in its receipt: same model, same request, same output, within the deadline.
(16) The judgement recomputed from the evidence, and every other figure that follows from it, are the report's.

(4) to (7) are made by `arbiter.papers`, as by whoever received these documents; (8) to (12) by `audit.canaries`, (13)
to (15) by `audit.answers`, the rest here. The audit does not run the model: in delivered mode the answers are the
client's own measurements (see `AuditResult.trust`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from veritune.arbiter.audit.answers import check_answers
from veritune.arbiter.audit.canaries import check_canaries
from veritune.arbiter.audit.checks import Agreed, failing, require
from veritune.arbiter.documents.evidence import Evidence
from veritune.arbiter.documents.judgement import Judgement, Verdict
from veritune.arbiter.documents.statement import PAYLOAD_TYPE, ReportStatement
from veritune.arbiter.papers import check_times, open_contract, open_dataset_receipt, open_training_receipt
from veritune.arbiter.report import adapter_of, assumptions_of, canary_counts, chain_of
from veritune.arbiter.verdict.judge import judge_evidence
from veritune.arbiter.verdict.rules import Rules
from veritune.common.canonical import sha256_hex
from veritune.common.documents.base import parse_time
from veritune.common.documents.manifest import Manifest
from veritune.common.envelope import Envelope, verify
from veritune.common.errors import MissingFileError
from veritune.common.files import read_limited
from veritune.common.keys import PublicKey
from veritune.common.limits import LIMITS

CHECKS = {
    1: "the report is signed by the client",
    2: "the report is a well-formed in-toto statement",
    3: "the evidence is the one that the report names",
    4: "the contract is signed by both parties",
    5: "the provider received the contract's data set",
    6: "the provider signed this adapter for this contract",
    7: "deadlines were kept",
    8: "the canaries were committed to in the contract",
    9: "neither side chose which canaries were asked",
    10: "every opening fits the commitment",
    11: "every canary stands in the data set",
    12: "every canary is well formed",
    13: "inference receipts are signed and without a gap",
    14: "every answer belongs to one question",
    15: "every served answer is the one that the provider signed",
    16: "the verdict follows from the evidence",
}

DELIVERED_TRUST = (
    "delivered: the answers are the client's own measurements, not signed by the provider; run them again on the base "
    "model and the adapter that the report names to check them"
)
SERVED_TRUST = (
    "served: the provider signed every answer; the base model's log-probabilities are the client's own measurements"
)
STATED_TRUST = (
    "extra tokens, the task's score, software versions and the time of the report are the client's own statements"
)


@dataclass(frozen=True)
class AuditResult:
    """The result of an audit all of whose checks passed."""

    verdict: Verdict
    judgement: Judgement
    statement: ReportStatement
    manifest: Manifest
    evidence: Evidence
    checks: tuple[str, ...]
    """The checks that passed, each a text that begins with its number."""
    trust: tuple[str, ...]
    """What no audit can verify, as sentences."""


def audit_files(report: Path, evidence: Path, client_key: Path, provider_key: Path) -> AuditResult:
    """The result of `audit` on files. Raises `AuditError`, `MissingFileError`, `BadFileError` or `KeyFileError`."""
    return audit(
        _read(report, LIMITS.envelope_json),
        _read(evidence, LIMITS.evidence),
        PublicKey.load(client_key),
        PublicKey.load(provider_key),
    )


def audit(report: bytes, evidence: bytes, client: PublicKey, provider: PublicKey) -> AuditResult:
    """The result of the sixteen checks. Raises `AuditError` with the number of the first that fails."""
    with failing(1):  # (1)
        envelope = Envelope.from_json(report)
        statement = _open_report(envelope, client)
    predicate = statement.predicate

    with failing(3):  # (3)
        require(
            3, sha256_hex(evidence) == predicate.chain.evidence, "the evidence is not the one that the report names"
        )
        bundle = Evidence.from_bytes(evidence)

    with failing(4):  # (4)
        contract = open_contract(bundle.manifest.envelope(), client, provider)
        require(4, contract.digest == predicate.chain.manifest, "the manifest is not the one that the report names")
        manifest = contract.document
        Rules.of(manifest.verification.policy)

    with failing(5):  # (5)
        dataset = open_dataset_receipt(bundle.dataset_receipt.envelope(), contract, provider)
        require(5, dataset.digest == predicate.chain.dataset_receipt, "the dataset receipt is another one")

    with failing(6):  # (6)
        training = open_training_receipt(bundle.training_receipt.envelope(), contract, dataset, provider)
        require(6, training.digest == predicate.chain.training_receipt, "the training receipt is another one")
        subject = adapter_of(training.document)
        require(6, statement.subject == (subject,), "the report's subject is not the adapter of the receipt")

    with failing(7):  # (7)
        check_times(manifest, dataset.document, training.document)
        late = parse_time(predicate.issued) > parse_time(manifest.deadlines.reveal)
        require(7, not late, "the report came after its deadline")

    agreed = Agreed(contract, training, provider)
    check_canaries(bundle, agreed)  # (8) to (12)
    check_answers(bundle, agreed)  # (13) to (15)

    with failing(16):  # (16)
        _check_figures(statement, bundle, manifest)

    return AuditResult(
        verdict=predicate.verdict,
        judgement=predicate.judgement,
        statement=statement,
        manifest=manifest,
        evidence=bundle,
        checks=tuple(f"({number}) {text}" for number, text in CHECKS.items()),
        trust=_trust(bundle),
    )


def _open_report(envelope: Envelope, client: PublicKey) -> ReportStatement:
    payload = verify(envelope, PAYLOAD_TYPE, (client,))
    with failing(2):  # (2)
        return ReportStatement.from_bytes(payload)


def _check_figures(statement: ReportStatement, bundle: Evidence, manifest: Manifest) -> None:
    predicate = statement.predicate
    judgement = judge_evidence(bundle, manifest)
    require(16, predicate.judgement == judgement, "the judgement does not follow from the evidence")
    require(16, predicate.verdict == judgement.verdict, "the verdict is not the judgement's")
    require(16, predicate.chain == chain_of(bundle), "the report names other documents")
    stated = (predicate.policy, predicate.base_model, predicate.session, predicate.canaries, predicate.assumptions)
    follows = (
        manifest.verification.policy,
        manifest.base_model,
        bundle.session,
        canary_counts(bundle),
        assumptions_of(judgement, manifest),
    )
    require(16, stated == follows, "a figure of the report does not follow from the evidence")
    require(16, predicate.software == bundle.software, "the report names other software than the evidence")


def _trust(bundle: Evidence) -> tuple[str, ...]:
    words = {"delivered": DELIVERED_TRUST, "served": SERVED_TRUST}
    return (*(words[item.mode] for item in bundle.observations), STATED_TRUST)


def _read(path: Path, limit: int) -> bytes:
    try:
        return read_limited(path, limit)
    except OSError as error:
        raise MissingFileError(f"can't read {path.name}: {error.strerror}", file=path.name) from error
