r"""Total correlation and pairwise mutual information, synthetic against real.

Both in nats and both without a model of this package: the total correlation is a
Gaussian plug-in with shrunk correlations of normal scores, not the package's own
Gaussian leg, which would favour its own generator.

References: Watanabe (1960); Ledoit & Wolf (2004); Kraskov, Stoegbauer & Grassberger
(2004), as implemented in scikit-learn.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.feature_selection import mutual_info_regression

from gluonts_dualkl.evaluation.metrics._common import equal_size
from gluonts_dualkl.evaluation.metrics._record import Metric

__all__ = [
    "METRICS",
    "channel_information_difference",
    "lagged_information_difference",
    "total_correlation",
    "total_correlation_difference",
]

_STEPS = 8
_POINTS = 400
_LAGS = (1, 2, 4)


def total_correlation(x: np.ndarray) -> float:
    r"""Gaussian total correlation of the pixels of ``(n, T, C)``, nats.

    ``-1/2 ln det R`` with R the Ledoit-Wolf correlation of the normal scores of the
    pixels over the series, at most 8 evenly spaced time steps. Shrinkage pulls it
    towards zero where n is small against the number of pixels.
    """
    steps = np.unique(np.linspace(0, x.shape[1] - 1, _STEPS).round().astype(int))
    rows = x[:, steps].reshape(len(x), -1)
    rows = rows[:, np.ptp(rows, axis=0) > 0]
    if rows.shape[1] < 2:
        return 0.0
    scores = ndtri((rankdata(rows, axis=0) - 0.5) / len(rows))
    scores = (scores - scores.mean(0)) / scores.std(0)
    shrinkage = float(ledoit_wolf_shrinkage(scores, assume_centered=True))
    correlation = (1 - shrinkage) * scores.T @ scores / len(scores)
    np.fill_diagonal(correlation, 1.0)
    # repeated series may be collinear where nothing is shrunk
    eigenvalues = np.maximum(np.linalg.eigvalsh(correlation), 1e-6)
    return float(-np.log(eigenvalues).sum() / 2)


def total_correlation_difference(
    real: np.ndarray, synthetic: np.ndarray, seed: int = 0
) -> float:
    """Total correlation, synthetic less real, nats; below zero is lost dependency.

    Sets of equal size, as shrinkage depends on it; see :func:`total_correlation`.
    """
    real, synthetic = equal_size(real, synthetic, seed=seed)
    return total_correlation(synthetic) - total_correlation(real)


def _information(table: np.ndarray, target: np.ndarray) -> np.ndarray:
    """KSG mutual information of each column with the target, nats, k = 5."""
    return mutual_info_regression(
        table, target, discrete_features=False, n_neighbors=5, random_state=0
    )


def _points(x: np.ndarray, lag: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """At most 400 values ``(m, C)`` and those ``lag`` steps later, over all series."""
    length = x.shape[1] - lag
    now = x[:, :length].reshape(-1, x.shape[2])
    later = x[:, lag:].reshape(-1, x.shape[2])
    rng = np.random.default_rng(seed)
    index = rng.choice(len(now), min(_POINTS, len(now)), replace=False)
    return now[index], later[index]


def _channel_information(x: np.ndarray, seed: int) -> np.ndarray:
    now, _ = _points(x, 0, seed)
    pieces = [_information(now[:, :c], now[:, c]) for c in range(1, x.shape[2])]
    return np.concatenate(pieces)


def _lagged_information(x: np.ndarray, seed: int) -> np.ndarray:
    pieces = []
    for lag in (k for k in _LAGS if k < x.shape[1]):
        now, later = _points(x, lag, seed)
        pieces.append(
            [_information(now[:, [c]], later[:, c])[0] for c in range(x.shape[2])]
        )
    return np.array(pieces)


def channel_information_difference(
    real: np.ndarray, synthetic: np.ndarray, seed: int = 0
) -> float:
    """Mean absolute difference of mutual information between channels, nats.

    Kraskov's estimator (first kind, k = 5, below zero counts as zero) on at most 400
    values drawn over series and time steps; 0 for one channel.
    """
    if real.shape[2] < 2:
        return 0.0
    real, synthetic = equal_size(real, synthetic, seed=seed)
    gap = _channel_information(synthetic, seed) - _channel_information(real, seed)
    return float(np.abs(gap).mean())


def lagged_information_difference(
    real: np.ndarray, synthetic: np.ndarray, seed: int = 0
) -> float:
    """Mean absolute difference of mutual information over lags 1, 2 and 4, nats.

    Of every channel with its own later value; estimator as in
    :func:`channel_information_difference`.
    """
    real, synthetic = equal_size(real, synthetic, seed=seed)
    gap = _lagged_information(synthetic, seed) - _lagged_information(real, seed)
    return float(np.abs(gap).mean())


_KSG = "KSG, k = 5, at most 400 pooled values"

METRICS = [
    Metric(
        "total_correlation_difference", total_correlation_difference, "nominal", "nats",
        ("seed",), "Gaussian, Ledoit-Wolf correlation of normal scores, 8 steps",
        "Watanabe 1960; Ledoit & Wolf 2004",
        low="weaker", high="stronger", far="lost", tolerance=0.5,
    ),
    Metric(
        "channel_information_difference", channel_information_difference, "lower",
        "nats", ("seed",), _KSG, "Kraskov et al. 2004",
        high="off", tolerance=0.05, min_channels=2, costly=True, default=False,
    ),
    Metric(
        "lagged_information_difference", lagged_information_difference, "lower",
        "nats", ("seed",), _KSG, "Kraskov et al. 2004",
        high="off", tolerance=0.05, costly=True, default=False,
    ),
]  # fmt: skip
