"""What each part of the method is worth: variants of the generator side by side.

``python -m gluonts_dualkl.evaluation.checks.ablation --data FOLDER --out ablation.csv``
fits every variant of :data:`VARIANTS` to every data set and compares what it draws with
held-out series. A row a run is written at once; a killed run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from gluonts_dualkl.evaluation.checks.rows import grow_table, quiet_library
from gluonts_dualkl.evaluation.metrics.diversity import coverage
from gluonts_dualkl.evaluation.metrics.information import c2st_auc_trees
from gluonts_dualkl.evaluation.metrics.privacy import copy_rate, dcr_share
from gluonts_dualkl.evaluation.sources import find_sources
from gluonts_dualkl.threads import single_threaded

__all__ = ["VARIANTS", "main", "run_ablation", "summarise"]

DRAWS = 2


def _path(name: str, **settings: Any) -> dict[str, Any]:
    return {"path": name, "path_settings": settings}


# variant -> arguments of the estimator; the part that differs is in front of the colon
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "donors: at their own time": {"season": 10**9},
    "donors: draws independent": {"balance": 1},
    "donors: of all series": {"locality": 1.0},
    "donors: of a quarter of the series": {"locality": 0.25},
    "donors: stays of 3 steps": {"mean_block": 3.0},
    "donors: stays of 12 steps": {"mean_block": 12.0},
    "guard: distance alone": {"guard_share": 0.0},
    "path: single": _path("single"),
    "path: line": _path("line"),
    "path: tree": _path("tree"),
    "path: noise": _path("noise"),
    "sampler: reference draws, no walk": {"num_steps": 1},
    "sampler: half the walk": {"num_steps": 20},
    "sampler: long walk": {"num_steps": 120},
    "sampler: langevin (tree)": _path("tree", sampler="langevin"),
    "sampler: resampling (tree)": _path("tree", sampler="resampling"),
    "sampler: gradient walk (tree)": _path("tree", sampler="gradient"),
    "objective: donsker_varadhan (tree)": _path("tree", objective="donsker_varadhan"),
    "objective: nwj (tree)": _path("tree", objective="nwj"),
    "objective: infonce (tree)": _path("tree", objective="infonce"),
    "objective: walked negatives (single)": _path("single", walked_negatives=True),
    "orientation: marginals||data (tree)": _path("tree", orientation="marginals||data"),
    "local term (tree)": _path("tree", local_neighbours=10),
    "marginal map: ranks": {"marginals": "rank"},
    "marginal map: affine or log": {"marginals": "power"},
}


def run_ablation(
    data: str,
    out: Path,
    variants: Sequence[str],
    only: Sequence[str] | None = None,
    n_train: int = 200,
    seeds: int = 1,
) -> Iterator[pd.DataFrame]:
    """Run what the table at ``out`` lacks; yields the table after every run.

    Judged on the training side of each set only, so that what is decided here leaves
    the held-out side alone: a random half of it, at most ``n_train`` series, trains,
    and the rest judges. Means over :data:`DRAWS` draws.
    """
    sources = {source.name: source for source in find_sources(data, only)}
    keys = [
        {"dataset": name, "variant": variant, "seed": seed}
        for name in sources
        for seed in range(seeds)
        for variant in variants
    ]

    def compute(dataset: str, variant: str, seed: int) -> dict[str, float]:
        x, _ = sources[dataset].split(seed)
        x = x[np.random.default_rng(seed).permutation(len(x))]
        kept = min(n_train, len(x) // 2)
        return _judged(x[:kept], x[kept : 3 * kept], VARIANTS[variant], seed)

    yield from grow_table(out, keys, compute)


def _judged(
    train: np.ndarray, held_out: np.ndarray, arguments: dict[str, Any], seed: int
) -> dict[str, float]:
    from gluonts_dualkl import DualKLEstimator

    varies = np.ptp(train, axis=(0, 1)) > 0
    train, held_out = train[:, :, varies], held_out[:, :, varies]
    began = time.perf_counter()
    estimator = DualKLEstimator(**arguments, seed=seed, device="cpu")
    model = estimator.fit_model(train.astype(np.float32))
    fitted = time.perf_counter() - began
    found = []
    for k in range(DRAWS):
        source = torch.Generator().manual_seed(k)
        with single_threaded():
            z = model.draw(len(held_out), estimator.num_steps, source).z
        drawn = model.marginals.from_normal(z).numpy().astype(float)
        found.append(
            {
                "c2st_auc": c2st_auc_trees(held_out, drawn, train, seed),
                "dcr_share": dcr_share(held_out, drawn, train),
                "copy_rate": copy_rate(held_out, drawn, train),
                "coverage": coverage(held_out, drawn, train, seed),
            }
        )
    means = {name: float(np.mean([row[name] for row in found])) for name in found[0]}
    return {**means, "seconds_fit": round(fitted, 1)}


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """C2ST AUC by variant and data set, and means over data sets of everything."""
    aucs = table.pivot_table("c2st_auc", "variant", "dataset", sort=False)
    rest = ["c2st_auc", "dcr_share", "copy_rate", "coverage", "seconds_fit"]
    means = table.groupby("variant", sort=False)[rest].mean()
    return aucs.join(means.add_prefix("mean_"))


def main(argv: Sequence[str] | None = None) -> pd.DataFrame:
    """Run the command line; returns the table."""
    parser = argparse.ArgumentParser(prog="ablation", description=__doc__)
    parser.add_argument("--data", required=True, help="as gluonts-dualkl benchmark")
    parser.add_argument("--only", help="names of data sets, with commas")
    parser.add_argument("--out", type=Path, required=True, help="CSV file, resumed")
    parser.add_argument("--variants", help="semicolons between; all by default")
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args(argv)
    variants = given.variants.split(";") if given.variants else list(VARIANTS)
    if unknown := [name for name in variants if name not in VARIANTS]:
        raise SystemExit(
            f"--variants: no {unknown[0]!r}, choose from {'; '.join(VARIANTS)}"
        )
    only = given.only.split(",") if given.only else None
    with quiet_library():
        for table in run_ablation(
            given.data, given.out, variants, only, seeds=given.seeds
        ):
            print(table.iloc[-1].to_dict(), flush=True)
    table = pd.read_csv(given.out)
    print(summarise(table).round(2).to_string())
    return table


if __name__ == "__main__":
    main()
