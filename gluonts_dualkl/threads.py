"""One thread for many small tensor operations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["single_threaded"]


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
