"""The committed vectors: the audit says what each of them expects, and the script still writes the same bytes."""

from __future__ import annotations

import json

import pytest

from tests.conformance.make_audit_vectors import FOLDER, vectors
from veritune.arbiter.audit.audit import audit
from veritune.common.errors import AuditError
from veritune.common.keys import PublicKey

NAMES = sorted(path.name for path in FOLDER.glob("*.json"))


@pytest.mark.parametrize("name", NAMES)
def test_the_audit_says_what_the_vector_expects(name: str) -> None:
    vector = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    keys = PublicKey.from_text(vector["client"]), PublicKey.from_text(vector["provider"])
    files = vector["report"].encode(), vector["evidence"].encode()
    if vector["check"] is None:
        assert audit(*files, *keys).verdict == vector["expect"]
        return
    with pytest.raises(AuditError) as found:
        audit(*files, *keys)
    assert (found.value.reason, found.value.check) == (vector["expect"], vector["check"])


def test_the_script_writes_these_very_files() -> None:
    expected = vectors()
    assert sorted(expected) == NAMES
    for name, text in expected.items():
        assert (FOLDER / name).read_text(encoding="utf-8") == text, name
