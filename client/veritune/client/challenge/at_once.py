"""Several calls under way at once, begun in order."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def answers_at_once(
    items: Iterable[T], begin: Callable[[T], Callable[[], R]], at_once: int
) -> Generator[tuple[T, R], None, None]:
    """Each item with what its call returned, as the calls end; never more than ``at_once`` are under way.

    ``begin`` runs in the caller's thread when an item's turn has come, and returns the call, which runs in another.
    After a call has failed, no other is begun: those under way are waited for and handed out, then its error is raised.
    """
    pool = ThreadPoolExecutor(at_once, "calls")
    under_way: dict[Future[R], T] = {}
    left, failure = iter(items), None
    try:
        while True:
            while failure is None and len(under_way) < at_once:
                try:
                    item = next(left)
                except StopIteration:
                    break
                under_way[pool.submit(begin(item))] = item
            if not under_way:
                break
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                item, error = under_way.pop(future), future.exception()
                if error is None:
                    yield item, future.result()
                else:
                    failure = failure or error
        if failure is not None:
            raise failure
    finally:
        # Interrupted, it waits for nobody: the calls end when their channel closes.
        pool.shutdown(wait=False, cancel_futures=True)
