"""One thread for many small tensor operations, and several of such at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

__all__ = ["in_threads", "single_threaded"]

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextmanager
def single_threaded() -> Iterator[None]:
    """Run tensor operations on one CPU thread, and restore the number afterwards.

    The walks are long chains of small operations: threads gain nothing there, and where
    other work keeps the cores busy they wait for each other a hundred times longer.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[Result]:
    """``function`` of each item, in order, ``workers`` of them at a time.

    Each call has one CPU thread, see :func:`single_threaded`. At most ``workers`` items
    are worked at ahead of the one that is given out, so that memory does not grow with
    their number; whoever stops early leaves the rest undone.
    """
    if workers == 1:
        for item in items:
            with single_threaded():
                result = function(item)
            yield result
        return
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(workers, "draw", torch.set_num_threads, (1,))
    ahead: deque[Future[Result]] = deque()
    try:
        for item in items:
            ahead.append(pool.submit(function, item))
            if len(ahead) > workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        torch.set_num_threads(threads)  # what threads to come begin with
