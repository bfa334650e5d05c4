"""From the long table of a benchmark to what can be compared: cells, ranks, costs.

A cell is one generator on one data set, over its seeds. A generator counts on a data
set only if copying was tested and not found with any seed; those that count are ranked
by the excess of the stronger judge's AUC over real against real, all others share the
last ranks (:func:`~gluonts_dualkl.evaluation.protocol.fidelity_at_novelty`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from gluonts_dualkl.evaluation.metrics import ALL_METRICS
from gluonts_dualkl.evaluation.oracles import ORACLES
from gluonts_dualkl.evaluation.protocol import fidelity_at_novelty
from gluonts_dualkl.evaluation.reporting import words
from gluonts_dualkl.evaluation.verdict import findings

__all__ = [
    "COLUMNS",
    "JUDGES",
    "Cell",
    "candidates",
    "cells",
    "costs",
    "excesses",
    "failures",
    "is_oracle",
    "metric_names",
    "metric_ranks",
    "ranks",
    "unique",
]

JUDGES = ("c2st_auc_trees", "c2st_auc_logistic")
COST = ("seconds_fit", "seconds_sample", "peak_memory_mb")
SCORES = ("metric", "value", "lower", "upper", "floor", "ceiling", "verdict")
COLUMNS = ("dataset", "generator", "seed", *SCORES)


@dataclass
class Cell:
    """One generator on one data set.

    Attributes
    ----------
    dataset, generator
        Names.
    scores
        One row a metric, over seeds: mean, widest interval, mean floor and ceiling, the
        most frequent verdict (a fault where tied). Empty if every seed failed.
    num_seeds
        Seeds with scores.
    faults
        Faults found, with the number of seeds that show each.
    """

    dataset: str
    generator: str
    scores: pd.DataFrame
    num_seeds: int
    faults: dict[str, int]

    @cached_property
    def judged(self) -> dict[str, Any] | None:
        """Its fidelity at novelty, None where a score for it is missing."""
        try:
            return fidelity_at_novelty(self.scores)
        except ValueError:
            return None

    @property
    def counts(self) -> bool:
        """Whether it was judged and no seed copies the training set."""
        return self.judged is not None and "memorisation" not in self.faults

    def value(self, name: str, column: str = "value") -> float:
        """Number of a metric, NaN where it is missing."""
        return self._rows[name][column] if name in self._rows else np.nan

    def verdict(self, name: str) -> str:
        """Verdict of a metric, empty where it is missing."""
        return self._rows[name]["verdict"] if name in self._rows else ""

    @cached_property
    def _rows(self) -> dict[str, dict[str, Any]]:
        records = self.scores.to_dict("records")
        return {str(row["metric"]): dict(row) for row in records}  # type: ignore[arg-type]

    @property
    def auc(self) -> float:
        """AUC of the judge with the larger excess, NaN where not judged."""
        return self.value(self.judged["judge"]) if self.judged else np.nan

    @property
    def excess(self) -> float:
        """That AUC less the one of real against real, NaN where not judged."""
        return float(self.judged["excess"]) if self.judged else np.nan


def unique(table: pd.DataFrame, column: str) -> list[str]:
    """Names in a column, in order of appearance."""
    return [str(name) for name in table[column].dropna().unique()]


def metric_names(table: pd.DataFrame) -> list[str]:
    """Names of the metrics; rows of failed runs have none."""
    return [name for name in unique(table, "metric") if name]


def is_oracle(generator: str) -> bool:
    """Whether a generator is a yardstick with a known fault."""
    return generator in ORACLES


def candidates(table: pd.DataFrame) -> list[str]:
    """Generators that are no yardsticks."""
    return [name for name in unique(table, "generator") if not is_oracle(name)]


def failures(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of runs that failed, one a run."""
    if "failure" not in table:
        return table.iloc[:0]
    text = table["failure"].fillna("").astype(str).str.strip()
    failed = table.assign(failure=text)[text != ""]
    return failed.drop_duplicates(["dataset", "generator", "seed"])


def cells(table: pd.DataFrame) -> dict[tuple[str, str], Cell]:
    """Every generator on every data set, in order of appearance."""
    names = [
        (d, g) for d in unique(table, "dataset") for g in unique(table, "generator")
    ]
    return {(d, g): _cell(table, d, g) for d, g in names}


def _cell(table: pd.DataFrame, dataset: str, generator: str) -> Cell:
    here = (table["dataset"] == dataset) & (table["generator"] == generator)
    named = table["metric"].fillna("").astype(str) != ""
    rows = table[here & named & np.isfinite(_numbers(table, "value"))]
    faults: dict[str, int] = {}
    for _, scores in rows.groupby("seed", dropna=False):
        for fault in findings(scores.drop_duplicates("metric")):
            faults[fault] = faults.get(fault, 0) + 1
    order = {name: k for k, name in enumerate(words.ORDER)}
    names = sorted(rows["metric"].unique(), key=lambda name: order.get(name, 10**6))
    pooled = [_pool(name, rows[rows["metric"] == name]) for name in names]
    scores = pd.DataFrame(pooled, columns=list(SCORES))
    return Cell(dataset, generator, scores, rows["seed"].nunique(dropna=False), faults)


def _numbers(table: pd.DataFrame, column: str) -> np.ndarray:
    return pd.to_numeric(table[column], errors="coerce").to_numpy(float)


def _pool(name: str, rows: pd.DataFrame) -> list[object]:
    """One row for the seeds of a metric."""
    value, lower, upper, floor, ceiling = (_numbers(rows, c) for c in SCORES[1:6])
    if len(value) > 1:
        lower, upper = np.fmin(lower, value), np.fmax(upper, value)
    verdicts = rows["verdict"].fillna("").astype(str)
    counts = verdicts.value_counts()
    often = [word for word in counts.index if counts[word] == counts.max()]
    verdict = max(often, key=words.is_fault)
    ends = _known(lower, np.min), _known(upper, np.max)
    yardsticks = _known(floor, np.mean), _known(ceiling, np.mean)
    return [name, float(value.mean()), *ends, *yardsticks, verdict]


def _known(values: np.ndarray, reduce: Callable[[np.ndarray], float]) -> float:
    """Reduce what is finite; NaN if nothing is."""
    finite = values[np.isfinite(values)]
    return float(reduce(finite)) if len(finite) else np.nan


def ranks(grid: dict[tuple[str, str], Cell], generators: Sequence[str]) -> pd.DataFrame:
    """Rank by fidelity at novelty, a row a generator and a column a data set."""
    datasets = list(dict.fromkeys(dataset for dataset, _ in grid))
    found = {}
    for dataset in datasets:
        here = [grid[dataset, name] for name in generators]
        costs = [cell.excess if cell.counts else np.inf for cell in here]
        found[dataset] = rankdata(np.nan_to_num(costs, nan=np.inf), method="average")
    return pd.DataFrame(found, index=list(generators))


def excesses(
    grid: dict[tuple[str, str], Cell], generators: Sequence[str]
) -> pd.DataFrame:
    """Excess AUC, a row a data set, a column a generator; 1 for those not counted.

    No excess reaches 1, so that tests across data sets see these as the worst.
    """
    datasets = list(dict.fromkeys(dataset for dataset, _ in grid))
    rows = [
        [grid[d, g].excess if grid[d, g].counts else 1.0 for g in generators]
        for d in datasets
    ]
    return pd.DataFrame(rows, index=datasets, columns=list(generators))


def metric_ranks(
    grid: dict[tuple[str, str], Cell], generators: Sequence[str]
) -> pd.DataFrame:
    """Mean rank over data sets by headline metric, a row a generator.

    Every generator is ranked, copies too: one metric alone says little. Nominal metrics
    are ranked by their distance to the floor, on the metric's scale.
    """
    datasets = list(dict.fromkeys(dataset for dataset, _ in grid))
    found = {}
    for metric in ALL_METRICS:
        if not metric.headline or metric.is_p_value:
            continue
        each = []
        for dataset in datasets:
            worse = [_worse(grid[dataset, name], metric.name) for name in generators]
            if np.isfinite(worse).any():
                each.append(rankdata(worse, method="average"))
        if each:
            found[metric.name] = np.mean(each, axis=0)
    return pd.DataFrame(found, index=list(generators))


def _worse(cell: Cell, name: str) -> float:
    """Number that grows as a cell gets worse in a metric, infinite if missing."""
    metric = words.record(name)
    value = cell.value(name)
    if metric is None or not np.isfinite(value):
        return np.inf
    if metric.direction == "nominal":
        floor = metric.scale(cell.value(name, "floor"))
        return float(np.nan_to_num(abs(metric.scale(value) - floor), nan=np.inf))
    return value if metric.direction == "lower" else -value


def costs(table: pd.DataFrame) -> pd.DataFrame:
    """Median cost over runs, a row a generator; the columns that the table has."""
    columns = [name for name in COST if name in table]
    runs = table.drop_duplicates(["dataset", "generator", "seed"])
    runs = runs.assign(**{name: _numbers(runs, name) for name in columns})
    return runs.groupby("generator", sort=False)[columns].median()
