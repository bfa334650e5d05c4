r"""A fixed table of per-series features, the space in which the metrics compare sets.

Few series in many dimensions make raw-value distances blind to what matters in time
series (an over-smoothed set looks close). A few dozen features per series (moments,
extremes, end points, autocorrelations, band powers, roughness, correlations between
channels) are a better judge at small ``n``. The columns are fixed and shared by all
generators, and they are not those that the generator of this package trains on.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

__all__ = ["ChannelScaler", "FeatureScaler", "feature_names", "feature_table"]

_LEVEL_LAGS = (1, 3)
_DIFFERENCE_LAGS = (1,)
_VOLATILITY_LAGS = (1,)
_FLOOR = 1e-3


class ChannelScaler:
    r"""Standardise channels by the pooled mean and deviation of a reference set.

    ``(x[i, t, c] - m_c) / s_c``; a channel that is constant in the reference keeps its
    unit (``s_c = 1``). NaN in the reference are left out, NaN in ``x`` stay.

    Parameters
    ----------
    reference
        Series ``(n, T, C)``, the training set as a rule.
    """

    def __init__(self, reference: np.ndarray) -> None:
        gaps = np.isnan(reference).any()
        mean, std = (np.nanmean, np.nanstd) if gaps else (np.mean, np.std)
        self.mean = mean(reference, axis=(0, 1))
        deviation = std(reference, axis=(0, 1))
        tiny = 1e-12 * np.maximum(1.0, np.abs(self.mean))
        self.deviation = np.where(deviation > tiny, deviation, 1.0)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return ``x`` of shape ``(n, T, C)`` in deviations of the reference."""
        return (x - self.mean) / self.deviation


def _autocorrelations(x: np.ndarray, lags: tuple[int, ...]) -> list[np.ndarray]:
    centred = x - x.mean(1, keepdims=True)
    variance = (centred**2).mean(1) + _FLOOR**2
    length = x.shape[1]
    return [
        (centred[:, k:] * centred[:, :-k]).sum(1) / length / variance
        if k < length
        else np.zeros_like(variance)
        for k in lags
    ]


def _band_shares(x: np.ndarray) -> list[np.ndarray]:
    """Log share of the power in the middle and upper thirds of the log-frequencies."""
    power = np.abs(np.fft.rfft(x - x.mean(1, keepdims=True), axis=1)[:, 1:]) ** 2
    total = power.sum(1) + _FLOOR**2
    cuts = np.unique(np.round(power.shape[1] ** (np.arange(1, 3) / 3)).astype(int))
    cuts = np.resize(cuts, 2)
    middle = power[:, cuts[0] : max(cuts[1], cuts[0] + 1)].sum(1)
    upper = power[:, cuts[1] :].sum(1)
    return [np.log(band / total + _FLOOR) for band in (middle, upper)]


def _correlations(x: np.ndarray) -> np.ndarray:
    """Correlation of each pair of channels within each series, ``(n, C (C-1) / 2)``."""
    centred = x - x.mean(1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(1)) + _FLOOR
    matrix = np.einsum("nti,ntj->nij", centred, centred) / x.shape[1]
    matrix /= deviation[:, :, None] * deviation[:, None]
    upper = np.triu_indices(x.shape[2], 1)
    return matrix[:, upper[0], upper[1]]


def feature_table(x: np.ndarray) -> np.ndarray:
    r"""Features of each series.

    Per channel: mean, log deviation, skewness, minimum, maximum, first and last value,
    autocorrelation of levels (lags 1, 3), of differences and of absolute deviations
    (lag 1), log deviation of the differences, log share of power in two bands; per pair
    of channels: correlation of levels and of differences. All are finite for constant
    channels.

    Parameters
    ----------
    x
        Series ``(n, T, C)`` in channel deviations of a reference (logarithms are
        floored at 0.001 deviations), ``T >= 4``.

    Returns
    -------
    numpy.ndarray
        ``(n, K)`` with ``K = 14 C + C (C - 1)``; see :func:`feature_names`.
    """
    steps = np.diff(x, axis=1)
    deviation = x.std(1)
    centred = x - x.mean(1, keepdims=True)
    skewness = (centred**3).mean(1) / (deviation + _FLOOR) ** 3
    columns = [
        x.mean(1),
        np.log(deviation + _FLOOR),
        skewness,
        x.min(1),
        x.max(1),
        x[:, 0],
        x[:, -1],
        *_autocorrelations(x, _LEVEL_LAGS),
        *_autocorrelations(steps, _DIFFERENCE_LAGS),
        *_autocorrelations(np.abs(x - x.mean(1, keepdims=True)), _VOLATILITY_LAGS),
        np.log(steps.std(1) + _FLOOR),
        *_band_shares(x),
        _correlations(x),
        _correlations(steps),
    ]
    return np.concatenate(columns, axis=1)


def feature_names(num_channels: int) -> list[str]:
    """Names of the columns of :func:`feature_table` for ``num_channels`` channels."""
    families = [
        "mean",
        "log deviation",
        "skewness",
        "minimum",
        "maximum",
        "first",
        "last",
        *(f"autocorrelation {k}" for k in _LEVEL_LAGS),
        *(f"autocorrelation of differences {k}" for k in _DIFFERENCE_LAGS),
        *(f"autocorrelation of absolute deviations {k}" for k in _VOLATILITY_LAGS),
        "log roughness",
        "log middle band",
        "log upper band",
    ]
    names = [
        f"{family}, channel {c}" for family in families for c in range(num_channels)
    ]
    for family in ("correlation", "correlation of differences"):
        pairs = combinations(range(num_channels), 2)
        names += [f"{family}, channels {i} and {j}" for i, j in pairs]
    return names


class FeatureScaler:
    """Feature table in deviations of a reference set, clipped to ``+- clip``.

    Parameters
    ----------
    reference
        Series ``(n, T, C)`` in original units whose statistics scale channels and
        features: the training set, frozen across generators.
    clip
        Largest absolute value of a scaled feature; keeps one wild series from
        deciding a kernel or a distance.
    """

    def __init__(self, reference: np.ndarray, clip: float = 5.0) -> None:
        self.channels = ChannelScaler(reference)
        self.clip = clip
        table = feature_table(self.channels(reference))
        self.mean = table.mean(0)
        deviation = table.std(0)
        self.deviation = np.where(deviation > 1e-9, deviation, 1.0)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return the scaled table ``(n, K)`` of series ``(n, T, C)``."""
        scaled = (feature_table(self.channels(x)) - self.mean) / self.deviation
        return np.clip(scaled, -self.clip, self.clip)
