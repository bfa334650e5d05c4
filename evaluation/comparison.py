r"""Comparisons of generators across data sets.

Friedman's test over all, Wilcoxon's signed-rank test for each pair with Holm's
correction, the matched-pairs rank-biserial correlation as effect size, and a picture of
mean ranks. With few data sets no difference can reach significance, however large: the
two-sided signed-rank test over D data sets has no p-value below ``2^{1 - D}``.

References: Demsar (JMLR 2006); Holm (1979); Kerby (2014); Benavoli, Corani & Mangili
(JMLR 2016) for the test behind the bars.
"""

from __future__ import annotations

import warnings
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import friedmanchisquare, rankdata, wilcoxon

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "FewDataSetsWarning",
    "compare_generators",
    "draw_critical_difference",
    "friedman_p",
    "needed_data_sets",
    "rank_biserial",
    "smallest_p",
]


class FewDataSetsWarning(UserWarning):
    """No pair can be significant with this many data sets."""


def smallest_p(num_methods: int, num_data_sets: int) -> float:
    r"""Smallest p-value that a pair can reach: Wilcoxon, two-sided, with Holm.

    ``min(1, k (k - 1) / 2 * 2^{1 - D})`` for k methods on D data sets: Holm's first
    step multiplies by the number of pairs.
    """
    if num_methods < 2 or num_data_sets < 1:
        raise ValueError(
            f"num_methods, num_data_sets: {num_methods} and {num_data_sets}, expected "
            "at least 2 and 1"
        )
    pairs = num_methods * (num_methods - 1) // 2
    return min(1.0, pairs * 2.0 ** (1 - num_data_sets))


def needed_data_sets(num_methods: int, level: float = 0.05) -> int:
    """Fewest data sets on which some pair of `num_methods` can be significant."""
    num = 1
    while smallest_p(num_methods, num) > level:
        num += 1
    return num


def rank_biserial(differences: np.ndarray) -> float:
    """Matched-pairs rank-biserial correlation in [-1, 1], zeros left out.

    Share of the ranks of ``|d|`` with ``d > 0`` less the share with ``d < 0``.
    """
    differences = differences[differences != 0]
    if not len(differences):
        return 0.0
    ranks = rankdata(np.abs(differences))
    return float((ranks * np.sign(differences)).sum() / ranks.sum())


def _checked(table: pd.DataFrame, level: float) -> pd.DataFrame:
    if table.shape[1] < 2:
        raise ValueError(f"table: {table.shape[1]} generators, expected at least 2")
    complete = table.replace([np.inf, -np.inf], np.nan).dropna()
    if not len(complete):
        raise ValueError("table: no data set has a finite value of every generator")
    least = needed_data_sets(table.shape[1], level)
    if len(complete) < least:
        warnings.warn(
            f"{len(complete)} data sets are too few for {table.shape[1]} generators: "
            f"no pair can reach p = {level:g} (smallest possible "
            f"{smallest_p(table.shape[1], len(complete)):.2g}); take {least} or more",
            FewDataSetsWarning,
            stacklevel=3,
        )
    return complete


def friedman_p(table: pd.DataFrame) -> float:
    """P-value of Friedman's test that all generators rank alike.

    Chi-squared approximation; NaN for fewer than 3 generators or 2 data sets.

    Parameters
    ----------
    table
        One row a data set, one column a generator.
    """
    complete = table.dropna()
    if complete.shape[1] < 3 or len(complete) < 2:
        return float("nan")
    return float(friedmanchisquare(*complete.to_numpy().T).pvalue)


def _wilcoxon_p(differences: np.ndarray) -> float:
    """Two-sided p-value, exact where there are no ties; 1 if all are zero."""
    differences = differences[differences != 0]
    if not len(differences):
        return 1.0
    sizes = np.abs(differences)
    exact = len(np.unique(sizes)) == len(sizes) and len(sizes) <= 50
    method = "exact" if exact else "approx"
    return float(wilcoxon(differences, method=method).pvalue)


def _holm(p: np.ndarray) -> np.ndarray:
    """P-values adjusted by Holm's step-down rule."""
    order = np.argsort(p)
    scaled = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(scaled, 1.0)
    return adjusted


def compare_generators(table: pd.DataFrame, level: float = 0.05) -> pd.DataFrame:
    """Compare every pair of generators over data sets; lower values are better.

    Parameters
    ----------
    table
        One row a data set and one column a generator, one value of a metric each,
        averaged over seeds, as ``DataFrame.pivot`` makes it of a long table. Data sets
        without a finite value of every generator are left out.
    level
        Level of the warning.

    Returns
    -------
    pandas.DataFrame
        One row a pair: ``first, second, wins`` (data sets on which the first is lower),
        ``losses``, ``median_difference`` (first less second), ``effect`` (rank-biserial
        correlation of the difference, -1 if the first is always lower), ``p``
        (Wilcoxon, two-sided) and ``p_holm``.

    Warns
    -----
    FewDataSetsWarning
        If no pair could be significant.

    Raises
    ------
    ValueError
        For fewer than two generators, or no complete data set.
    """
    complete = _checked(table, level)
    rows = []
    for first, second in combinations(complete.columns, 2):
        difference = (complete[first] - complete[second]).to_numpy(float)
        rows.append(
            {
                "first": first,
                "second": second,
                "wins": int((difference < 0).sum()),
                "losses": int((difference > 0).sum()),
                "median_difference": float(np.median(difference)),
                "effect": rank_biserial(difference),
                "p": _wilcoxon_p(difference),
            }
        )
    found = pd.DataFrame(rows)
    found["p_holm"] = _holm(found["p"].to_numpy())
    return found


def _cliques(ranks: pd.Series, pairs: pd.DataFrame, level: float) -> list[list[str]]:
    """Longest runs of generators, by mean rank, of which no two differ."""
    distinct = pairs[pairs["p_holm"] <= level]
    apart = set(map(frozenset, zip(distinct["first"], distinct["second"])))
    names = list(ranks.index)
    runs: list[list[str]] = []
    for start in range(len(names)):
        stop = start + 1
        while stop < len(names) and not any(
            frozenset((names[k], names[stop])) in apart for k in range(start, stop)
        ):
            stop += 1
        run = names[start:stop]
        if len(run) > 1 and not any(set(run) <= set(other) for other in runs):
            runs.append(run)
    return runs


def draw_critical_difference(
    ax: Axes, table: pd.DataFrame, level: float = 0.05
) -> pd.Series:
    """Draw mean ranks on an axis, and bars over generators that do not differ.

    Parameters
    ----------
    ax
        Matplotlib axes; its own axis and frame are taken off.
    table
        As in :func:`compare_generators`, with which pairs are told apart.
    level
        Level of the corrected test.

    Returns
    -------
    pandas.Series
        Mean rank of each generator, best (lowest) first.
    """
    complete = _checked(table, level)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FewDataSetsWarning)
        pairs = compare_generators(complete, level)
    ranks = complete.rank(axis=1).mean().sort_values(kind="stable")
    num = len(ranks)
    ax.plot([1, num], [0, 0], color="0.2", lw=1)
    for tick in range(1, num + 1):
        ax.plot([tick, tick], [0, 0.12], color="0.2", lw=1)
        ax.text(tick, 0.2, str(tick), ha="center", va="bottom", fontsize=8)
    left = (num + 1) // 2
    runs = _cliques(ranks, pairs, level)
    below = 0.3 * len(runs) + 0.4
    for k, (name, rank) in enumerate(ranks.items()):
        side = k < left
        depth = -below - 0.45 * (k if side else num - 1 - k)
        end = 0.7 if side else num + 0.3
        ax.plot([rank, rank, end], [0, depth, depth], color="0.4", lw=0.8)
        gap = -0.05 if side else 0.05
        ax.text(
            end + gap, depth, f"{name}  {rank:.2f}", fontsize=9, va="center",
            ha="right" if side else "left",
        )  # fmt: skip
    for k, run in enumerate(runs):
        ends = [ranks[run[0]] - 0.04, ranks[run[-1]] + 0.04]
        ax.plot(ends, [-0.25 - 0.3 * k] * 2, color="0.1", lw=4, solid_capstyle="round")
    width = 0.35 * num
    ax.set_xlim(0.7 - width, num + 0.3 + width)
    ax.set_ylim(-below - 0.45 * left, 0.8)
    ax.set_axis_off()
    return ranks
