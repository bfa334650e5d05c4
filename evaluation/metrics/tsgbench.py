r"""The four marginal and correlation differences of TSGBench, under their own names.

For comparison with published tables only: they are nearly blind to the faults that
matter with few series, and far from zero for two real samples.
Written from the definitions in Ang et al. (VLDB 2023) and Ni et al. (2020); unlike
there the reference is held out. Values are scaled to [0, 1] by the training set.
"""

from __future__ import annotations

import numpy as np

from gluonts_dualkl.evaluation.metrics._record import Metric

__all__ = ["METRICS", "acd", "kd", "mdd", "sd"]

_BINS = 50
_MAX_LAG = 64


def _unit(x: np.ndarray, train: np.ndarray) -> np.ndarray:
    low, high = np.nanmin(train, axis=(0, 1)), np.nanmax(train, axis=(0, 1))
    return (x - low) / np.where(high > low, high - low, 1.0)


def _density(x: np.ndarray, low: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Histogram densities ``(T, C, 50)`` of the series at each pixel."""
    index = np.floor((x - low) / width)
    # the right end belongs to the last bin
    index = np.where((index == _BINS) & (x <= low + _BINS * width), _BINS - 1, index)
    counts = [(index == k).mean(0) for k in range(_BINS)]
    return np.stack(counts, axis=-1) / width[..., None]


def mdd(real: np.ndarray, synthetic: np.ndarray, train: np.ndarray) -> float:
    """Marginal distribution difference: mean gap of histogram densities.

    Over pixels ``(t, c)`` and 50 bins between the extremes of the real values there;
    synthetic values outside are not counted. Values in units of the training range.
    """
    a, b = _unit(real, train), _unit(synthetic, train)
    low = a.min(0)
    width = np.maximum(a.max(0) - low, 1e-5) / _BINS
    return float(np.abs(_density(a, low, width) - _density(b, low, width)).mean())


def _autocorrelation(x: np.ndarray) -> np.ndarray:
    """Autocorrelations ``(L, C)`` about the pooled mean, lags 0 to min(64, T) - 1."""
    centred = x - x.mean((0, 1))
    variance = np.maximum((centred**2).mean((0, 1)), 1e-12)
    length = x.shape[1]
    lags = range(min(_MAX_LAG, length))
    return (
        np.stack(
            [(centred[:, k:] * centred[:, : length - k]).mean((0, 1)) for k in lags]
        )
        / variance
    )


def acd(real: np.ndarray, synthetic: np.ndarray) -> float:
    """Autocorrelation difference: Euclidean norm over lags, mean over channels.

    About the pooled mean, so that differences in level between series count as
    correlation over time.
    """
    gap = _autocorrelation(synthetic) - _autocorrelation(real)
    return float(np.sqrt((gap**2).sum(0)).mean())


def _standard_moment(x: np.ndarray, order: int) -> np.ndarray:
    """Standardised central moment of the values of each channel, NaN left out."""
    centred = x - np.nanmean(x, axis=(0, 1))
    deviation = np.sqrt(np.nanmean(centred**2, axis=(0, 1)))
    moment = np.nanmean(centred**order, axis=(0, 1))
    return np.where(
        deviation > 1e-12, moment / np.maximum(deviation, 1e-12) ** order, 0
    )


def sd(real: np.ndarray, synthetic: np.ndarray) -> float:
    """Skewness difference: mean over channels of the absolute gap, pooled values."""
    gap = _standard_moment(synthetic, 3) - _standard_moment(real, 3)
    return float(np.abs(gap).mean())


def kd(real: np.ndarray, synthetic: np.ndarray) -> float:
    """Kurtosis difference: mean over channels of the absolute gap, pooled values."""
    gap = _standard_moment(synthetic, 4) - _standard_moment(real, 4)
    return float(np.abs(gap).mean())


_SOURCE = "Ang et al. 2023 (TSGBench)"

METRICS = [
    Metric(
        "mdd", mdd, "lower", "density", ("train",),
        "50 bins at each pixel; far from zero for equal laws", _SOURCE,
        ceiling="collapsed", high="off", tolerance=0.05, default=False,
    ),
    Metric(
        "acd", acd, "lower", "correlation", (), "norm over at most 64 lags", _SOURCE,
        high="off", tolerance=0.2, default=False,
    ),
    Metric(
        "sd", sd, "lower", "1", (), "pooled moments", _SOURCE,
        ceiling="shrunk_gaussian", high="off", tolerance=0.2, default=False,
        missing=True,
    ),
    Metric(
        "kd", kd, "lower", "1", (), "pooled moments", _SOURCE,
        ceiling="shrunk_gaussian", high="off", tolerance=0.5, default=False,
        missing=True,
    ),
]  # fmt: skip
