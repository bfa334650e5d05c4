"""How generators fare with fewer and with more training series.

``python -m gluonts_dualkl.evaluation.checks.curves --data storms_atlantic --out OUT``
runs the benchmark once for every number of training series, each with a folder of its
own that is resumed, and writes ``curves.csv``: a row a cell, as
:mod:`~gluonts_dualkl.evaluation.checks.benchmark_table` has them, and ``n_train``.
``--data garch`` stands for draws of a GARCH law, of which there is no lack.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from gluonts_dualkl.data.destinations import atomic_path
from gluonts_dualkl.evaluation.checks.benchmark_table import benchmark_table
from gluonts_dualkl.evaluation.runner import run_benchmark

__all__ = ["garch", "main", "run_curves", "write_garch"]

GARCH = "garch"
ITEMS = 2400
SIZES = (25, 50, 100, 200, 1000)
RIVALS = ("dualkl", "mixup", "stationary_blocks", "edm")


def garch(
    num_series: int, length: int = 24, channels: int = 3, seed: int = 0
) -> np.ndarray:
    """Returns of assets whose volatility clusters, ``(n, T, C)``.

    GARCH(1,1), Bollerslev (1986): ``r_t = s_t e_t`` with
    ``s_t^2 = .05 + .1 r_{t-1}^2 + .85 s_{t-1}^2`` in each channel and Gaussian ``e_t``
    that correlate by .5 between channels, after 200 steps to forget the start.
    """
    rng = np.random.default_rng(seed)
    factor = np.linalg.cholesky(0.5 * np.eye(channels) + 0.5)
    variance = np.ones((num_series, channels))
    returns = np.zeros((length, num_series, channels))
    for t in range(-200, length):
        r = np.sqrt(variance) * (rng.standard_normal((num_series, channels)) @ factor.T)
        variance = 0.05 + 0.1 * r**2 + 0.85 * variance
        if t >= 0:
            returns[t] = r
    return returns.transpose(1, 0, 2)


def write_garch(folder: Path, num_series: int = ITEMS) -> Path:
    """A folder with draws of :func:`garch` as one long table."""
    x = garch(num_series)
    item, day, _ = np.meshgrid(*map(np.arange, x.shape), indexing="ij")
    table = pd.DataFrame(x.reshape(-1, x.shape[2]), columns=["a", "b", "c"])
    days = pd.to_datetime("2020-01-01") + pd.to_timedelta(day[:, :, 0].ravel(), "D")
    table.insert(0, "timestamp", days)
    table.insert(0, "item_id", item[:, :, 0].ravel())
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / f"{GARCH}.parquet", force=True) as temporary:
        table.to_parquet(temporary, index=False)
    return folder


def run_curves(
    data: str,
    out: Path,
    sizes: Sequence[int] = SIZES,
    generators: Sequence[str] = RIVALS,
    only: Sequence[str] | None = None,
    seeds: int = 1,
    fit_seconds: float = 45,
) -> pd.DataFrame:
    """Benchmark with at most ``n`` training series for each ``n`` of ``sizes``.

    A size beyond what a data set offers gives the row of all it has.
    """
    if data == GARCH:
        data = str(write_garch(out / "data"))
    tables = []
    for size in sizes:
        scores = run_benchmark(
            data,
            out / f"n{size}",
            generators,
            seeds,
            n_train=size,
            fast=True,
            fit_seconds=fit_seconds,
            only=only,
            resume=True,
        )
        tables.append(benchmark_table(scores).assign(n_train=size))
        table = pd.concat(tables, ignore_index=True)
        with atomic_path(out / "curves.csv", force=True) as temporary:
            table.to_csv(temporary, index=False, float_format="%.4g")
    return table


def main(argv: Sequence[str] | None = None) -> pd.DataFrame:
    """Run the command line; returns the table."""
    parser = argparse.ArgumentParser(prog="curves", description=__doc__)
    parser.add_argument("--data", required=True, help=f"as benchmark, or {GARCH}")
    parser.add_argument("--only", help="names of data sets, with commas")
    parser.add_argument("--out", type=Path, required=True, help="folder, resumed")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--generators", default=",".join(RIVALS))
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args(argv)
    table = run_curves(
        given.data,
        given.out,
        [int(size) for size in given.sizes.split(",")],
        given.generators.split(","),
        given.only.split(",") if given.only else None,
        given.seeds,
    )
    means = table.pivot_table(
        "c2st_auc_trees", ["dataset", "generator"], "n_train", sort=False
    )
    print(means.round(3).to_string())
    return table


if __name__ == "__main__":
    main()
