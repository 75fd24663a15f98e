"""docs/SPEC.md against the code, and its worked example against the standard library alone."""

from __future__ import annotations

import hashlib
import hmac
import json
import re

from tests.conformance.spec_example import SPEC, example, page
from veritune.arbiter.audit import audit
from veritune.common.errors import sent_errors
from veritune.common.limits import LIMITS

TEXT = SPEC.read_text(encoding="utf-8")


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def labelled(label: str, *parts: bytes) -> bytes:
    return sha256(label.encode() + b"\0" + b"".join(len(part).to_bytes(8, "big") + part for part in parts))


def test_the_page_shows_what_the_code_makes() -> None:
    assert page() in TEXT


def test_the_example_holds_without_our_code() -> None:
    shown = dict(example())
    leaves = [sha256(b"\0" + shown[f"row {index}"].encode()) for index in range(3)]
    assert [leaf.hex() for leaf in leaves] == [shown[f"leaf of row {index}"] for index in range(3)]
    root = sha256(b"\1" + sha256(b"\1" + leaves[0] + leaves[1]) + leaves[2])
    assert root.hex() == shown["Merkle root of the rows"] == json.loads(shown["manifest"])["dataset"]["merkle_root"]
    canaries = [
        sha256(b"\0" + bytes.fromhex(shown[f"salt {index}"]) + shown[f"canary {index}"].encode()) for index in range(2)
    ]
    assert [leaf.hex() for leaf in canaries] == [shown["leaf 0"], shown["leaf 1"]]
    assert sha256(b"\1" + canaries[0] + canaries[1]).hex() == shown["canary root"]
    for name in ("manifest", "dataset receipt", "training receipt"):
        assert sha256(shown[name].encode()).hex() == shown[f"{name} digest"]
    kind = b"application/vnd.veritune.manifest.v1+json"
    body = shown["manifest"].encode()
    encoded = b" ".join([b"DSSEv1", str(len(kind)).encode(), kind, str(len(body)).encode(), body])
    assert sha256(encoded).hex() == shown["SHA-256 of the manifest's pre-authentication encoding"]
    seed = labelled(
        "veritune/v1/challenge-seed",
        bytes.fromhex(shown["manifest digest"]),
        bytes.fromhex(shown["training receipt digest"]),
    )
    assert seed.hex() == shown["challenge seed"]
    keyed = sorted(range(2), key=lambda index: hmac.new(seed, canaries[index], "sha256").digest())
    assert ",".join(map(str, keyed)) == shown["challenge order"]
    nonce = bytes.fromhex(shown["nonce"])
    request = (
        b'{"job_id":"job-1","kind":"generate","messages":[{"content":"2+2?","role":"user"}],'
        b'"sampling":{"max_tokens":8,"seed":0,"temperature":"0","top_p":"1"}}'
    )
    assert labelled("veritune/v1/inference-request", request, nonce).hex() in shown.values()
    output = b'{"finish_reason":"stop","text":"4"}'
    assert labelled("veritune/v1/inference-output", output, nonce).hex() in shown.values()


def test_every_error_that_is_sent_stands_in_the_table() -> None:
    section = TEXT.split("## 9. Errors")[1].split("## 10.")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:4]] for line in section.splitlines() if line.startswith("| `")]
    shown = {reason.strip("`"): (code, when) for reason, code, when in rows}
    assert shown == {
        reason: (cls.code.name, (cls.__doc__ or "").split("\n\n")[0]) for reason, cls in sent_errors().items()
    }


def test_the_checks_are_those_of_the_audit() -> None:
    section = TEXT.split("## 8. Audit")[1].split("## 9.")[0]
    numbered = re.findall(r"^(\d+)\. (.+)$", section, re.MULTILINE)
    said = re.findall(r"^ ?\((\d+)\) (?!to )(.*?)(?=^ ?\(\d+\) |^$)", audit.__doc__ or "", re.DOTALL | re.MULTILINE)
    assert [(number, " ".join(text.split())) for number, text in said] == numbered
    assert [int(number) for number, _ in numbered] == list(audit.CHECKS)


def test_limits_are_the_codes() -> None:
    section = TEXT.split("## 3. Limits")[1].split("## 4.")[0]
    for text in (
        f"one signed document | {LIMITS.document >> 20} MiB",
        f"one envelope as JSON | {LIMITS.envelope_json >> 20} MiB",
        f"one evidence bundle | {LIMITS.evidence >> 20} MiB",
        f"nesting of JSON | {LIMITS.json_depth} levels",
        f"signatures of an envelope | {LIMITS.signatures} ",
        f"upload or download | {LIMITS.chunk >> 20} MiB",
        f"a data set | {LIMITS.dataset >> 30} GiB, {LIMITS.rows:,} rows",
        f"a row | {LIMITS.row >> 20} MiB",
        f"a chat | {LIMITS.messages} turns, {LIMITS.prompt_characters:,} characters",
        f"completions of a Score call | {LIMITS.completions} ",
        f"tokens of a Generate call | {LIMITS.max_tokens:,} ",
        f"leaves of a canary tree | {LIMITS.leaves:,} ",
    ):
        assert text in section
