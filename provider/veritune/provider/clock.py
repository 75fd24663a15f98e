"""The type of a function that tells the time, so that tests can pass a clock of their own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

Clock = Callable[[], datetime]
"""Returns the current time, with its time zone."""
