"""RFC 3339 in UTC with whole seconds, the one form in which documents tell time. Nothing here reads a clock."""

from __future__ import annotations

from datetime import UTC, datetime

from veritune.common.errors import MalformedDocumentError


def format_time(moment: datetime) -> str:
    """``2026-01-31T12:00:00Z``; ``moment`` must know its zone."""
    if moment.tzinfo is None:
        raise ValueError("a moment without a time zone")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> datetime:
    """Reads `format_time`'s output; raises `MalformedDocumentError` for a day that does not exist."""
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise MalformedDocumentError("not a time of the form 2026-01-31T12:00:00Z") from error
