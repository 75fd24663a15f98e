"""Audits a report from its evidence and two public keys; needs neither a network nor a language model.

python examples/arbiter/audit_report.py REPORT EVIDENCE CLIENT_KEY PROVIDER_KEY
"""

from __future__ import annotations

import sys
from pathlib import Path

from veritune.arbiter.audit.audit import audit_files
from veritune.common.errors import VerituneError
from veritune.common.exits import exit_of


def main(report: str, evidence: str, client_key: str, provider_key: str) -> int:
    """Prints the verdict and what it rests on.

    Returns 0 (PASS), 1 (FAIL), 2 (INCONCLUSIVE), or the exit code of an error: 65 if the report is refused.
    """
    try:
        result = audit_files(Path(report), Path(evidence), Path(client_key), Path(provider_key))
    except VerituneError as error:
        print(f"error {error}", file=sys.stderr)
        return exit_of(error).code
    print(f"{result.verdict} for {result.manifest.base_model.name}, {result.manifest.dataset.rows} rows")
    reasons = (f"{reason.mode}: {reason.text}" if reason.mode else reason.text for reason in result.judgement.reasons)
    for line in (*reasons, *result.checks, *result.trust):
        print("-", line)
    return {"PASS": 0, "FAIL": 1}.get(result.verdict, 2)


if __name__ == "__main__":
    if len(sys.argv) != 5:
        print(__doc__, file=sys.stderr)
        sys.exit(64)
    sys.exit(main(*sys.argv[1:]))
