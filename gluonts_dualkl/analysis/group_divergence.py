"""Divergence between groups of few series, and draws of a law with one mode.

What :mod:`gluonts_dualkl.analysis.cuts` and :mod:`gluonts_dualkl.analysis.localised`
share: features of series reduced to a few columns, the divergence between two groups of
rows, and the null law that says how much two halves of *one* bell of levels differ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gluonts_dualkl.analysis.modes import critical_bandwidth

__all__ = [
    "GaussianDivergence",
    "GroupDivergence",
    "check_table",
    "draw_unimodal",
    "principal_features",
    "smallest_cluster",
    "span_divergences",
    "unimodal_bandwidth",
]

GroupDivergence = Callable[[np.ndarray, np.ndarray], float]

PSEUDO_COUNT = 10.0
MIN_SIZE = 3


def principal_features(features: np.ndarray, num_components: int = 6) -> np.ndarray:
    """Leading principal components of standardised features, each of unit variance.

    Parameters
    ----------
    features
        ``(N, K)``; constant columns are left out.
    num_components
        Most components kept.

    Returns
    -------
    ``(N, min(num_components, rank))``, uncorrelated over the series.
    """
    features = _as_table(features, len(np.atleast_1d(features)))
    spread = features.std(0)
    kept = spread > 1e-9 * max(float(spread.max(initial=0.0)), 1e-30)
    table = (features[:, kept] - features[:, kept].mean(0)) / spread[kept]
    left, singular, _ = np.linalg.svd(table, full_matrices=False)
    rank = int((singular > 1e-6 * singular.max(initial=1e-30)).sum())
    return left[:, : min(num_components, rank)] * np.sqrt(len(features))


@dataclass(frozen=True)
class GaussianDivergence:
    """KL divergence of two Gaussians with shrunk covariances, nats.

    Every covariance is ``(n S + nu S_0) / (n + nu)`` with ``S_0`` that of all rows
    taken together, and

        D(a || b) = 1/2 (tr S_b^-1 S_a - K + |m_b - m_a|^2_{S_b^-1} + ln |S_b| / |S_a|).

    Attributes
    ----------
    pseudo_count
        ``nu``, rows that the common covariance counts for.
    symmetric
        Whether to return the mean of both directions.
    """

    pseudo_count: float = PSEUDO_COUNT
    symmetric: bool = False

    def __call__(self, a: np.ndarray, b: np.ndarray) -> float:
        """``D(a || b)`` of tables ``(n, K)`` and ``(m, K)``."""
        n, m = len(a), len(b)
        table = np.concatenate([a, b]).astype(float)
        spans = np.array([[0, n, n, n + m]])
        return float(self.of_spans(table, spans)[0])

    def of_spans(self, features: np.ndarray, spans: np.ndarray) -> np.ndarray:
        """``D(rows a0:a1 || rows b0:b1)`` for rows ``(a0, a1, b0, b1)`` of ``spans``.

        Features ``(N, K)``, spans ``(M, 4)``; returns ``(M,)``. Moments of all spans
        come from cumulative sums.
        """
        centred = features - features.mean(0)
        common = centred.T @ centred / len(centred)
        common += 1e-9 * max(float(np.trace(common)), 1e-30) * np.eye(len(common))
        whiten = np.linalg.inv(np.linalg.cholesky(common)).T
        table = centred @ whiten
        sums = np.concatenate([np.zeros_like(table[:1]), table.cumsum(0)])
        products = table[:, :, None] * table[:, None, :]
        squares = np.concatenate([np.zeros_like(products[:1]), products.cumsum(0)])
        moments = []
        for start, stop in ((spans[:, 0], spans[:, 1]), (spans[:, 2], spans[:, 3])):
            n = (stop - start).astype(float)[:, None]
            mean = (sums[stop] - sums[start]) / n
            scatter = squares[stop] - squares[start]
            scatter = scatter - n[:, :, None] * mean[:, :, None] * mean[:, None, :]
            shrunk = scatter + self.pseudo_count * np.eye(table.shape[1])
            moments.append((mean, shrunk / (n + self.pseudo_count)[:, :, None]))
        forward = _gaussian_kl(*moments[0], *moments[1])
        if not self.symmetric:
            return forward
        return 0.5 * (forward + _gaussian_kl(*moments[1], *moments[0]))


def _gaussian_kl(
    mean_a: np.ndarray, cov_a: np.ndarray, mean_b: np.ndarray, cov_b: np.ndarray
) -> np.ndarray:
    """KL of Gaussians, means ``(M, K)``, covariances ``(M, K, K)``; ``(M,)`` nats."""
    shift = (mean_b - mean_a)[:, :, None]
    trace = np.trace(np.linalg.solve(cov_b, cov_a), axis1=1, axis2=2)
    square = (shift * np.linalg.solve(cov_b, shift)).sum((1, 2))
    logs = np.linalg.slogdet(cov_b)[1] - np.linalg.slogdet(cov_a)[1]
    return 0.5 * (trace - mean_a.shape[1] + square + logs)


def span_divergences(
    divergence: GroupDivergence, features: np.ndarray, spans: np.ndarray
) -> np.ndarray:
    """``D(rows a0:a1 || rows b0:b1)`` by any divergence, ``(M,)`` nats.

    At once where the divergence has a method ``of_spans``, else one call a span.
    """
    of_spans = getattr(divergence, "of_spans", None)
    if of_spans is not None:
        return np.asarray(of_spans(features, spans))
    return np.array([divergence(features[a:b], features[c:d]) for a, b, c, d in spans])


def draw_unimodal(
    levels: np.ndarray,
    features: np.ndarray,
    rng: np.random.Generator,
    min_share: float = 0.05,
    bandwidth: float | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Levels and features of as many series of a like law with one mode of levels.

    A smoothed bootstrap: rows are drawn, their levels shifted by the critical bandwidth
    of one mode times a normal number, and shrunk so that the variance is kept
    (Silverman 1981). Features move along the regression line on the level.

    Parameters
    ----------
    levels, features
        ``(N,)`` nats and ``(N, K)``.
    rng
        Source of the draws.
    min_share
        A bump of fewer levels is no mode.
    bandwidth
        The critical bandwidth where it is known, nats.
    """
    if bandwidth is None:
        bandwidth = unimodal_bandwidth(levels, min_share)
    centred = levels - levels.mean()
    variance = max(float(centred.var()), 1e-12)
    slope = centred @ (features - features.mean(0)) / (len(levels) * variance)
    rows = rng.integers(len(levels), size=len(levels))
    drawn = centred[rows] + bandwidth * rng.standard_normal(len(levels))
    drawn = drawn / np.sqrt(1 + bandwidth**2 / variance)
    moved = features[rows] + (drawn - centred[rows])[:, None] * slope
    return levels.mean() + drawn, moved


def unimodal_bandwidth(levels: np.ndarray, min_share: float = 0.05) -> float:
    """Smallest bandwidth at which the density of the levels has one mode, nats."""
    return critical_bandwidth(levels, 1, smallest_cluster(min_share, len(levels)))


def smallest_cluster(min_share: float, num_series: int) -> int:
    """Series that the smallest cluster must hold, at least 3."""
    return max(MIN_SIZE, int(np.ceil(min_share * num_series)))


def _as_table(features: np.ndarray, num_series: int) -> np.ndarray:
    features = np.asarray(features, np.float64)
    if features.ndim != 2 or len(features) != num_series or not features.shape[1]:
        raise ValueError(
            f"features has shape {features.shape}; give a table of {num_series} rows, "
            "one a series, and at least one column."
        )
    if not np.isfinite(features).all():
        raise ValueError("features holds NaN or infinity; leave out such columns.")
    return features


def check_table(
    levels: np.ndarray, features: np.ndarray, min_share: float = 0.05
) -> tuple[np.ndarray, np.ndarray]:
    """Levels ``(N,)`` and features ``(N, K)`` as float64, checked to fit."""
    levels = np.asarray(levels, np.float64)
    if levels.ndim != 1 or not len(levels) or not np.isfinite(levels).all():
        raise ValueError(
            f"levels has shape {levels.shape}; give one finite level a series, (N,)."
        )
    if not 0 < min_share <= 0.5:
        raise ValueError(f"min_share is {min_share}; it must be in (0, 0.5].")
    return levels, _as_table(features, len(levels))
