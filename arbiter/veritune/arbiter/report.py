"""Builds the report of an evidence bundle, and the attestations derived from it (SPEC section 7). Pure."""

from __future__ import annotations

from veritune.arbiter.documents.canary import NaturalCanary, TriggerCanary
from veritune.arbiter.documents.evidence import Evidence
from veritune.arbiter.documents.judgement import Judgement, Verdict
from veritune.arbiter.documents.statement import (
    REPORT_TYPE,
    STATEMENT_TYPE,
    SUBJECT_NAME,
    SVR_TYPE,
    TEST_RESULT_TYPE,
    VERIFIER_ID,
    CanaryCounts,
    Chain,
    DigestSet,
    Overhead,
    ReportPredicate,
    ReportStatement,
    Resource,
    SvrPredicate,
    SvrStatement,
    SvrVerifier,
    TaskScore,
    TestResultPredicate,
    TestResultStatement,
)
from veritune.arbiter.verdict.judge import judge_evidence
from veritune.common.canonical import sha256_hex
from veritune.common.documents.manifest import Manifest
from veritune.common.documents.receipts import TrainingReceipt
from veritune.common.envelope import Envelope
from veritune.common.errors import MalformedDocumentError

RESULTS = {"PASS": "PASSED", "INCONCLUSIVE": "WARNED", "FAIL": "FAILED"}

H0_ASSUMPTION = (
    "Influence: the client drew signatures and true answers at random and told nobody; nothing is assumed of the model."
)
ROWS_ASSUMPTION = (
    "Coverage: of the rows that could have been canaries; the provider could not tell the natural canaries from the "
    "others of them, and did not choose rows by their content. Of rows that could be no canary nothing is claimed."
)
FLOOR_ASSUMPTION = "FAIL: an honest run reaches the activation floors that both parties signed."
RECITAL_ASSUMPTION = (
    "Recitals: honest runs of this recipe recite as the signed floor says, and no cheaper training does; "
    "both rest on calibration."
)
DELIVERED_ASSUMPTION = (
    "Delivered: the answers are the client's own measurements; "
    "anybody with the base model and the adapter can repeat them."
)
SERVED_ASSUMPTION = (
    "Served: the endpoint answers from the adapter's weights and looks nothing up; the provider signed each answer."
)
DECOYS_ASSUMPTION = (
    "Served: the endpoint can't tell the client's decoys from other requests; the provider signed each answer."
)
NO_SERVED_ASSUMPTION = "Served: nothing is assumed of the endpoint, so it can't pass; the provider signed each answer."
SERVED_ASSUMPTIONS = {
    "none": NO_SERVED_ASSUMPTION,
    "answers-from-weights": SERVED_ASSUMPTION,
    "decoys-unrecognised": DECOYS_ASSUMPTION,
}
ESTIMATE_ASSUMPTION = "Signatures not certified: their bits are an estimate from samples, which is no upper bound."


def report_statement(
    evidence: Evidence, issued: str, overhead: Overhead | None = None, task: TaskScore | None = None
) -> ReportStatement:
    """The report of an evidence bundle, not yet signed. Raises `MalformedDocumentError` where it makes no sense.

    No signature is checked here: the audit does that, and whoever builds a bundle runs it on the result.
    """
    manifest = Manifest.from_bytes(evidence.manifest.envelope().payload)
    judgement = judge_evidence(evidence, manifest)
    predicate = ReportPredicate(
        verdict=judgement.verdict,
        judgement=judgement,
        policy=manifest.verification.policy,
        base_model=manifest.base_model,
        chain=chain_of(evidence),
        session=evidence.session,
        canaries=canary_counts(evidence),
        overhead=overhead,
        task=task,
        assumptions=assumptions_of(judgement, manifest),
        software=dict(evidence.software),
        issued=issued,
    )
    training = TrainingReceipt.from_bytes(evidence.training_receipt.envelope().payload)
    return ReportStatement(
        _type=STATEMENT_TYPE, subject=(adapter_of(training),), predicateType=REPORT_TYPE, predicate=predicate
    )


def test_result_statement(statement: ReportStatement, report: Envelope) -> TestResultStatement:
    """The report as an in-toto test result: one test for each mode that counts, a warning where it was not asked."""
    judged = {item.mode: item.verdict for item in statement.predicate.judgement.modes}
    by_verdict: dict[Verdict, list[str]] = {"PASS": [], "INCONCLUSIVE": [], "FAIL": []}
    for mode in statement.predicate.policy.modes:
        by_verdict[judged.get(mode, "INCONCLUSIVE")].append(f"veritune/{mode}")
    predicate = TestResultPredicate.model_validate(
        {
            "result": RESULTS[statement.verdict],
            "configuration": _configuration(statement, report),
            "passedTests": tuple(by_verdict["PASS"]),
            "warnedTests": tuple(by_verdict["INCONCLUSIVE"]),
            "failedTests": tuple(by_verdict["FAIL"]),
        }
    )
    return TestResultStatement(
        _type=STATEMENT_TYPE, subject=statement.subject, predicateType=TEST_RESULT_TYPE, predicate=predicate
    )


def svr_statement(statement: ReportStatement, report: Envelope) -> SvrStatement | None:
    """The report as a Simple Verification Result; None without a PASS, because an SVR can only carry passes."""
    if statement.verdict != "PASS":
        return None
    modes = tuple(f"VERITUNE_{mode.upper()}_PASS" for mode in statement.predicate.policy.modes)
    predicate = SvrPredicate(
        verifier=SvrVerifier(id=VERIFIER_ID, policies=_configuration(statement, report)),
        timeCreated=statement.predicate.issued,
        properties=("VERITUNE_PASS", *modes),
    )
    return SvrStatement(_type=STATEMENT_TYPE, subject=statement.subject, predicateType=SVR_TYPE, predicate=predicate)


def adapter_of(training: TrainingReceipt) -> Resource:
    """The subject of every statement: name and digest of the adapter's weights. Raises `MalformedDocumentError`."""
    found = [item.sha256 for item in training.adapter if item.name == SUBJECT_NAME]
    if len(found) != 1:
        raise MalformedDocumentError(f"the training receipt does not name exactly one {SUBJECT_NAME}", field="adapter")
    return Resource(name=SUBJECT_NAME, digest=DigestSet(sha256=found[0]))


def chain_of(evidence: Evidence) -> Chain:
    """SHA-256 of each signed document in a bundle, and of the bundle."""
    return Chain(
        manifest=evidence.manifest.envelope().digest,
        dataset_receipt=evidence.dataset_receipt.envelope().digest,
        training_receipt=evidence.training_receipt.envelope().digest,
        evidence=sha256_hex(evidence.to_bytes()),
    )


def canary_counts(evidence: Evidence) -> CanaryCounts:
    """Numbers of canaries, by kind, that a session opened."""
    canaries = [opening.canary for opening in evidence.openings]
    groups = [canary for canary in canaries if isinstance(canary, TriggerCanary)]
    naturals = sum(isinstance(canary, NaturalCanary) for canary in canaries)
    return CanaryCounts(
        groups=len(groups),
        group_rows=sum(len(group.rows) for group in groups),
        naturals=naturals,
        padding=len(canaries) - len(groups) - naturals,
    )


def assumptions_of(judgement: Judgement, manifest: Manifest) -> tuple[str, ...]:
    """The assumptions that a judgement rests on beside the evidence, as sentences."""
    said = [H0_ASSUMPTION, ROWS_ASSUMPTION, FLOOR_ASSUMPTION]
    if any(item.recital is not None for item in judgement.modes):
        said.append(RECITAL_ASSUMPTION)
    modes = {item.mode for item in judgement.modes}
    if "delivered" in modes:
        said.append(DELIVERED_ASSUMPTION)
    if "served" in modes:
        said.append(SERVED_ASSUMPTIONS[manifest.verification.policy.served_assumption])
    if not all(item.influence.certified for item in judgement.modes):
        said.append(ESTIMATE_ASSUMPTION)
    return tuple(said)


def _configuration(statement: ReportStatement, report: Envelope) -> tuple[Resource, ...]:
    predicate = statement.predicate
    digests = {
        "veritune policy": sha256_hex(predicate.policy.to_bytes()),
        "veritune manifest": predicate.chain.manifest,
        "veritune evidence": predicate.chain.evidence,
        "veritune report": report.digest,
    }
    return tuple(Resource(name=name, digest=DigestSet(sha256=digest)) for name, digest in digests.items())
