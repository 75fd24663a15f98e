"""What each test of the provider leaves behind is undone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    """A command under test sends the log to a stream that is closed when the command ends."""
    yield
    structlog.reset_defaults()
