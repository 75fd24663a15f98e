"""Writes the audit's conformance vectors: what honest and cheating parties hand in, and what an audit must say.

Run ``python -m tests.conformance.make_audit_vectors`` from the root of the repository; fixed keys and deterministic
signatures make it write the same bytes every time. Each file is one JSON object:

``name``      the case
``expect``    ``PASS``, ``FAIL``, ``INCONCLUSIVE``, or the reason of the error, ``AUDIT_FAILED``
``check``     number of the check that fails; null where none does
``report``    the report, a DSSE envelope as text
``evidence``  the evidence bundle as text
``client``, ``provider``  public keys, SubjectPublicKeyInfo (DER) as base64
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.adversary.cheats import CHEATS
from tests.adversary.forging import Files, honest
from tests.support.exchange import BOTH_WAYS, UNTRAINED, Exchange, small
from veritune.common.documents.manifest import Policy

FOLDER = Path(__file__).parent / "vectors" / "audit"
FAILING_POLICY = Policy(coverage_floor="0", beta="0.5", natural_floor="0.9", trigger_floor="0.9")


def vectors() -> dict[str, str]:
    """File name and text of each vector."""
    exchange = small()
    served_alone = small(modes=("served",), policy=Policy(modes=("served",), coverage_floor="0"))
    failed = small(modes=("delivered",), policy=FAILING_POLICY, behaviour=UNTRAINED)
    whole = small(policy=BOTH_WAYS.model_copy(update={"base_weight": "1"}))
    recital = {"recital_floor": "0.9", "recital_nats": "40"}
    by_heart = small(policy=BOTH_WAYS.model_copy(update=recital))
    forgotten = small(policy=BOTH_WAYS.model_copy(update=recital | {"recital_nats": "4"}))
    cases = {
        "honest-pass": _vector(exchange, honest(exchange), "PASS"),
        "honest-whole-base-score-pass": _vector(whole, honest(whole), "PASS"),
        "honest-recital-shown-pass": _vector(by_heart, honest(by_heart), "PASS"),
        "honest-recital-not-shown-inconclusive": _vector(forgotten, honest(forgotten), "INCONCLUSIVE"),
        "honest-parties-untrained-model-fail": _vector(failed, honest(failed), "FAIL"),
        "honest-served-without-assumption-inconclusive": _vector(served_alone, honest(served_alone), "INCONCLUSIVE"),
    }
    for name, cheat in CHEATS.items():
        cases[name] = _vector(exchange, cheat.make(exchange), "AUDIT_FAILED", cheat.check)
    return {f"{name}.json": json.dumps({"name": name, **case}, indent=1) + "\n" for name, case in cases.items()}


def _vector(exchange: Exchange, files: Files, expect: str, check: int | None = None) -> dict[str, str | int | None]:
    client, provider = exchange.keys
    report, evidence = (data.decode("utf-8") for data in files)
    return {
        "expect": expect,
        "check": check,
        "client": client.text,
        "provider": provider.text,
        "report": report,
        "evidence": evidence,
    }


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.glob("*.json"):
        old.unlink()
    for name, text in vectors().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
