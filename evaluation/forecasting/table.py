"""Gains of several augmentation studies in one table, and how they add up.

``python -m gluonts_dualkl.evaluation.forecasting.table RESULTS... --out table.csv``
reads folders that ``gluonts-dualkl augment-benchmark`` wrote, finished or not, writes a
row a data set, forecaster, size, metric, arm and ratio, and prints what the arms
recover of the gain of fresh real windows, and where they harm.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from gluonts_dualkl.data.destinations import atomic_path
from gluonts_dualkl.evaluation.forecasting.arms import REAL
from gluonts_dualkl.evaluation.forecasting.benchmark import collect_augmentation
from gluonts_dualkl.evaluation.forecasting.summary import augmentation_gains

__all__ = ["augmentation_table", "main", "summarise"]

HALF = 0.5
ARM = ["forecaster", "metric", "arm", "ratio"]
_DROPPED = ["log_ratio", "standard_error"]


def augmentation_table(folders: Sequence[Path]) -> pd.DataFrame:
    """Rows of :func:`augmentation_gains` of all folders; ends as relative changes.

    Cells that folders share are taken once, so that an arm that was run later stands
    beside the others of its seeds.
    """
    tables = [collect_augmentation(folder) for folder in folders]
    keys = ["dataset", "forecaster", "n_train", "arm", "ratio", "seed", "series"]
    rows = pd.concat(tables, ignore_index=True).drop_duplicates([*keys, "metric"])
    gains = augmentation_gains(rows)
    gains[["lower", "upper"]] = np.expm1(gains[["lower", "upper"]])
    return gains.drop(columns=_DROPPED)


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """A row a forecaster, metric, arm and ratio, over data sets and sizes.

    ``change`` is the mean, ``worst`` the largest over cells of their mean over seeds
    (the harm, if above 0); ``open`` counts the cells where fresh real windows help,
    ``half`` those of them where the arm recovers half of that gain or more.
    """
    shown = table[table["arm"] != REAL]
    half = shown["gate"] & (shown["recovered"] >= HALF)
    groups = shown.assign(half=half).groupby(ARM, sort=False, dropna=False)
    return groups.agg(
        cells=("change", "size"),
        change=("change", "mean"),
        worst=("change", "max"),
        worst_seed=("worst_seed", "max"),
        open=("gate", "sum"),
        half=("half", "sum"),
    ).reset_index()


def main(argv: Sequence[str] | None = None) -> pd.DataFrame:
    """Run the command line; returns the table."""
    parser = argparse.ArgumentParser(prog="table", description=__doc__)
    parser.add_argument("results", type=Path, nargs="+", help="folders of studies")
    parser.add_argument("--out", type=Path, required=True, help="CSV file")
    given = parser.parse_args(argv)
    table = augmentation_table(given.results)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(given.out, force=True) as temporary:
        table.to_csv(temporary, index=False, float_format="%.4g")
    print(summarise(table).round(3).to_string(index=False))
    return table


if __name__ == "__main__":
    main()
