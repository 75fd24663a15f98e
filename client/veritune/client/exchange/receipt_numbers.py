"""The numbers of a contract's inference receipts, which several calls under way at once may bring in any order."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from veritune.common.errors import OutOfOrderError


class ReceiptNumbers:
    """Which numbers are known. Safe for several threads.

    A provider gives 1, 2, 3 ... in the order in which it answers. So a number is right that is new and that the calls
    made so far can have used up: with one call under way and none unanswered from before, exactly the next one.
    `require_whole` is exact; the limit finds a gap sooner where it can.
    """

    def __init__(self, known: Collection[int] = (), unanswered: int = 0) -> None:
        """``known``: the numbers of an earlier process. ``unanswered``: how many calls it began without an answer.

        Each of these may have used up a number, whether it is below the greatest of ``known`` or above.
        """
        self._known = set(known)
        self._unanswered = unanswered
        self._lock = threading.Lock()
        self._under_way = self._failed = 0

    def __len__(self) -> int:
        """How many numbers are known."""
        with self._lock:
            return len(self._known)

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """One call, its receipt included: it may use up a number even where it fails."""
        with self._lock:
            self._under_way += 1
        try:
            yield
        except BaseException:
            with self._lock:
                self._failed += 1
            raise
        finally:
            with self._lock:
                self._under_way -= 1
                if not self._under_way:
                    self._failed = 0

    def take(self, number: int) -> None:
        """Takes note of a receipt's number, within its call. Raises `OutOfOrderError` where it can't be right."""
        with self._lock:
            most = len(self._known) + self._unanswered + self._under_way + self._failed
            if number in self._known:
                raise OutOfOrderError(
                    f"inference receipt {number} came twice, for two requests", cause="twice", receipt=str(number)
                )
            if number > most:
                raise OutOfOrderError(
                    f"inference receipt {number} came where no more than {most} can be: the record has a gap",
                    cause="gap",
                    receipt=str(number),
                )
            self._known.add(number)

    def require_whole(self) -> None:
        """Raises `OutOfOrderError` where a number is left out; while no call is under way."""
        with self._lock:
            missing = next(number for number in range(1, len(self._known) + 2) if number not in self._known)
            if missing <= len(self._known):
                raise OutOfOrderError(
                    f"inference receipt {missing} never came: the record has a gap", cause="gap", receipt=str(missing)
                )
