"""in-toto statements: the report, and the attestations derived from it for standard tools (SPEC section 7).

Formats: in-toto attestation framework, Statement v1; predicates test-result v0.1 and svr v0.2.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import ConfigDict, Field

from veritune.arbiter.documents.judgement import Judgement, Verdict
from veritune.common.documents.base import (
    Count,
    DecimalString,
    Document,
    HexDigest,
    Name,
    Positive,
    ShortText,
    Timestamp,
)
from veritune.common.documents.manifest import BaseModelRef, Policy

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
REPORT_TYPE: Final = "urn:veritune:verification-report:v1"
TEST_RESULT_TYPE: Final = "https://in-toto.io/attestation/test-result/v0.1"
SVR_TYPE: Final = "https://in-toto.io/attestation/svr/v0.2"
SUBJECT_NAME: Final = "adapter_model.safetensors"
VERIFIER_ID: Final = "urn:veritune:verifier:v1"


class DigestSet(Document):
    """in-toto's digest set, with SHA-256 alone."""

    sha256: HexDigest


class Resource(Document):
    """in-toto's resource descriptor: a name and a digest."""

    name: ShortText
    digest: DigestSet


class Chain(Document):
    """SHA-256 digests of the documents that a report rests on: of three payloads, and of the evidence's bytes."""

    manifest: HexDigest
    dataset_receipt: HexDigest
    training_receipt: HexDigest
    evidence: HexDigest


class CanaryCounts(Document):
    """Numbers of canaries by kind, and of rows of trigger groups, that the session opened."""

    groups: Count
    group_rows: Count
    naturals: Count
    padding: Count


class Overhead(Document):
    """The cost of the canaries, as the client states it; nobody else can check it."""

    extra_rows: Count
    extra_tokens_percent: DecimalString | None


class TaskScore(Document):
    """The task's score on held-out rows before and after training, from 0 to 1, as the client states it."""

    metric: ShortText
    rows: Positive
    before: DecimalString
    after: DecimalString


class ReportPredicate(Document):
    """The content of a report: the client's statements, and figures that the audit recomputes from the evidence."""

    version: Literal[1] = 1
    verdict: Verdict
    judgement: Judgement
    policy: Policy
    base_model: BaseModelRef
    chain: Chain
    session: Positive
    canaries: CanaryCounts
    overhead: Overhead | None
    task: TaskScore | None
    assumptions: Annotated[tuple[ShortText, ...], Field(min_length=1, max_length=16)]
    software: Annotated[dict[Name, ShortText], Field(max_length=64)]
    issued: Timestamp


class TestResultPredicate(Document):
    """The predicate of an in-toto test result, v0.1."""

    __test__: ClassVar[bool] = False  # not a test case, whatever its name

    result: Literal["PASSED", "WARNED", "FAILED"]
    configuration: tuple[Resource, ...]
    passedTests: tuple[ShortText, ...]  # noqa: N815 - in-toto's own names
    warnedTests: tuple[ShortText, ...]  # noqa: N815
    failedTests: tuple[ShortText, ...]  # noqa: N815


class SvrVerifier(Document):
    """The verifier of an SVR: its id, and the policies and documents that it went by."""

    id: ShortText
    policies: tuple[Resource, ...]


class SvrPredicate(Document):
    """The predicate of an in-toto Simple Verification Result, v0.2: properties that hold, and no others."""

    verifier: SvrVerifier
    timeCreated: Timestamp  # noqa: N815 - in-toto's own name
    properties: Annotated[tuple[ShortText, ...], Field(min_length=1)]


class Statement(Document):
    """Base of our in-toto statements: one subject, the adapter's weights by the SHA-256 of the file."""

    payload_type: ClassVar[str] = PAYLOAD_TYPE
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", serialize_by_alias=True)

    type_: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    subject: Annotated[tuple[Resource, ...], Field(min_length=1, max_length=1)]


class ReportStatement(Statement):
    """The report as an in-toto statement; its envelope is the file that the client publishes."""

    predicateType: Literal["urn:veritune:verification-report:v1"]  # noqa: N815 - in-toto's own name
    predicate: ReportPredicate

    @property
    def verdict(self) -> Verdict:
        """The verdict: PASS, FAIL or INCONCLUSIVE."""
        return self.predicate.verdict


class TestResultStatement(Statement):
    """A test result as an in-toto statement, derived from a report."""

    __test__: ClassVar[bool] = False

    predicateType: Literal["https://in-toto.io/attestation/test-result/v0.1"]  # noqa: N815
    predicate: TestResultPredicate


class SvrStatement(Statement):
    """A Simple Verification Result as an in-toto statement, derived from a report whose verdict is PASS."""

    predicateType: Literal["https://in-toto.io/attestation/svr/v0.2"]  # noqa: N815
    predicate: SvrPredicate
