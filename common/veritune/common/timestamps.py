"""RFC 3339 times in UTC with whole seconds, the only form that documents use. Nothing here reads a clock."""

from __future__ import annotations

from datetime import UTC, datetime

from veritune.common.errors import MalformedDocumentError


def format_time(moment: datetime) -> str:
    """A moment as text such as ``2026-01-31T12:00:00Z``. Raises ``ValueError`` for one without a time zone."""
    if moment.tzinfo is None:
        raise ValueError("a moment without a time zone")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> datetime:
    """The moment in `format_time`'s form. Raises `MalformedDocumentError`, also for a day that does not exist."""
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise MalformedDocumentError("not a time of the form 2026-01-31T12:00:00Z") from error
