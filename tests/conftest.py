"""Fixtures that more than one part of the tests needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.tinymodel import make_tiny_model


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny random Llama and its tokenizer; read only, please."""
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny", seed=0)
