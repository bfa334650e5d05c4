"""One cell of a benchmark: fit a generator, draw from it, score it, write a file."""

from __future__ import annotations

import json
import logging
import os
import platform
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gluonts_dualkl.data.destinations import atomic_path
from gluonts_dualkl.evaluation.backends import one_thread

__all__ = [
    "COLUMNS",
    "Cell",
    "Settings",
    "fingerprint",
    "join_cells",
    "keep_windows",
    "read_cell",
    "run_cell",
    "write_failure",
]

_SCHEMA = pa.schema(
    {
        "dataset": pa.string(),
        "generator": pa.string(),
        "seed": pa.int64(),
        "metric": pa.string(),
        "value": pa.float64(),
        "lower": pa.float64(),
        "upper": pa.float64(),
        "floor": pa.float64(),
        "ceiling": pa.float64(),
        "verdict": pa.string(),
        "seconds_fit": pa.float64(),
        "seconds_sample": pa.float64(),
        "peak_memory_mb": pa.float64(),
        "versions": pa.string(),
        "failure": pa.string(),
    }
)
COLUMNS = list(_SCHEMA.names)
_SILENT = logging.NullHandler()
_NO_SCORES = pd.DataFrame({"metric": [""], "verdict": [""]})
_LIBRARIES = ("gluonts-dualkl", "numpy", "scipy", "scikit-learn", "torch", "gluonts")
_DATA = b"data"


@dataclass(frozen=True)
class Settings:
    """What all cells of a results folder have in common.

    ``fit_seconds`` is the ``max_seconds`` of the generators that have such a limit.
    """

    n_train: int | None = None
    length: int | None = None
    fast: bool = False
    tune: bool = False
    fit_seconds: float | None = None
    split: str = "own"


@dataclass(frozen=True)
class Cell:
    """Data set, generator and seed, and where the result goes.

    ``samples`` is the file for the drawn windows, where they are kept.
    """

    dataset: str
    generator: str
    seed: int
    path: Path
    settings: Settings
    samples: Path | None = None

    @property
    def entropy(self) -> int:
        """Seed of everything random in the cell, whatever ran before it."""
        words = [zlib.crc32(text.encode()) for text in (self.dataset, self.generator)]
        state = np.random.SeedSequence([self.seed, *words]).generate_state(1)
        return int(state[0] >> 1)

    def __str__(self) -> str:
        return f"{self.dataset} | {self.generator} | seed {self.seed}"


def fingerprint(train: np.ndarray, held_out: np.ndarray) -> str:
    """Checksum of the split that a cell was computed on."""
    code = 0
    for x in (train, held_out):
        code = zlib.crc32(np.ascontiguousarray(x).tobytes(), code)
        code = zlib.crc32(str(x.shape).encode(), code)
    return f"{code:08x}"


def run_cell(
    cell: Cell,
    train: np.ndarray,
    held_out: np.ndarray,
    score: Callable[..., pd.DataFrame] | None = None,
) -> str:
    """Fit, draw, score and write the file of a cell; return the failure or ``""``.

    Whatever goes wrong in the generator or in the scores is recorded in the file. All
    arithmetic runs on one thread, so that results depend neither on the number of jobs
    nor on the machine's cores.
    """
    # warnings of one fit among many; a worker would print them bare
    logging.getLogger("gluonts_dualkl").addHandler(_SILENT)
    cost: dict[str, float] = {}
    failure = ""
    scores = _NO_SCORES
    try:
        with one_thread(), _peak_memory(cost):
            synthetic = _draw(cell, train, held_out, cost)
        if cell.samples is not None:
            keep_windows(cell.samples, synthetic)
        with one_thread():
            scores = _score(cell, train, held_out, synthetic, score)
    except Exception as error:
        failure = _failure(error)
    _write(cell, scores, cost, failure, fingerprint(train, held_out))
    return failure


def _draw(
    cell: Cell, train: np.ndarray, held_out: np.ndarray, cost: dict[str, float]
) -> np.ndarray:
    """As many series as are held out; the time of tuning counts as fitting."""
    from gluonts_dualkl.evaluation.baselines import baseline_class

    kind = baseline_class(cell.generator)
    begin = time.perf_counter()
    arguments: dict[str, Any] = {}
    if cell.settings.tune:
        from gluonts_dualkl.evaluation.baselines.tuning import tune

        arguments = tune(cell.generator, train, cell.entropy).arguments
    known = kind().arguments
    if "seed" in known:
        arguments["seed"] = cell.entropy
    if "max_seconds" in known:
        arguments["max_seconds"] = cell.settings.fit_seconds
    baseline = kind(**arguments).fit(train)
    cost["seconds_fit"] = time.perf_counter() - begin
    begin = time.perf_counter()
    synthetic = baseline.sample(len(held_out), cell.entropy)
    cost["seconds_sample"] = time.perf_counter() - begin
    return synthetic


def _score(
    cell: Cell,
    train: np.ndarray,
    held_out: np.ndarray,
    synthetic: np.ndarray,
    score: Callable[..., pd.DataFrame] | None,
) -> pd.DataFrame:
    if score is None:
        from gluonts_dualkl.evaluation.scoring import evaluate_generator

        score = partial(evaluate_generator, same_units=True)
    # one seed a data set, not a cell: generators meet the same floors and oracles
    return score(train, held_out, synthetic, seed=cell.seed, fast=cell.settings.fast)


def keep_windows(path: Path, windows: np.ndarray) -> None:
    """Save windows for the pictures of the report."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path, force=True) as temporary, temporary.open("wb") as file:
        np.save(file, windows.astype(np.float32))


def write_failure(
    cell: Cell,
    error: Exception,
    train: np.ndarray | None = None,
    held_out: np.ndarray | None = None,
) -> str:
    """Write the file of a cell that could not be computed; return the failure."""
    failure = _failure(error)
    data = "" if train is None or held_out is None else fingerprint(train, held_out)
    _write(cell, _NO_SCORES, {}, failure, data)
    return failure


def _failure(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _write(
    cell: Cell, scores: pd.DataFrame, cost: dict[str, float], failure: str, data: str
) -> None:
    """Write the rows of a cell, complete or not at all."""
    known: dict[str, Any] = {
        "dataset": cell.dataset,
        "generator": cell.generator,
        "seed": cell.seed,
        "versions": versions(),
        "failure": failure,
    }
    rows = scores.assign(**(known | cost)).reindex(columns=COLUMNS)
    rows.attrs = {}
    schema = _SCHEMA.with_metadata({_DATA: data.encode()})
    table = pa.Table.from_pandas(rows, schema=schema, preserve_index=False)
    cell.path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(cell.path, force=True) as temporary:
        pq.write_table(table.replace_schema_metadata(schema.metadata), temporary)


def read_cell(path: Path) -> tuple[pd.DataFrame, str] | None:
    """Rows of a cell and the fingerprint of its data; None where there are none."""
    if not path.is_file():
        return None
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError):
        return None
    data = (table.schema.metadata or {}).get(_DATA, b"").decode()
    return table.to_pandas(), data


def join_cells(paths: Sequence[Path]) -> pd.DataFrame:
    """Rows of all files, sorted by data set, generator and seed."""
    tables = [pq.read_table(path).replace_schema_metadata() for path in paths]
    rows = pa.concat_tables(tables).to_pandas()
    return rows.sort_values(COLUMNS[:3], kind="stable", ignore_index=True)


@lru_cache
def versions() -> str:
    """Versions of Python and of the libraries that decide about numbers, as JSON."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return json.dumps(found)


@contextmanager
def _peak_memory(cost: dict[str, float], interval: float = 0.02) -> Iterator[None]:
    """Largest resident memory of this process while the block runs, in MB."""
    import psutil

    process = psutil.Process(os.getpid())
    peak = process.memory_info().rss
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(interval):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
        cost["peak_memory_mb"] = max(peak, process.memory_info().rss) / 2**20
