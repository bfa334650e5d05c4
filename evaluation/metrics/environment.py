r"""Climatology of a set, synthetic against real: the pack ``"environment"``.

Seasonal or diurnal cycle (windows that start at one phase share it), extremes,
exceedance of thresholds, dry and wet spells, correlation and joint extremes across
sites. Thresholds come from the training set. After Wilks, *Statistical Methods in the
Atmospheric Sciences*, and Maraun et al. (2015). Where it is said, NaN are left out.
"""

from __future__ import annotations

import warnings

import numpy as np
from scipy.stats import rankdata, wasserstein_distance

from gluonts_dualkl.evaluation.features import ChannelScaler
from gluonts_dualkl.evaluation.metrics._record import Metric

__all__ = [
    "METRICS",
    "cycle_difference",
    "dry_spell_ratio",
    "exceedance_difference",
    "extremes_distance",
    "joint_exceedance_difference",
    "site_correlation_difference",
    "wet_spell_ratio",
]

_LEVELS = (0.01, 0.05, 0.95, 0.99)


def _profile(x: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Mean over series at each step, in deviations, about its own mean ``(T, C)``."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        mean = np.nanmean(ChannelScaler(train)(x), axis=0)
    return np.nan_to_num(mean - np.nanmean(mean, axis=0))


def cycle_difference(
    real: np.ndarray, synthetic: np.ndarray, train: np.ndarray
) -> float:
    """Root mean squared gap of mean cycles over the window, channel deviations.

    The cycle is the mean over series at each time step, less its mean over the window;
    it says something where windows start at one phase of the day or year. NaN are left
    out.
    """
    gap = _profile(synthetic, train) - _profile(real, train)
    return float(np.sqrt((gap**2).mean()))


def _finite(x: np.ndarray, c: int) -> np.ndarray:
    return x[..., c][np.isfinite(x[..., c])]


def exceedance_difference(
    real: np.ndarray, synthetic: np.ndarray, train: np.ndarray
) -> float:
    r"""Mean absolute log ratio of rates beyond thresholds, nats.

    Thresholds are the 1, 5, 95 and 99 % quantiles of the training values of a channel,
    exceeded strictly; a rate is ``(count + 1) / (number + 2)``. NaN are left out.
    """
    gaps = []
    for c in range(real.shape[2]):
        a, b = _finite(real, c), _finite(synthetic, c)
        for level, cut in zip(
            _LEVELS, np.quantile(_finite(train, c), _LEVELS), strict=True
        ):
            side = 1.0 if level > 0.5 else -1.0
            rates = [(np.sum(side * (x - cut) > 0) + 1) / (len(x) + 2) for x in (a, b)]
            gaps.append(abs(np.log(rates[1] / rates[0])))
    return float(np.mean(gaps))


def extremes_distance(
    real: np.ndarray, synthetic: np.ndarray, train: np.ndarray
) -> float:
    """Mean 1-Wasserstein distance of maxima and of minima of series, deviations."""
    a, b = (ChannelScaler(train)(x) for x in (real, synthetic))
    gaps = [
        wasserstein_distance(pick(a, axis=1)[:, c], pick(b, axis=1)[:, c])
        for pick in (np.max, np.min)
        for c in range(a.shape[2])
    ]
    return float(np.mean(gaps))


def _thresholds(train: np.ndarray) -> np.ndarray:
    """Lowest value of channels that take it at least one time in ten, else median."""
    rows = train.reshape(-1, train.shape[2])
    lowest = rows.min(0)
    return np.where((rows == lowest).mean(0) >= 0.1, lowest, np.median(rows, axis=0))


def _mean_runs(state: np.ndarray) -> np.ndarray:
    """Mean length of the runs of true values over time, ``(C,)``; 1 if there is none.

    Runs are cut at the ends of a series.
    """
    begins = state.copy()
    begins[:, 1:] &= ~state[:, :-1]
    return np.maximum(state.sum((0, 1)), 1) / np.maximum(begins.sum((0, 1)), 1)


def _spell_ratio(
    real: np.ndarray, synthetic: np.ndarray, train: np.ndarray, dry: bool
) -> float:
    cut = _thresholds(train)
    ours, theirs = (_mean_runs((x <= cut) == dry) for x in (synthetic, real))
    return float(np.exp(np.log(ours / theirs).mean()))


def dry_spell_ratio(
    real: np.ndarray, synthetic: np.ndarray, train: np.ndarray
) -> float:
    """Mean length of dry spells, synthetic over real; geometric mean of channels.

    Dry is at or below the lowest training value where at least a tenth of the values
    lie there (rain), else at or below the median. Spells are cut at the ends.
    """
    return _spell_ratio(real, synthetic, train, dry=True)


def wet_spell_ratio(
    real: np.ndarray, synthetic: np.ndarray, train: np.ndarray
) -> float:
    """Mean length of wet spells, synthetic over real; see :func:`dry_spell_ratio`."""
    return _spell_ratio(real, synthetic, train, dry=False)


def _site_correlation(x: np.ndarray) -> np.ndarray:
    """Spearman correlation of channels, pooled over series and time ``(C, C)``."""
    ranks = rankdata(x.reshape(-1, x.shape[2]), axis=0)
    ranks -= ranks.mean(0)
    deviation = ranks.std(0)
    unit = ranks / np.where(deviation > 0, deviation, 1.0)
    return unit.T @ unit / len(unit)


def site_correlation_difference(real: np.ndarray, synthetic: np.ndarray) -> float:
    """Mean absolute gap of rank correlations between channels, pooled values.

    Between levels, over all series and steps, so that regional wet and dry years count.
    """
    if real.shape[2] < 2:
        return 0.0
    gap = _site_correlation(synthetic) - _site_correlation(real)
    return float(np.abs(gap[np.triu_indices(len(gap), 1)]).mean())


def joint_exceedance_difference(
    real: np.ndarray, synthetic: np.ndarray, train: np.ndarray
) -> float:
    r"""Mean absolute gap of ``P(x_j > q_j | x_i > q_i)`` over pairs of channels.

    ``q`` are the 90 % quantiles of each set by itself, so that only the dependence of
    extremes counts; half the sum of both conditional rates.
    """
    if real.shape[2] < 2:
        return 0.0
    tables = []
    for x in (real, synthetic):
        rows = x.reshape(-1, x.shape[2])
        beyond = (rows > np.quantile(rows, 0.9, axis=0)).astype(float)
        rate = np.maximum(beyond.sum(0), 1.0)
        joint = beyond.T @ beyond
        tables.append((joint / rate + joint / rate[:, None]) / 2)
    gap = (tables[1] - tables[0])[np.triu_indices(real.shape[2], 1)]
    return float(np.abs(gap).mean())


METRICS = [
    Metric(
        "cycle_difference", cycle_difference, "lower", "deviations", ("train",),
        "mean over series at each step", "Wilks 2011",
        ceiling="time_shuffled", high="off", tolerance=0.05, group="environment",
        default=False, missing=True,
    ),
    Metric(
        "exceedance_difference", exceedance_difference, "lower", "nats", ("train",),
        "add-one rates beyond 1, 5, 95, 99 % quantiles of train", "Wilks 2011",
        ceiling="over_smoothed", high="off", tolerance=0.1, group="environment",
        default=False, missing=True,
    ),
    Metric(
        "extremes_distance", extremes_distance, "lower", "deviations", ("train",),
        "maxima and minima of series", "Maraun et al. 2015",
        high="off", tolerance=0.1, group="environment", default=False,
    ),
    Metric(
        "dry_spell_ratio", dry_spell_ratio, "nominal", "ratio", ("train",),
        "mean run length, cut at the ends", "Maraun et al. 2015",
        low="spells too short", high="spells too long", tolerance=0.1,
        group="environment", default=False,
    ),
    Metric(
        "wet_spell_ratio", wet_spell_ratio, "nominal", "ratio", ("train",),
        "mean run length, cut at the ends", "Maraun et al. 2015",
        low="spells too short", high="spells too long", tolerance=0.1,
        group="environment", default=False,
    ),
    Metric(
        "site_correlation_difference", site_correlation_difference, "lower",
        "correlation", (), "ranks, pooled", "Maraun et al. 2015",
        high="off", tolerance=0.03, min_channels=2, group="environment", default=False,
    ),
    Metric(
        "joint_exceedance_difference", joint_exceedance_difference, "lower", "share",
        ("train",), "beyond each set's own 90 % quantiles", "Coles et al. 1999",
        high="off", tolerance=0.05, min_channels=2, group="environment", default=False,
    ),
]  # fmt: skip
