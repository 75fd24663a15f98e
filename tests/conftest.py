"""Fixtures that more than one part of the tests needs, and what keeps the load of a machine out of every test."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

from tests.support.tinymodel import make_tiny_model

# Where other tests run beside these. Both are read when torch is loaded, here and in every process that a test starts:
# a tiny model gains nothing from more threads, and threads that wait actively starve the others.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# How long an example takes says more of the machine than of the code.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny random Llama and its tokenizer; read only, please."""
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny", seed=0)
