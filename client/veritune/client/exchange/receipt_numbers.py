"""Checks that a contract's inference receipts are numbered without a gap, also when calls run at the same time."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from veritune.common.errors import OutOfOrderError


class ReceiptNumbers:
    """The set of receipt numbers that a contract's calls have brought so far. Safe for several threads.

    A provider numbers its receipts 1, 2, 3 ... in the order in which it answers. A number is accepted if it is new and
    no greater than the number of calls made so far: with one call under way and none unanswered from before, exactly
    the next one. `require_whole` is exact; this limit finds a gap sooner where it can.
    """

    def __init__(self, known: Collection[int] = (), unanswered: int = 0) -> None:
        """Starts from the numbers ``known`` to an earlier process, which began ``unanswered`` calls that got no answer.

        Each unanswered call may have used up a number, whether it is below the greatest of ``known`` or above.
        """
        self._known = set(known)
        self._unanswered = unanswered
        self._lock = threading.Lock()
        self._under_way = self._failed = 0

    def __len__(self) -> int:
        """Number of receipts whose numbers are known."""
        with self._lock:
            return len(self._known)

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Counts a call as under way until the block ends; a call that fails may have used up a number too."""
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
        """Adds a receipt's number; must be called within the call's `under_way`.

        Raises `OutOfOrderError` for a number that came before, or that is greater than the calls so far allow.
        """
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
        """Raises `OutOfOrderError` if a number below the greatest is missing. Call it while no call is under way."""
        with self._lock:
            missing = next(number for number in range(1, len(self._known) + 2) if number not in self._known)
            if missing <= len(self._known):
                raise OutOfOrderError(
                    f"inference receipt {missing} never came: the record has a gap", cause="gap", receipt=str(missing)
                )
