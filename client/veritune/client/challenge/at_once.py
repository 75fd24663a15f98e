"""Runs several calls at once in a pool of threads, begun in order."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def answers_at_once(
    items: Iterable[T], begin: Callable[[T], Callable[[], R]], at_once: int
) -> Generator[tuple[T, R], None, None]:
    """Yields each item with its call's result, in the order in which the calls end; at most ``at_once`` run together.

    ``begin`` is called with an item in the caller's thread, in the order of ``items``, and returns the call, which a
    pool's thread runs. After a call has failed, no other is begun: the results of those under way are still yielded,
    then the first error is raised.
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
        # Does not wait after an interrupt: the calls end when their channel closes.
        pool.shutdown(wait=False, cancel_futures=True)
