"""Reads the header with the access token from a gRPC call."""

from __future__ import annotations

from typing import Any

import grpc

from veritune.common.errors import UnauthenticatedError
from veritune.common.token import METADATA_KEY

Context = grpc.aio.ServicerContext[Any, Any]
"""The context that gRPC passes to a handler: the call's metadata, and how to end the call."""


def access_header(context: Context) -> str:
    """The text of the call's ``authorization`` metadata.

    Raises `UnauthenticatedError` unless the call carries exactly one such value and it is text, not bytes.
    """
    values = [value for key, value in context.invocation_metadata() or () if key == METADATA_KEY]
    if len(values) != 1 or not isinstance(values[0], str):
        raise UnauthenticatedError(
            "the call needs exactly one access token in its authorization metadata", cause="form"
        )
    return values[0]
