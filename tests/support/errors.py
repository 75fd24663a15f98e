"""To expect an error by what a program reads of it, its class and its metadata, rather than by its wording."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest

from veritune.common.errors import VerituneError

E = TypeVar("E", bound=VerituneError)


@contextmanager
def fails(kind: type[E], match: str | None = None, **metadata: str) -> Iterator[pytest.ExceptionInfo[E]]:
    """Expects an error of this class, with its reason and at least this metadata.

    ``match`` is for where several causes have one reason and one metadata, so that only the text tells them apart.
    """
    with pytest.raises(kind, match=match) as caught:
        yield caught
    error = caught.value
    assert error.reason == kind.reason
    assert {name: error.metadata.get(name) for name in metadata} == metadata
