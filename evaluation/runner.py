"""Benchmark: data set x generator x seed -> one long table.

Each cell is a file under ``cells/`` of the results folder, written when it is complete;
the table ``scores.parquet`` is assembled from these files and nothing else. So a run
that was killed goes on where it stopped, and ends with the same table.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from gluonts_dualkl.data.destinations import atomic_path, check_destination
from gluonts_dualkl.evaluation.backends import check_backend, running_backend
from gluonts_dualkl.evaluation.cell import (
    Cell,
    Settings,
    fingerprint,
    join_cells,
    keep_windows,
    read_cell,
    run_cell,
    write_failure,
)
from gluonts_dualkl.evaluation.sources import DataSource, find_sources

__all__ = ["PAGE", "SETTINGS", "TABLE", "collect", "run_benchmark", "write_page"]

logger = logging.getLogger(__name__)

SETTINGS = "settings.json"
TABLE = "scores.parquet"
PAGE = "index.html"
SAMPLES = "samples"
_CELLS = "cells"

Progress = Callable[[Cell, str, int, int], None]
Scorer = Callable[..., pd.DataFrame]


@dataclass(frozen=True)
class _Task:
    """A cell and the split that it is computed on."""

    cell: Cell
    train: np.ndarray
    held_out: np.ndarray


def run_benchmark(
    data: str | Path,
    out: str | Path,
    generators: Sequence[str] | None = None,
    seeds: int = 3,
    *,
    n_train: int | None = 200,
    fast: bool = False,
    tune: bool = False,
    fit_seconds: float | None = None,
    only: Sequence[str] | None = None,
    length: int | None = None,
    split: str = "own",
    jobs: int = 1,
    backend: str = "loky",
    scheduler: str | None = None,
    resume: bool = False,
    force: bool = False,
    retry: bool = False,
    progress: Progress | None = None,
    score: Scorer | None = None,
) -> pd.DataFrame:
    """Run every generator on every data set with every seed.

    Parameters
    ----------
    data, only, length, split
        See :func:`~gluonts_dualkl.evaluation.sources.find_sources`.
    out
        Results folder.
    generators
        Names in :data:`~gluonts_dualkl.evaluation.baselines.BASELINES`, all by default.
        Those that lack a package are skipped with a warning that names it.
    seeds
        Number of seeds, from 0. A seed fixes the split, the training and the draw.
    n_train
        Most training windows; None for all. Training sets are nested in it.
    fast
        Fewer repeats in the scores.
    tune
        Whether generators with a grid are tuned on a part of train, in each cell.
    fit_seconds
        Most processor seconds that a deep baseline trains in, so that all have the same
        budget; None for the number of steps that each has by default.
    jobs, backend, scheduler
        See :func:`~gluonts_dualkl.evaluation.backends.running_backend`.
    resume
        Go on in ``out``: cells whose file is there and whose data are the same are not
        computed again. More seeds, generators and data sets may be named than before.
    force
        Remove the results in ``out`` first.
    retry
        Whether cells that failed are computed again on resuming.
    progress
        Called after each cell with the cell, its failure or ``""``, the number of
        finished cells and the number of all.
    score
        Called in place of :func:`~gluonts_dualkl.evaluation.evaluate_generator`.

    Returns
    -------
    pandas.DataFrame
        Table of all cells in ``out``, see :func:`collect`.

    Raises
    ------
    ValueError, FileNotFoundError, FileExistsError
        For unknown names, a folder that is not ours or was made with other settings,
        and data of which no set can be read. What fails later is in the table.
    """
    from gluonts_dualkl.evaluation.baselines import BASELINES

    names = _installed(list(dict.fromkeys(generators or BASELINES)))
    if seeds < 1:
        raise ValueError(f"seeds: {seeds}, expected 1 or more")
    if n_train is not None and n_train < 10:
        raise ValueError(f"n_train: {n_train}, at least 10 windows are needed")
    if fit_seconds is not None and not fit_seconds > 0:
        raise ValueError(f"fit_seconds: {fit_seconds}, expected more than 0")
    check_backend(backend, jobs, scheduler)
    sources = find_sources(data, only, length, split)
    settings = Settings(n_train, length, fast, tune, fit_seconds, split)
    folder = open_folder(Path(out).expanduser(), settings, resume, force)
    tasks, failed, total = _plan(folder, sources, names, seeds, settings, retry)
    watch = _Watch(progress, total - len(tasks) - len(failed), total)
    for cell, error in failed:
        watch.finished(cell, write_failure(cell, error))
    with running_backend(backend, jobs, scheduler):
        _run(tasks, watch, score, streams=backend != "ray")
    return _save_table(folder)


def _installed(names: Sequence[str]) -> list[str]:
    """The generators that can run; the others are skipped with a word.

    ``ValueError`` for unknown ones, and where none is left.
    """
    from gluonts_dualkl.evaluation.baselines import baseline_class

    lacks = {name: baseline_class(name).lacks() for name in names}
    for name, missing in lacks.items():
        if missing:
            logger.warning("%s is skipped: %s", name, missing)
    kept = [name for name in names if not lacks[name]]
    if not kept:
        raise ValueError(f"generators: {'; '.join(lacks.values())}")
    return kept


def write_page(table: pd.DataFrame, out: str | Path) -> Path:
    """Write the report of a results folder to its ``index.html``."""
    from gluonts_dualkl.evaluation.reporting.report import write_report

    folder = Path(out).expanduser()
    title = "Benchmark of generators"
    if _settings_of(folder)["split"] == "random":
        title += ", windows split at random"
    with atomic_path(folder / PAGE, force=True) as temporary:
        write_report(table, temporary, samples=folder / SAMPLES, title=title)
    return folder / PAGE


def collect(out: str | Path) -> pd.DataFrame:
    """Table of all finished cells of a results folder.

    Returns
    -------
    pandas.DataFrame
        Columns of :data:`~gluonts_dualkl.evaluation.cell.COLUMNS`: ``dataset,
        generator, seed, metric, value, lower, upper, floor, ceiling, verdict``, then
        the cost of the cell: ``seconds_fit``, ``seconds_sample`` and
        ``peak_memory_mb``, the largest resident memory of its process while fitting and
        drawing; ``versions`` as JSON, and ``failure``. A cell that failed is one row
        without a metric. Sorted by data set, generator and seed.
    """
    files = sorted((Path(out) / _CELLS).glob("*/*/*.parquet"))
    if not files:
        raise FileNotFoundError(f"there are no finished cells in {str(out)!r}")
    return join_cells(files)


def _save_table(folder: Path) -> pd.DataFrame:
    """Assemble the table of a results folder and write it to ``scores.parquet``."""
    table = collect(folder)
    with atomic_path(folder / TABLE, force=True) as temporary:
        table.to_parquet(temporary, index=False)
    return table


def _settings_of(folder: Path) -> dict[str, Any]:
    """Settings that a results folder was made with; defaults for those it lacks."""
    return asdict(Settings()) | json.loads((folder / SETTINGS).read_text())


def open_folder(out: Path, settings: Settings, resume: bool, force: bool) -> Path:
    """Make the results folder, or check that the run fits what is in it."""
    if out.exists() and not (resume or force):
        raise FileExistsError(f"{str(out)!r} exists; resume it, or replace it by force")
    check_destination(out, True, SETTINGS)
    if force and out.exists():
        shutil.rmtree(out)
    wanted = asdict(settings)
    if (out / SETTINGS).is_file():
        found = _settings_of(out)
        if other := [k for k in wanted if found[k] != wanted[k]]:
            told = ", ".join(f"{k}={found[k]}, not {wanted[k]}" for k in other)
            raise ValueError(
                f"{str(out)!r} was made with {told}; resume it with the same, or "
                "choose another folder"
            )
        return out
    out.mkdir(parents=True, exist_ok=True)
    with atomic_path(out / SETTINGS, force=True) as temporary:
        temporary.write_text(json.dumps(wanted, indent=2) + "\n")
    return out


def _plan(
    folder: Path,
    sources: Sequence[DataSource],
    names: Sequence[str],
    seeds: int,
    settings: Settings,
    retry: bool,
) -> tuple[list[_Task], list[tuple[Cell, Exception]], int]:
    """Cells to do, cells whose data cannot be read, and the number of all cells."""
    tasks: list[_Task] = []
    failed: list[tuple[Cell, Exception]] = []
    for source, seed in product(sources, range(seeds)):
        cells = [_cell(folder, source.name, name, seed, settings) for name in names]
        try:
            train, held_out = source.split(seed, settings.n_train)
        except Exception as error:
            failed += [(cell, error) for cell in cells]
            continue
        data = fingerprint(train, held_out)
        left = [cell for cell in cells if not _is_done(cell, data, retry)]
        tasks += [_Task(cell, train, held_out) for cell in left]
        if seed == 0:
            keep_windows(
                folder / SAMPLES / _part(source.name) / "held_out.npy", held_out
            )
    total = len(sources) * seeds * len(names)
    if len(failed) == total:
        raise failed[0][1]
    return tasks, failed, total


def _part(name: str) -> str:
    """A name as part of a path."""
    return quote(name, safe=" ")


def _cell(
    folder: Path, dataset: str, generator: str, seed: int, settings: Settings
) -> Cell:
    inside = Path(_part(dataset), _part(generator))
    samples = folder / SAMPLES / inside / f"{seed}.npy" if seed == 0 else None
    path = folder / _CELLS / inside / f"{seed}.parquet"
    return Cell(dataset, generator, seed, path, settings, samples)


def _is_done(cell: Cell, data: str, retry: bool) -> bool:
    found = read_cell(cell.path)
    if found is None or found[1] != data:
        return False
    return not (retry and found[0]["failure"].ne("").any())


@dataclass
class _Watch:
    """Counts cells and tells the caller."""

    progress: Progress | None
    done: int
    total: int

    def finished(self, cell: Cell, failure: str) -> None:
        self.done += 1
        if self.progress is not None:
            self.progress(cell, failure, self.done, self.total)


def _run(
    tasks: Sequence[_Task], watch: _Watch, score: Scorer | None, streams: bool
) -> None:
    """Compute cells; where a worker dies, the rest one by one.

    Failures of a generator never come here: an exception means that a process is gone.
    The cell that takes its process with it again is recorded as failed.
    """
    left = dict(enumerate(tasks))
    try:
        for key, failure in _results(left, score, streams):
            watch.finished(left.pop(key).cell, failure)
        return
    except Exception as error:
        if not left:
            raise
        lost: Exception = error
    for key, task in list(left.items()):
        try:
            [(_, failure)] = list(_results({key: task}, score, streams))
        except Exception as error:
            lost = error
            failure = write_failure(task.cell, lost, task.train, task.held_out)
        watch.finished(task.cell, failure)


def _results(
    tasks: dict[int, _Task], score: Scorer | None, streams: bool
) -> Iterator[tuple[int, str]]:
    """Key and failure of each cell as it finishes."""
    from joblib import Parallel, delayed

    calls = [delayed(_compute)(key, task, score) for key, task in tasks.items()]
    options: dict[str, Any] = {"batch_size": 1, "pre_dispatch": "2*n_jobs"}
    if streams:
        options["return_as"] = "generator_unordered"
    yield from Parallel(**options)(calls)


def _compute(key: int, task: _Task, score: Scorer | None) -> tuple[int, str]:
    return key, run_cell(task.cell, task.train, task.held_out, score)
