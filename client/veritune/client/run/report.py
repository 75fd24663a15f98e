"""Signing the report and the statements that are derived from it."""

from __future__ import annotations

from dataclasses import dataclass

from veritune.arbiter.documents.statement import ReportStatement
from veritune.arbiter.report import svr_statement, test_result_statement
from veritune.common.envelope import Envelope
from veritune.common.keys import PrivateKey
from veritune.common.signing import sign_document


@dataclass(frozen=True)
class SignedReport:
    """A report and the statements derived from it, all signed by the client.

    ``test_result`` is an in-toto test result; ``svr`` is a simple verification result, which only a PASS has.
    """

    statement: ReportStatement
    report: Envelope
    test_result: Envelope
    svr: Envelope | None


def sign_report(statement: ReportStatement, key: PrivateKey) -> SignedReport:
    """The signed report, its test result and, on PASS, its simple verification result."""
    report = sign_document(statement, key)
    passed = svr_statement(statement, report)
    return SignedReport(
        statement=statement,
        report=report,
        test_result=sign_document(test_result_statement(statement, report), key),
        svr=sign_document(passed, key) if passed else None,
    )
