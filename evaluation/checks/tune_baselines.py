"""Tune every baseline by its small fixed grid on several data sets.

``python -m gluonts_dualkl.evaluation.checks.tune_baselines --data FOLDER --only a,b,c
--out tuning.csv`` scores each candidate of each grid on a validation part of the
training side, as :func:`~gluonts_dualkl.evaluation.baselines.tuning.tune` does, and
prints the arguments that win over all sets. A row a candidate; a killed run goes on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from gluonts_dualkl.evaluation.baselines import BASELINES
from gluonts_dualkl.evaluation.baselines.tuning import MOST_COPIES, divided, trial
from gluonts_dualkl.evaluation.checks.rows import grow_table
from gluonts_dualkl.evaluation.sources import find_sources

__all__ = ["main", "run_tuning", "winners"]

N_TRAIN = 200
SMALLEST = 1e-4
TIE = 0.01


def run_tuning(
    data: str,
    only: Sequence[str] | None,
    out: Path,
    names: Sequence[str],
    effort: float = 1.0,
) -> Iterator[pd.DataFrame]:
    """Score what the table at ``out`` lacks; yields the table after every candidate.

    ``effort`` is the share of their training steps that deep baselines get.
    """
    sources = {source.name: source for source in find_sources(data, only)}
    keys = [
        {"dataset": dataset, "generator": name, "arguments": json.dumps(arguments)}
        for dataset in sources
        for name in names
        for arguments in map(dict, BASELINES[name].grid)
    ]

    def compute(dataset: str, generator: str, arguments: str) -> dict[str, float]:
        train, _ = sources[dataset].split(0, N_TRAIN)
        kept, held = divided(train, seed=0)
        given = json.loads(arguments)
        steps = BASELINES[generator](**given).arguments.get("max_steps")
        if steps:
            given["max_steps"] = max(1, round(effort * steps))
        return trial(generator, given, kept, held, seed=0)

    yield from grow_table(out, keys, compute)


def winners(table: pd.DataFrame) -> pd.DataFrame:
    """Arguments of each generator with the lowest mean tree AUC over the sets.

    Sets on which a candidate copies more than the limit count as AUC 1. Among the
    candidates within 0.01 of the lowest, where trees are nearly always sure, the
    geometric mean of MMD^2 decides. Only candidates with all sets take part.
    """
    copies = table["dcr_share"] > MOST_COPIES
    shown = table.assign(
        judged=table["c2st_auc_trees"].clip(lower=0.5).mask(copies, 1),
        mmd2=np.log(table["mmd2"].clip(lower=SMALLEST)),
    )
    means = shown.groupby(["generator", "arguments"], sort=False).agg(
        judged=("judged", "mean"),
        c2st_auc_trees=("c2st_auc_trees", "mean"),
        mmd2=("mmd2", lambda logs: np.exp(logs.mean())),
        dcr_share=("dcr_share", "mean"),
        sets=("judged", "size"),
    )
    by_generator = means.groupby("generator", sort=False)
    means = means[means["sets"] == by_generator["sets"].transform("max")]
    lowest = means.groupby("generator", sort=False)["judged"].transform("min")
    level = means[means["judged"] <= lowest + TIE]
    best = level.groupby("generator", sort=False)["mmd2"].idxmin()
    return level.loc[list(best)].reset_index()


def main(argv: Sequence[str] | None = None) -> pd.DataFrame:
    """Run the command line; returns the table."""
    parser = argparse.ArgumentParser(prog="tune_baselines", description=__doc__)
    parser.add_argument("--data", required=True, help="as gluonts-dualkl benchmark")
    parser.add_argument("--only", help="names of data sets, with commas")
    parser.add_argument("--out", type=Path, required=True, help="CSV file, resumed")
    parser.add_argument("--generators", help="names, with commas; all with a grid")
    parser.add_argument("--effort", type=float, default=1.0, help="share of steps")
    given = parser.parse_args(argv)
    tunable = [name for name, kind in BASELINES.items() if kind.grid]
    names = given.generators.split(",") if given.generators else tunable
    if unknown := [name for name in names if name not in tunable]:
        raise SystemExit(
            f"--generators: {unknown[0]!r} has no grid, choose from "
            f"{', '.join(tunable)}"
        )
    names = [name for name in names if not BASELINES[name].lacks()]
    only = given.only.split(",") if given.only else None
    for table in run_tuning(given.data, only, given.out, names, given.effort):
        print(table.iloc[-1].to_dict(), flush=True)
    table = pd.read_csv(given.out)
    print(winners(table).round(3).to_string(index=False))
    return table


if __name__ == "__main__":
    main()
