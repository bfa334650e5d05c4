"""One row a cell of a benchmark: fidelity, novelty, diversity and cost side by side.

``python -m gluonts_dualkl.evaluation.checks.benchmark_table RESULTS --out table.csv``
reads the folder that ``gluonts-dualkl benchmark`` wrote, finished or not, writes the
table and prints means over data sets.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from gluonts_dualkl.data.destinations import atomic_path
from gluonts_dualkl.evaluation.runner import collect

__all__ = ["METRICS", "benchmark_table", "main", "summarise"]

METRICS = (
    *("c2st_auc_trees", "c2st_auc_logistic", "mmd2", "kl_real_synthetic"),
    *("dcr_share", "copy_rate", "nearest_neighbour_ratio"),
    *("coverage", "vendi_ratio", "log_psd_distance", "roughness_ratio"),
)
COSTS = ["seconds_fit", "seconds_sample", "peak_memory_mb"]
CELL = ["dataset", "generator", "seed"]
MOST_COPIES, MOST_NEAR = 0.10, 0.85


def benchmark_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Cells as rows, metrics as columns, from the long table of scores.

    ``floor`` is the value of ``c2st_auc_trees`` with real series in the place of
    synthetic ones, ``excess`` what is above it. A cell that failed has no values and
    its ``failure``.
    """
    known = scores[scores["metric"].isin(METRICS)]
    values = known.pivot(index=CELL, columns="metric", values="value")
    values = values.reindex(columns=list(METRICS))
    trees = known[known["metric"] == "c2st_auc_trees"].set_index(CELL)
    values.insert(0, "floor", trees["floor"])
    values.insert(0, "excess", values["c2st_auc_trees"] - values["floor"])
    costs = scores.groupby(CELL)[[*COSTS, "failure"]].first()
    return costs[["failure"]].join(values).join(costs[COSTS]).reset_index()


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Means by generator over the cells that it finished, by rising AUC.

    ``novel`` counts the cells with a copy rate of at most 0.10 and a DCR share of at
    most 0.85; ``cells`` those that are finished.
    """
    done = table[table["failure"].fillna("") == ""]
    novel = (done["copy_rate"] <= MOST_COPIES) & (done["dcr_share"] <= MOST_NEAR)
    shown = ["c2st_auc_trees", "excess", "dcr_share", "copy_rate", "coverage", *COSTS]
    groups = done.assign(novel=novel).groupby("generator")
    means = (
        groups[shown]
        .mean()
        .join(groups["novel"].sum())
        .join(groups.size().rename("cells"))
    )
    return means.sort_values("c2st_auc_trees")


def main(argv: Sequence[str] | None = None) -> pd.DataFrame:
    """Run the command line; returns the table."""
    parser = argparse.ArgumentParser(prog="benchmark_table", description=__doc__)
    parser.add_argument("results", type=Path, help="folder of a benchmark")
    parser.add_argument("--out", type=Path, required=True, help="CSV file")
    given = parser.parse_args(argv)
    table = benchmark_table(collect(given.results))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(given.out, force=True) as temporary:
        table.to_csv(temporary, index=False, float_format="%.4g")
    print(summarise(table).round(2).to_string())
    return table


if __name__ == "__main__":
    main()
