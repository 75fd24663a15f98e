"""Structured logs that never hold what clients send: no rows, prompts, answers or tokens.

So an exception is logged by its class and place, never by its message, which may quote its input.
"""

from __future__ import annotations

import logging
import sys
import traceback
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

_FRAMES = 12


def configure_logs(*, as_json: bool, verbose: bool = False) -> None:
    """Configures logging for the process: lines go to standard error, as JSON or as text for a terminal.

    ``verbose`` adds debug lines.
    """
    level = logging.DEBUG if verbose else logging.INFO
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    # Libraries log exceptions with their messages to these loggers; ours go through structlog.
    logging.getLogger("asyncio").addFilter(_strip)
    logging.getLogger("grpc").setLevel(logging.CRITICAL)


def get_logger(part: str) -> FilteringBoundLogger:
    """A logger whose lines name ``part``, the part of the daemon that writes them."""
    # It is not bound here, because modules call this when they are imported, before `configure_logs`.
    logger: FilteringBoundLogger = structlog.get_logger(part=part)
    return logger


def describe(error: BaseException) -> str:
    """The class and place of an exception and of its causes, innermost frame last; never a message."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    places = " > ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno}:{frame.name}" for frame in frames)
    cause = error.__cause__
    return f"{type(error).__name__} at {places}" + (f"; from {describe(cause)}" if cause is not None else "")


def _strip(record: logging.LogRecord) -> bool:
    """A log filter that replaces an exception's message by `describe`; True: the record is kept."""
    if record.exc_info and record.exc_info[1] is not None:
        record.msg, record.args = describe(record.exc_info[1]), ()
        record.exc_info = record.exc_text = None
    return True
