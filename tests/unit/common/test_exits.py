from __future__ import annotations

import pytest

from veritune.common.exits import missing_extra


@pytest.mark.parametrize(
    ("library", "party", "extra"),
    [
        ("grpc.aio", "client", "client"),
        ("torch", "client", "model"),
        ("torch", "provider", "provider"),
        ("vllm", "provider", "vllm"),
    ],
)
def test_a_missing_library_names_its_extra(library: str, party: str, extra: str) -> None:
    found = missing_extra(ModuleNotFoundError("no module", name=library), party)
    assert found is not None
    assert found[1] == f"pip install 'veritune[{extra}]'"


@pytest.mark.parametrize(
    "error", [ModuleNotFoundError("no module", name="json.nothing"), ModuleNotFoundError("x"), ValueError("torch")]
)
def test_other_errors_name_none(error: Exception) -> None:
    assert missing_extra(error) is None
