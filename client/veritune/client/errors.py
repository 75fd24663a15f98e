"""Errors of the client's own side."""

from __future__ import annotations

from typing import ClassVar

from veritune.common.errors import MalformedDocumentError


class JobError(MalformedDocumentError):
    """A `veritune.toml` that can't be used; the message names the key and its line."""

    reason: ClassVar[str] = "BAD_JOB"


class MissingExtraError(JobError):
    """A library that this installation lacks; the message names the extra that brings it."""
