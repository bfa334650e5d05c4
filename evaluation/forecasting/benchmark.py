"""Augmentation benchmark: data set x forecaster x size x seed -> one long table.

As in :mod:`~gluonts_dualkl.evaluation.runner`, each cell is a file, written when it is
complete, and the tables are assembled from these files and nothing else: a run that was
killed goes on where it stopped. Forecasters of one data set, size and seed share the
fitted generators and their draws; blocks of this kind are computed side by side, each
on one thread, so that the number of processes changes nothing in the results.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from joblib import Parallel, delayed

from gluonts_dualkl.data.destinations import atomic_path
from gluonts_dualkl.evaluation.backends import (
    check_backend,
    one_thread,
    running_backend,
)
from gluonts_dualkl.evaluation.cell import fingerprint, read_cell
from gluonts_dualkl.evaluation.forecasting.arms import (
    ARMS,
    Ratios,
    check_arms,
    check_ratios,
    draw_study,
)
from gluonts_dualkl.evaluation.forecasting.fitting import check_horizon, check_windows
from gluonts_dualkl.evaluation.forecasting.forecasters import (
    FORECASTERS,
    Forecaster,
    make_forecaster,
)
from gluonts_dualkl.evaluation.forecasting.study import COLUMNS, score_arms
from gluonts_dualkl.evaluation.forecasting.summary import (
    augmentation_gains,
    describe_augmentation,
)
from gluonts_dualkl.evaluation.runner import open_folder
from gluonts_dualkl.evaluation.sources import DataSource, find_sources

logger = logging.getLogger(__name__)

__all__ = ["GAINS", "SUMMARY", "TABLE", "collect_augmentation", "run_augment_benchmark"]

TABLE = "augmentation.parquet"
GAINS = "gains.csv"
SUMMARY = "summary.txt"
_CELLS = "cells"
_DATA = b"data"
_TYPES = {"seed": pa.int64(), "series": pa.int64(), "value": pa.float64()}
_TYPES |= {"ratio": pa.float64()}
_TYPES |= dict.fromkeys(("n_train", "num_real", "num_added"), pa.int64())
_SCHEMA = pa.schema(
    [(name, _TYPES.get(name, pa.string())) for name in ("dataset", *COLUMNS)]
)


@dataclass(frozen=True)
class AugmentCell:
    """One data set, forecaster, size and seed, and where the result goes."""

    dataset: str
    forecaster: str
    size: int
    seed: int
    path: Path

    def __str__(self) -> str:
        return f"{self.dataset} | {self.forecaster} | {self.size} | seed {self.seed}"


@dataclass(frozen=True)
class AugmentSettings:
    """What all cells of a results folder have in common."""

    arms: list[str]
    ratio: list[float]
    baseline: str
    horizon: int | None
    season: int
    length: int | None
    num_epochs: int | None


Progress = Callable[[AugmentCell, str, int, int], None]


def run_augment_benchmark(
    data: str | Path,
    out: str | Path,
    forecasters: Sequence[str] | None = None,
    seeds: int = 10,
    *,
    sizes: Sequence[int] = (25, 50, 100, 200),
    arms: Sequence[str] = ARMS,
    ratio: Ratios = 1.0,
    baseline: str = "gaussian_copula",
    horizon: int | None = None,
    season: int = 1,
    num_epochs: int | None = None,
    only: Sequence[str] | None = None,
    length: int | None = None,
    resume: bool = False,
    force: bool = False,
    retry: bool = False,
    jobs: int = 1,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Run every forecaster on every data set, size and seed, in every arm.

    All seeds of a data set share one split into a pool and test windows, so that errors
    pair by test window; a seed draws its windows from the pool.

    Parameters
    ----------
    data, only, length
        See :func:`~gluonts_dualkl.evaluation.sources.find_sources`.
    out
        Results folder: ``augmentation.parquet`` with every error, ``gains.csv`` and
        ``summary.txt`` with what they mean.
    forecasters
        Names in :data:`~gluonts_dualkl.evaluation.forecasting.forecasters.FORECASTERS`,
        by default all.
    seeds, sizes, arms, ratio, baseline, horizon, season
        See :func:`~gluonts_dualkl.evaluation.forecasting.study.evaluate_augmentation`.
        Sizes above the pool of a data set are left out there.
    num_epochs
        Epochs of the trained forecasters, by default their own.
    resume
        Go on in ``out``: cells whose file is there and whose data are the same are not
        computed again. More seeds, sizes, forecasters and data sets may be named.
    force
        Remove the results in ``out`` first.
    retry
        Whether cells with a failed arm are computed again on resuming.
    jobs
        Processes that share the data sets, sizes and seeds; the errors are the same.
    progress
        Called as cells are finished, with the cell, its first failure or ``""``, the
        number of finished cells and the number of all.

    Returns
    -------
    pandas.DataFrame
        All cells in ``out``: ``dataset`` and the columns of
        :data:`~gluonts_dualkl.evaluation.forecasting.study.COLUMNS`.

    Raises
    ------
    ValueError, FileNotFoundError, FileExistsError
        For unknown names, numbers out of range, a folder that is not ours or was made
        with other settings, and data of which no set can be read.
    """
    names = list(dict.fromkeys(forecasters or FORECASTERS))
    if unknown := [name for name in names if name not in FORECASTERS]:
        make_forecaster(unknown[0])
    arms = check_arms(arms, baseline)
    if seeds < 1:
        raise ValueError(f"seeds: {seeds}, expected 1 or more")
    check_backend("loky", jobs, None)
    settings: Any = AugmentSettings(
        arms, check_ratios(ratio), baseline, horizon, season, length, num_epochs
    )
    splits = _splits(find_sources(data, only, length), sizes, horizon)
    folder = open_folder(Path(out).expanduser(), settings, resume, force)
    blocks = [
        (dataset, size, seed)
        for dataset, (train, _) in splits.items()
        for size, seed in product(dict.fromkeys(sizes), range(seeds))
        if size <= len(train)
    ]
    done, total, calls = 0, len(blocks) * len(names), []
    for dataset, size, seed in blocks:
        train, test = splits[dataset]
        cells = [_cell(folder, dataset, name, size, seed) for name in names]
        left = [c for c in cells if not _is_done(c, fingerprint(train, test), retry)]
        done += len(cells) - len(left)
        if left:
            calls.append(delayed(_compute)(left, train, test, settings))
    with running_backend(jobs=jobs):
        parallel = Parallel(batch_size=1, return_as="generator_unordered")
        for block in parallel(calls):
            for cell, failure in block:
                done += 1
                if progress is not None:
                    progress(cell, failure, done, total)
    return _save(folder)


def collect_augmentation(out: str | Path) -> pd.DataFrame:
    """Table of all finished cells of a results folder, in a fixed order."""
    files = sorted((Path(out) / _CELLS).glob("*/*/*.parquet"))
    if not files:
        raise FileNotFoundError(f"there are no finished cells in {str(out)!r}")
    tables = [pq.read_table(path).replace_schema_metadata() for path in files]
    order = ["dataset", "forecaster", "n_train", "seed"]
    table = pa.concat_tables(tables).to_pandas()
    return table.sort_values(order, kind="stable", ignore_index=True)


def _splits(
    sources: Sequence[DataSource], sizes: Sequence[int], horizon: int | None
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Pool and test windows of every data set that is large enough."""
    found, last = {}, None
    for source in sources:
        try:
            train, test = source.split(0)
            if len(train) < min(sizes):
                raise ValueError(
                    f"sizes: {list(sizes)}, but {source.name} has a pool of only "
                    f"{len(train)} windows"
                )
            check_horizon(horizon, check_windows(test, "test"))
            found[source.name] = (train, test)
        except Exception as error:  # one data set of many: the others go on
            logger.warning("left out %s: %s", source.name, error)
            last = error
    if not found and last is not None:
        raise last
    return found


def _cell(folder: Path, dataset: str, name: str, size: int, seed: int) -> AugmentCell:
    inside = folder / _CELLS / quote(dataset, safe=" ") / name
    return AugmentCell(dataset, name, size, seed, inside / f"{size}-{seed}.parquet")


def _is_done(cell: AugmentCell, data: str, retry: bool) -> bool:
    found = read_cell(cell.path)
    if found is None or found[1] != data:
        return False
    return not (retry and found[0]["failure"].ne("").any())


def _compute(
    cells: Sequence[AugmentCell],
    train: np.ndarray,
    test: np.ndarray,
    settings: AugmentSettings,
) -> list[tuple[AugmentCell, str]]:
    """Compute and write the cells of one data set, size and seed; their failures."""
    study = draw_study(
        train,
        cells[0].size,
        cells[0].seed,
        settings.ratio,
        baseline=settings.baseline,
    )
    horizon, found = check_horizon(settings.horizon, test), []
    for cell in cells:
        forecaster = _forecaster(cell.forecaster, settings.num_epochs)
        options = (settings.arms, horizon, settings.season, cell.size)
        with one_thread():
            rows = score_arms(forecaster, study, test, *options)
        rows = rows.assign(dataset=cell.dataset, forecaster=cell.forecaster)
        _write(cell, rows, fingerprint(train, test))
        failures = [text for text in rows["failure"] if text]
        found.append((cell, failures[0] if failures else ""))
    return found


def _forecaster(name: str, num_epochs: int | None) -> Forecaster:
    forecaster = make_forecaster(name)
    if num_epochs is not None and hasattr(forecaster, "num_epochs"):
        forecaster.num_epochs = num_epochs
    return forecaster


def _write(cell: AugmentCell, rows: pd.DataFrame, data: str) -> None:
    """Write the rows of a cell, complete or not at all."""
    schema = _SCHEMA.with_metadata({_DATA: data.encode()})
    table = pa.Table.from_pandas(rows, schema=schema, preserve_index=False)
    cell.path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(cell.path, force=True) as temporary:
        pq.write_table(table.replace_schema_metadata(schema.metadata), temporary)


def _save(folder: Path) -> pd.DataFrame:
    """Assemble the tables and the words of a results folder."""
    table = collect_augmentation(folder)
    gains = augmentation_gains(table)
    with atomic_path(folder / TABLE, force=True) as temporary:
        table.to_parquet(temporary, index=False)
    with atomic_path(folder / GAINS, force=True) as temporary:
        gains.to_csv(temporary, index=False)
    with atomic_path(folder / SUMMARY, force=True) as temporary:
        temporary.write_text(describe_augmentation(gains) + "\n")
    return table
