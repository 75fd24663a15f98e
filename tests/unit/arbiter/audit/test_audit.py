"""The audit: what it says, what it imports, and that every byte matters."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.errors import fails
from tests.support.exchange import UNTRAINED, Exchange, small
from veritune.arbiter.audit import audit as audit_module
from veritune.arbiter.audit.audit import CHECKS, audit, audit_files
from veritune.arbiter.documents.statement import PAYLOAD_TYPE
from veritune.common.canonical import canonical_bytes, sha256_hex
from veritune.common.envelope import sign
from veritune.common.errors import AuditError, BadFileError, KeyFileError, MissingFileError
from veritune.common.limits import LIMITS

SMALL = small()
REPORT, EVIDENCE = SMALL.report_bytes, SMALL.evidence_bytes


@pytest.mark.parametrize(
    ("exchange", "verdict"),
    [
        (Exchange(), "PASS"),
        (Exchange(behaviour=UNTRAINED, naturals=40, leaves=64, leaves_per_session=64), "FAIL"),
        (Exchange(groups=0, naturals=8), "INCONCLUSIVE"),
        (small(), "PASS"),
    ],
)
def test_honest_parties_pass_the_audit_whatever_the_verdict(exchange: Exchange, verdict: str) -> None:
    result = audit(exchange.report_bytes, exchange.evidence_bytes, *exchange.keys)
    assert result.verdict == verdict == result.judgement.verdict == result.statement.verdict
    assert len(result.checks) == 16
    assert result.trust[0].startswith("delivered: the answers are the client's own measurements")


def test_the_audit_says_what_the_provider_signed() -> None:
    result = audit(REPORT, EVIDENCE, *SMALL.keys)
    assert any(words.startswith("served: the provider signed every answer") for words in result.trust)


def test_docstring_code_and_table_name_the_same_checks() -> None:
    numbers = {int(number) for number in re.findall(r"^ ?\((\d+)\) ", audit_module.__doc__ or "", re.MULTILINE)}
    assert numbers == set(CHECKS) == set(range(1, 17))
    folder = Path(audit_module.__file__).parent
    code = "".join((folder / f"{part}.py").read_text() for part in ("audit", "canaries", "answers"))
    for number in CHECKS:
        assert f"# ({number})" in code


def test_every_byte_of_the_report_matters() -> None:
    for position in range(len(REPORT)):
        changed = bytearray(REPORT)
        changed[position] ^= 1
        with pytest.raises(AuditError) as found:
            audit(bytes(changed), EVIDENCE, *SMALL.keys)
        assert found.value.check in (1, 2)


@settings(deadline=None, max_examples=300)
@given(st.integers(0, len(REPORT) - 1), st.integers(1, 255))
def test_any_other_byte_in_the_report_is_found(position: int, mask: int) -> None:
    changed = bytearray(REPORT)
    changed[position] ^= mask
    with pytest.raises(AuditError):
        audit(bytes(changed), EVIDENCE, *SMALL.keys)


@settings(deadline=None, max_examples=300)
@given(st.integers(0, len(EVIDENCE) - 1), st.integers(1, 255))
def test_any_other_byte_in_the_evidence_is_found(position: int, mask: int) -> None:
    changed = bytearray(EVIDENCE)
    changed[position] ^= mask
    with pytest.raises(AuditError) as found:
        audit(REPORT, bytes(changed), *SMALL.keys)
    assert found.value.check == 3


def bound_ranges() -> list[range]:
    """Where the envelopes, openings and leaf hashes stand: what no client can change, whatever it signs afterwards."""
    value = SMALL.evidence.model_dump(mode="json")
    served = next(item for item in value["observations"] if item["mode"] == "served")
    pieces = [
        value["manifest"],
        value["dataset_receipt"],
        value["training_receipt"],
        *served["receipts"],
        *value["openings"],
        value["leaf_hashes"],
    ]
    starts = [EVIDENCE.index(canonical_bytes(piece)) for piece in pieces]
    return [range(start, start + len(canonical_bytes(piece))) for start, piece in zip(starts, pieces, strict=True)]


BOUND = [position for piece in bound_ranges() for position in piece]


def audit_signed_again(changed: bytes) -> int:
    """The number of the check that finds it when the client signs a report that names the changed evidence."""
    said = SMALL.report.statement.model_dump(mode="json")
    said["predicate"]["chain"]["evidence"] = sha256_hex(changed)
    report = sign(PAYLOAD_TYPE, canonical_bytes(said), SMALL.client).to_json()
    with pytest.raises(AuditError) as found:
        audit(report, changed, *SMALL.keys)
    return found.value.check


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(BOUND), st.integers(1, 255))
def test_a_client_that_signs_again_can_change_no_byte_of_an_envelope_or_opening(position: int, mask: int) -> None:
    changed = bytearray(EVIDENCE)
    changed[position] ^= mask
    assert 3 <= audit_signed_again(bytes(changed)) <= 13


@pytest.mark.heavy
def test_bytes_of_every_envelope_and_opening_matter_even_to_a_client_that_signs_again() -> None:
    found = set()
    for position in BOUND[:: max(1, len(BOUND) // 600)]:
        changed = bytearray(EVIDENCE)
        changed[position] ^= 1
        found.add(audit_signed_again(bytes(changed)))
    assert {3, 4, 5, 6, 8, 10, 13} <= found


@pytest.mark.parametrize("data", [b"", b"{}", b"\x00" * 100, b"[" * 5000, b"null", b'{"a":NaN}', b"\xff\xfe"])
def test_hostile_bytes_get_a_numbered_error(data: bytes) -> None:
    with pytest.raises(AuditError) as found:
        audit(data, EVIDENCE, *SMALL.keys)
    assert found.value.check == 1
    said = SMALL.report.statement.model_dump(mode="json")
    said["predicate"]["chain"]["evidence"] = sha256_hex(data)
    report = sign(PAYLOAD_TYPE, canonical_bytes(said), SMALL.client).to_json()
    with pytest.raises(AuditError) as found:
        audit(report, data, *SMALL.keys)
    assert found.value.check == 3


def write_files(folder: Path) -> list[Path]:
    paths = [folder / name for name in ("report.json", "evidence.json", "client.pub", "provider.pub")]
    paths[0].write_bytes(REPORT)
    paths[1].write_bytes(EVIDENCE)
    SMALL.client.public.save(paths[2])
    SMALL.provider.public.save(paths[3])
    return paths


def test_files_are_audited(tmp_path: Path) -> None:
    assert audit_files(*write_files(tmp_path)).verdict == "PASS"


def test_files_that_can_not_be_read_are_named(tmp_path: Path) -> None:
    report, evidence, client, provider = write_files(tmp_path)
    with fails(MissingFileError, file="none.json"):
        audit_files(tmp_path / "none.json", evidence, client, provider)
    with pytest.raises(KeyFileError):
        audit_files(report, evidence, report, provider)
    report.write_bytes(b" " * (LIMITS.envelope_json + 1))
    with fails(BadFileError, cause="size", file="report.json"):
        audit_files(report, evidence, client, provider)


def test_the_audit_needs_no_heavy_import(tmp_path: Path) -> None:
    """In a process of its own. How long it takes is measured by ``benchmarks/audit_time.py``."""
    script = (
        "import sys, pathlib\n"
        "from veritune.arbiter.audit.audit import audit_files\n"
        "result = audit_files(*map(pathlib.Path, sys.argv[1:]))\n"
        "heavy = {'torch', 'scipy', 'numpy', 'grpc', 'transformers', 'google.protobuf'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "print(result.verdict)\n"
    )
    paths = [str(path) for path in write_files(tmp_path)]
    done = subprocess.run([sys.executable, "-c", script, *paths], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "PASS"
