"""Errors of the client's own side, which the drawing in `veritune.common.errors` shows among the others."""

from __future__ import annotations

from veritune.common.errors import OwnError


class JobError(OwnError):
    """A `veritune.toml` that can't be used; the message names the key and its line."""

    reason = "BAD_JOB"


class MissingExtraError(OwnError):
    """A library that this installation lacks; the message names the extra that brings it."""

    reason = "MISSING_EXTRA"
