"""Which metadata of a call is an access header."""

from __future__ import annotations

from typing import Any

import pytest

from veritune.common.errors import UnauthenticatedError
from veritune.provider.rpc.access import access_header


class Call:
    def __init__(self, metadata: Any) -> None:
        self._metadata = metadata

    def invocation_metadata(self) -> Any:
        return self._metadata


def header(metadata: Any) -> str:
    call: Any = Call(metadata)
    return access_header(call)


def test_the_only_authorization_counts() -> None:
    assert header((("user-agent", "x"), ("authorization", "Veritune abc"))) == "Veritune abc"


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        (),
        (("user-agent", "x"),),
        (("Authorization", "Veritune abc"),),
        (("authorization", b"Veritune abc"),),
        (("authorization", "Veritune abc"), ("authorization", "Veritune abc")),
    ],
)
def test_none_two_or_bytes_are_refused(metadata: Any) -> None:
    with pytest.raises(UnauthenticatedError):
        header(metadata)
