"""Tables that grow by a row at a time and go on where they stopped."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from gluonts_dualkl.data.destinations import atomic_path

__all__ = ["grow_table", "quiet_library"]

SECONDS = "seconds"


@contextmanager
def quiet_library() -> Iterator[None]:
    """Only errors of the library are logged: a study repeats its warnings by design."""
    logger = logging.getLogger("gluonts_dualkl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def grow_table(
    path: Path,
    keys: Sequence[Mapping[str, Any]],
    compute: Callable[..., Mapping[str, Any]],
) -> Iterator[pd.DataFrame]:
    """Compute the rows that the table at ``path`` lacks; yields it after each.

    Parameters
    ----------
    path
        A CSV file, made if absent, replaced as a whole after every row: a run that was
        killed leaves what it finished.
    keys
        What identifies each row, the same names in all, in the order to compute them.
    compute
        Called with a key as keyword arguments; returns the values of its row. The
        seconds that this took are added.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pd.read_csv(path) if path.is_file() else pd.DataFrame()
    names = list(keys[0]) if keys else []
    done = set()
    if len(table):
        done = set(table[names].astype(str).itertuples(index=False, name=None))
    for key in keys:
        if tuple(str(key[name]) for name in names) in done:
            continue
        began = time.perf_counter()
        values = compute(**key)
        row = {**key, **values, SECONDS: round(time.perf_counter() - began, 2)}
        table = pd.concat([table, pd.DataFrame([row])], ignore_index=True)
        with atomic_path(path, force=True) as temporary:
            table.to_csv(temporary, index=False, float_format="%.5g")
        yield table
