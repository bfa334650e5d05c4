"""Paired gains of the arms of an augmentation study, the gate, and what they mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from gluonts_dualkl.evaluation.forecasting.arms import FRESH, REAL

__all__ = ["augmentation_gains", "describe_augmentation", "paired_log_ratio"]

_FLOOR = 1e-3
_ROUNDING = 1e-9
_KEYS = ["forecaster", "n_train", "metric"]


def paired_log_ratio(
    arm: np.ndarray, real: np.ndarray, confidence: float = 0.95
) -> tuple[float, float, float, float]:
    r"""Mean log-ratio of two matrices of errors, its standard error and interval.

    For errors ``(S, n)`` of ``S`` seeds on ``n`` test windows, the mean of
    :math:`d_{sk} = \log(e^{arm}_{sk} / e^{real}_{sk})`. Neither seeds nor windows are
    replicates of each other, so the variance is that of both-way clusters
    (Cameron, Gelbach & Miller 2011), :math:`s_S^2/S + s_n^2/n - s_{res}^2/(Sn)`, and at
    least the larger of the first two; the interval is Student's with the smaller number
    of clusters less one. One seed leaves the windows alone. Errors below a thousandth
    of the mean error of ``real`` count as that.

    Returns
    -------
    tuple
        Mean, standard error, lower and upper end, log units; negative is better.
    """
    floor = max(_FLOOR * float(np.nanmean(real)), 1e-300)
    ratio = np.log(np.maximum(arm, floor) / np.maximum(real, floor))
    ratio = ratio[:, np.isfinite(ratio).all(0)]
    seeds, windows = ratio.shape
    if not windows:
        return (np.nan,) * 4
    mean = float(ratio.mean())
    by_seed, by_window = ratio.mean(1), ratio.mean(0)
    parts = []
    if seeds > 1:
        parts.append(by_seed.var(ddof=1) / seeds)
    if windows > 1:
        parts.append(by_window.var(ddof=1) / windows)
    if not parts:
        return mean, np.nan, np.nan, np.nan
    variance = sum(parts)
    if len(parts) == 2:
        rest = ratio - by_seed[:, None] - by_window + mean
        noise = (rest**2).sum() / ((seeds - 1) * (windows - 1))
        variance = max(variance - noise / ratio.size, *parts)
    error = float(np.sqrt(variance))
    clusters = min(k for k in (seeds, windows) if k > 1)
    half = float(student.ppf((1 + confidence) / 2, clusters - 1)) * error
    return mean, error, mean - half, mean + half


def augmentation_gains(table: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """One row a forecaster, size, metric, arm and ratio: its error against ``real``.

    Parameters
    ----------
    table
        Of :func:`~gluonts_dualkl.evaluation.forecasting.study.evaluate_augmentation`;
        with a column ``dataset``, each data set is taken by itself.
    confidence
        Nominal coverage of the intervals.

    Returns
    -------
    pandas.DataFrame
        The keys, ``arm``, ``ratio``, ``num_seeds``, ``mean_added`` (windows added a
        training window, the mean over seeds), ``error`` and ``error_real`` (means),
        ``log_ratio``, ``standard_error, lower, upper`` (see :func:`paired_log_ratio`),
        ``change`` (``exp(log_ratio) - 1``), ``worst_seed`` (the change of the seed that
        is harmed most, 0 if none is), ``gate`` (whether fresh real windows help
        beyond their interval), ``recovered`` (the gain over that of fresh windows on
        the same seeds, where the gate is open) and ``verdict``: ``helps``, ``harms``,
        ``no difference`` or, where the gate is shut or was not run, ``not judged``;
        harm is always said.
    """
    keys = (["dataset"] if "dataset" in table else []) + _KEYS
    rows = table[table["failure"] == ""]
    found = []
    for key, cell in rows.groupby(keys, sort=False):
        found += _gains(dict(zip(keys, key, strict=True)), cell, confidence)
    return pd.DataFrame(found)


def _worst(arm: np.ndarray, real: np.ndarray) -> float:
    """Largest relative change of a seed, the mean over windows; 0 if all gain."""
    means = [paired_log_ratio(a[None], r[None])[0] for a, r in zip(arm, real)]
    return float(np.expm1(np.nanmax([0.0, *means])))


def _gains(
    known: dict[str, Any], cell: pd.DataFrame, confidence: float
) -> list[dict[str, Any]]:
    errors, added = {}, {}
    num_real = cell["num_real"].max()
    for key, part in cell.groupby(["arm", "ratio"], sort=False, dropna=False):
        errors[key] = part.pivot(index="seed", columns="series", values="value")
        added[key] = part.groupby("seed")["num_added"].first().mean() / num_real
    if (REAL, 0.0) not in errors:
        return []
    base, rows = errors[REAL, 0.0], []
    for key, matrix in errors.items():
        seeds = matrix.index.intersection(base.index)
        ours, real = matrix.loc[seeds].to_numpy(), base.loc[seeds].to_numpy()
        names = ("log_ratio", "standard_error", "lower", "upper")
        row = {
            **known,
            "arm": key[0],
            "ratio": key[1],
            "num_seeds": len(seeds),
            "mean_added": float(added[key]),
            "error": float(np.nanmean(ours)),
            "error_real": float(np.nanmean(real)),
            **dict(zip(names, paired_log_ratio(ours, real, confidence))),
        }
        row |= {"change": np.expm1(row["log_ratio"]), "worst_seed": _worst(ours, real)}
        rows.append(row)
    fresh = next((row for row in rows if row["arm"] == FRESH), None)
    gate = fresh is not None and bool(fresh["upper"] < -_ROUNDING)
    for row, matrix in zip(rows, errors.values(), strict=True):
        gain = np.nan
        if gate:
            seeds = matrix.index.intersection(base.index)
            further = errors[FRESH, 1.0].reindex(seeds).dropna(how="all")
            own = base.loc[further.index]
            gain = (
                row["log_ratio"]
                / paired_log_ratio(further.to_numpy(), own.to_numpy())[0]
            )
        row |= {"gate": gate, "recovered": gain, "verdict": _verdict(row, gate)}
    return rows


def _verdict(row: dict[str, Any], gate: bool) -> str:
    if row["arm"] == REAL:
        return ""
    if row["lower"] > _ROUNDING:
        return "harms"
    if not gate:
        return "not judged"
    return "helps" if row["upper"] < -_ROUNDING else "no difference"


def describe_augmentation(gains: pd.DataFrame) -> str:
    """Say what :func:`augmentation_gains` found, a paragraph a forecaster and size."""
    if gains.empty:
        return "No arm could be compared with real data alone; see the column failure."
    keys = [key for key in ("dataset", *_KEYS) if key in gains]
    parts = []
    for key, cell in gains.groupby(keys, sort=False):
        known = dict(zip(keys, key, strict=True))
        where = f"{known['dataset']}, " if "dataset" in known else ""
        head = (
            f"{where}{known['forecaster']}, {known['n_train']} windows, "
            f"{known['metric']}, {cell['num_seeds'].max()} seeds: {_gate_words(cell)}"
        )
        shown = cell[~cell["arm"].isin([REAL, FRESH])]
        parts.append("\n".join([head, *(f"  {_words(row)}" for row in _rows(shown))]))
    return "\n".join(parts)


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    found = table.sort_values("log_ratio").to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in found]


def _gate_words(cell: pd.DataFrame) -> str:
    fresh = cell[cell["arm"] == FRESH]
    if fresh.empty:
        return (
            "fresh real windows were not tried, so what augmentation could gain is "
            "unknown and only harm is judged."
        )
    row = fresh.iloc[0]
    if row["gate"]:
        return f"fresh real windows change the error by {_range(row)}."
    return (
        f"even fresh real windows do not help ({_range(row)}), so augmentation cannot "
        "be judged here."
    )


def _words(row: dict[str, Any]) -> str:
    ratio = "" if np.isnan(row["ratio"]) else f" x {row['ratio']:g}"
    text = f"{row['arm']}{ratio}: {_range(row)}, {row['verdict']}"
    if np.isfinite(row["recovered"]) and row["verdict"] == "helps":
        text += f", {row['recovered']:.0%} of the gain of fresh real windows"
    return text + "."


def _range(row: Any) -> str:
    low, high = np.expm1(row["lower"]), np.expm1(row["upper"])
    return f"{row['change']:+.1%} ({low:+.1%} to {high:+.1%})"
