"""Check estimates of the divergence against laws whose total correlation is known.

``python -m gluonts_dualkl.evaluation.checks.truth --out FOLDER`` runs every estimator
on every task, number of series and seed, writes a row each to ``truth.csv`` at once, so
that a killed run goes on where it stopped, and draws ``truth.png``: error against the
number of series, which tests the paper's claim of reduced sample complexity.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from gluonts_dualkl.data.destinations import atomic_path
from gluonts_dualkl.evaluation.checks.nats import RIVALS
from gluonts_dualkl.evaluation.checks.rows import grow_table, quiet_library
from gluonts_dualkl.evaluation.checks.tasks import TASKS, Task, task

__all__ = ["ESTIMATORS", "draw_figure", "main", "run_checks", "summarise"]

TABLE, FIGURE = "truth.csv", "truth.png"
SIZES = (50, 100, 200, 1000)
PATHS = ("recombination", "single", "line", "tree", "noise")

Estimate = dict[str, float]


def _rival(estimate: Callable[..., float], x: np.ndarray, seed: int) -> Estimate:
    value = estimate(x, seed)
    return dict.fromkeys(("lower", "upper", "integrated"), math.nan) | {"value": value}


def _path(path: str, x: np.ndarray, seed: int) -> Estimate:
    """Cross-fitted estimate of the library along a path."""
    from gluonts.env import env

    from gluonts_dualkl import DualKLEstimator, dataset_from_array

    folds = 5 if path == "recombination" else 3
    estimator = DualKLEstimator(path=path, seed=seed, num_folds=folds, device="cpu")
    with env._let(use_tqdm=False):
        found = estimator.train(dataset_from_array(x, "h")).divergence()
    return {
        name: getattr(found, name) for name in ("value", "lower", "upper", "integrated")
    }


ESTIMATORS: dict[str, Callable[[np.ndarray, int], Estimate]] = {
    **{name: partial(_rival, estimate) for name, estimate in RIVALS.items()},
    **{f"{path} path": partial(_path, path) for path in PATHS},
}


def run_checks(
    out: Path,
    tasks: Sequence[Task],
    sizes: Sequence[int],
    seeds: int,
    estimators: Sequence[str],
) -> Iterator[pd.DataFrame]:
    """Run what ``truth.csv`` in ``out`` lacks; yields the table after every estimate.

    Series of a task are the same for every estimator with the same seed.
    """
    keys = [
        {"task": law.name, "series": size, "estimator": name, "seed": seed}
        for law, size, name, seed in product(tasks, sizes, estimators, range(seeds))
    ]
    laws = {law.name: law for law in tasks}

    def compute(task: str, series: int, estimator: str, seed: int) -> Estimate:
        x = laws[task].sample(series, 1000 + seed)
        return {"truth": laws[task].nats, **ESTIMATORS[estimator](x, seed)}

    yield from grow_table(out / TABLE, keys, compute)


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Mean, root mean squared error and coverage by task, size and estimator, nats.

    ``covered`` is the share of 90 % intervals with the truth inside, NaN without any.
    """
    error = table["value"] - table["truth"]
    inside = table["truth"].between(table["lower"], table["upper"]).astype(float)
    shown = table.assign(
        square=error**2,
        covered=inside.where(table["lower"].notna()),
    )
    groups = shown.groupby(["task", "series", "estimator"], sort=False)
    found = groups[["truth", "value", "square", "covered", "seconds"]].mean()
    found.insert(2, "rmse", np.sqrt(found.pop("square")))
    found["runs"] = groups.size()
    return found.reset_index()


def draw_figure(table: pd.DataFrame, path: Path) -> None:
    """Root mean squared error against the number of series, a panel a task."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    found = summarise(table)
    names = list(dict.fromkeys(found["task"]))
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.2 * rows + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    axes = grid.ravel()
    for axis, name in zip(axes, names):
        part = found[found["task"] == name]
        for k, estimator in enumerate(dict.fromkeys(found["estimator"])):
            line = part[part["estimator"] == estimator].sort_values("series")
            ours = estimator.endswith("path")
            axis.plot(
                line["series"],
                line["rmse"].clip(lower=0.02),
                marker="o" if ours else "s",
                markersize=4,
                linestyle="-" if ours else ":",
                linewidth=2.2 if estimator == "recombination path" else 1.3,
                color=f"C{k}",
                label=estimator,
            )
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
        axis.set_xticks(sorted(set(found["series"])), sorted(set(found["series"])))
        axis.minorticks_off()
        axis.set_title(f"{name}: {part['truth'].iloc[0]:.3g} nats", fontsize=10)
        axis.grid(alpha=0.3)
    for axis in axes[len(names) :]:
        axis.set_axis_off()
    for row in range(rows):
        axes[row * columns].set_ylabel("root mean squared error (nats)")
    for axis in axes[max(0, len(names) - columns) : len(names)]:
        axis.set_xlabel("number of series")
        axis.tick_params(labelbottom=True)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    with atomic_path(path, force=True) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="check_truth", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for results")
    parser.add_argument("--tasks", default=",".join(t.name for t in TASKS))
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--estimators", default=",".join(ESTIMATORS))
    parser.add_argument("--seeds", type=int, default=4)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    given = _arguments(argv)
    unknown = [name for name in given.estimators.split(",") if name not in ESTIMATORS]
    if unknown:
        raise SystemExit(
            f"--estimators: no {unknown[0]!r}, choose from {', '.join(ESTIMATORS)}"
        )
    tasks = [task(name) for name in given.tasks.split(",")]
    sizes = [int(size) for size in given.sizes.split(",")]
    names = given.estimators.split(",")
    table = None
    with quiet_library():
        for table in run_checks(given.out, tasks, sizes, given.seeds, names):
            last = table.iloc[-1]
            print(
                f"{last['task']:>14} N={last['series']:<5} {last['estimator']:<20} "
                f"{last['value']:8.2f} of {last['truth']:.2f} nats, "
                f"{last['seconds']:.0f} s",
                flush=True,
            )
    if table is None:
        table = pd.read_csv(given.out / TABLE)
    draw_figure(table, given.out / FIGURE)
    print(summarise(table).round(2).to_string(index=False))


if __name__ == "__main__":
    main()
