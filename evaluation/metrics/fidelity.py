r"""Spectra, roughness, marginals and dependency: one number per property of the law.

Channels are standardised by the training set where units would mix. Correlations over
time are taken within each series and averaged, so that neither differences in level
nor a few wild series pass for dependency.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import ks_2samp, rankdata, wasserstein_distance

from gluonts_dualkl.evaluation.features import ChannelScaler

__all__ = [
    "acf_difference",
    "channel_dependency_ratio",
    "cross_correlation_difference",
    "curvature_ratio",
    "log_psd_distance",
    "marginal_ks",
    "marginal_wasserstein",
    "pixel_correlation_difference",
    "pixel_dependency_ratio",
    "roughness_ratio",
    "temporal_dependency_ratio",
]

_RELATIVE_FLOOR = 1e-6


def _scaled(
    real: np.ndarray, synthetic: np.ndarray, train: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    scale = ChannelScaler(real if train is None else train)
    return scale(real), scale(synthetic)


def _log_spectrum(x: np.ndarray, floor: np.ndarray | float = 0.0) -> np.ndarray:
    """Log mean periodogram ``(F, C)`` of centred, Hann-tapered series, f > 0."""
    taper = np.hanning(x.shape[1] + 2)[1:-1, None]
    centred = (x - x.mean(1, keepdims=True)) * taper
    power = (np.abs(np.fft.rfft(centred, axis=1)[:, 1:]) ** 2).mean(0)
    return np.log(power + floor + 1e-300)


def log_psd_distance(real: np.ndarray, synthetic: np.ndarray) -> float:
    r"""Mean absolute difference of log spectra over f > 0 and channels, nats.

    ``mean_{f, c} |ln S_syn(f, c) - ln S_real(f, c)|`` where S is the mean over
    series of the periodogram of the centred, Hann-tapered series. A floor of 1e-6 of
    the real power of the channel keeps rounding noise out. Shrinks like ``n^{-1/2}``
    for equal laws.
    """
    floor = _RELATIVE_FLOOR * np.exp(_log_spectrum(real)).mean(0)
    gap = _log_spectrum(synthetic, floor) - _log_spectrum(real, floor)
    return float(np.abs(gap).mean())


def roughness_ratio(real: np.ndarray, synthetic: np.ndarray) -> float:
    """Variance of first differences, synthetic over real; geometric mean of channels.

    Below one the series are too smooth, above one too rough. Channels that never move
    in the real set are left out.
    """
    ours, theirs = (np.diff(x, axis=1).var(axis=(0, 1)) for x in (synthetic, real))
    moves = theirs > 0
    if not moves.any():
        return 1.0
    floor = _RELATIVE_FLOOR * theirs[moves]
    return float(np.exp(np.log((ours[moves] + floor) / (theirs[moves] + floor)).mean()))


def _log_curvature(x: np.ndarray) -> np.ndarray:
    """Mean over series of ``ln(var(second) / var(first differences))``, ``(C,)``.

    Series that stand still are left out; NaN for a channel in which all do.
    """
    first, second = (np.diff(x, order, axis=1).var(axis=1) for order in (1, 2))
    moves = first > 1e-12 * first.max(0)
    ratio = np.maximum(second / np.where(moves, first, 1.0), 1e-3)
    count = moves.sum(0)
    total = np.where(moves, np.log(ratio), 0.0).sum(0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def curvature_ratio(real: np.ndarray, synthetic: np.ndarray) -> float:
    """Jaggedness of the average series, synthetic over real; below 1 is too smooth.

    Geometric mean over series and channels of the variance of second differences over
    that of first differences (von Neumann's ratio of the differences). Free of the
    scale of a series, hence steady where scales differ by orders of magnitude and
    :func:`roughness_ratio` is not; second differences weigh the upper end of the
    spectrum, where smoothing shows first. Channels that stand still in the real
    set are left out, those that do so in the synthetic set only count 0.001.
    """
    ours, theirs = _log_curvature(synthetic), _log_curvature(real)
    moves = ~np.isnan(theirs)
    if not moves.any():
        return 1.0
    ours = np.where(np.isnan(ours), np.log(1e-3), ours)
    return float(np.exp((ours - theirs)[moves].mean()))


def marginal_ks(real: np.ndarray, synthetic: np.ndarray) -> float:
    """Largest Kolmogorov-Smirnov distance of pooled values over channels.

    NaN are left out.
    """
    return float(max(ks_2samp(a, b).statistic for a, b in _pooled(real, synthetic)))


def _pooled(
    real: np.ndarray, synthetic: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """All values of each channel of both sets but for NaN."""
    pairs = zip(np.moveaxis(real, 2, 0), np.moveaxis(synthetic, 2, 0), strict=True)
    return [(a[~np.isnan(a)], b[~np.isnan(b)]) for a, b in pairs]


def marginal_wasserstein(
    real: np.ndarray, synthetic: np.ndarray, train: np.ndarray | None = None
) -> float:
    """Mean over channels of the 1-Wasserstein distance, in channel deviations.

    NaN are left out.
    """
    pairs = _pooled(*_scaled(real, synthetic, train))
    return float(np.mean([wasserstein_distance(a, b) for a, b in pairs]))


def _lagged_correlations(x: np.ndarray, num_lags: int) -> np.ndarray:
    """Mean over series of their correlations of channel i with j, k steps later.

    ``(num_lags + 1, C, C)``; every series weighs alike, so that a few wild ones do not
    decide. A channel that stands still in a series counts zero.
    """
    centred = x - x.mean(1, keepdims=True)
    deviation = centred.std(1, keepdims=True)
    moves = deviation > 1e-6 * deviation.max(0)
    unit = np.where(moves, centred / np.where(moves, deviation, 1.0), 0.0)
    size = x.shape[0] * x.shape[1]
    length = x.shape[1]
    return np.stack(
        [
            np.einsum("nti,ntj->ij", unit[:, : length - k], unit[:, k:]) / size
            for k in range(num_lags + 1)
        ]
    )


def _num_lags(x: np.ndarray) -> int:
    return min(10, x.shape[1] // 2)


def acf_difference(real: np.ndarray, synthetic: np.ndarray) -> float:
    """Mean absolute difference of mean autocorrelations, lags 1 to min(10, T/2)."""
    a, b = (_lagged_correlations(x, _num_lags(real))[1:] for x in (real, synthetic))
    return float(np.abs(np.diagonal(b - a, axis1=1, axis2=2)).mean())


def cross_correlation_difference(real: np.ndarray, synthetic: np.ndarray) -> float:
    """Mean absolute difference of correlations between channels, lags 0 to 3.

    Both of levels and of first differences, about the mean of each series; 0 for one
    channel.
    """
    off = ~np.eye(real.shape[2], dtype=bool)
    if not off.any():
        return 0.0
    lags = min(3, _num_lags(real))
    gaps = []
    for order in (0, 1):
        a, b = (
            _lagged_correlations(np.diff(x, order, axis=1), lags)
            for x in (real, synthetic)
        )
        gaps.append(np.abs(b - a)[:, off].mean())
    return float(np.mean(gaps))


def _steps(x: np.ndarray) -> np.ndarray:
    """At most 24 evenly spaced time steps."""
    num = x.shape[1]
    return np.unique(np.linspace(0, num - 1, min(24, num)).round().astype(int))


def _pixel_correlation(x: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Spearman correlation of the pixels over the series."""
    ranks = rankdata(x[:, steps].reshape(len(x), -1), axis=0)
    centred = ranks - ranks.mean(0)
    deviation = np.sqrt((centred**2).mean(0))
    unit = centred / np.where(deviation > 0, deviation, 1.0)
    return unit.T @ unit / len(x)


def pixel_correlation_difference(real: np.ndarray, synthetic: np.ndarray) -> float:
    """Mean absolute difference of rank correlations between pixels over the series.

    At most 24 evenly spaced time steps, all channels; sees dependency in level between
    series. Shrinks like ``n^{-1/2}`` for equal laws.
    """
    steps = _steps(real)
    gap = _pixel_correlation(synthetic, steps) - _pixel_correlation(real, steps)
    return float(np.abs(gap[np.triu_indices(len(gap), 1)]).mean())


def _ratio(ours: float, theirs: float) -> float:
    return max(ours, 0.0) / max(theirs, 1e-9) if theirs > 1e-9 else 1.0


def _pixel_strength(x: np.ndarray) -> float:
    """Mean squared correlation of two pixels, less the ``1 / (n - 1)`` of none."""
    matrix = _pixel_correlation(x, _steps(x))
    squares = matrix[np.triu_indices(len(matrix), 1)] ** 2
    return float(squares.mean() - 1 / (len(x) - 1))


def pixel_dependency_ratio(real: np.ndarray, synthetic: np.ndarray) -> float:
    """Mean squared rank correlation of pixels, synthetic over real; 0 if independent.

    Over the series, less the ``1 / (n - 1)`` that independent pixels show.
    """
    return _ratio(_pixel_strength(synthetic), _pixel_strength(real))


def temporal_dependency_ratio(real: np.ndarray, synthetic: np.ndarray) -> float:
    """Sum of squared lagged correlations, synthetic over real; small if shuffled.

    All pairs of channels, lags 1 to min(10, T/2), about the mean of each series.
    """
    ours, theirs = (
        float((_lagged_correlations(x, _num_lags(real))[1:] ** 2).sum())
        for x in (synthetic, real)
    )
    return _ratio(ours, theirs)


def channel_dependency_ratio(real: np.ndarray, synthetic: np.ndarray) -> float:
    """Sum of squared correlations between channels, synthetic over real; 0 if lost.

    Of levels and of first differences at the same time, within series; 1 for one
    channel.
    """
    ours, theirs = (
        sum(
            float(np.sum(np.tril(_lagged_correlations(steps, 0)[0], -1) ** 2))
            for steps in (x, np.diff(x, axis=1))
        )
        for x in (synthetic, real)
    )
    return _ratio(ours, theirs)
