r"""Coverage, recall, precision, density and effective number of series.

Neighbourhoods are taken in the scaled feature table with ``k = 5`` and equal set sizes.
References: Kynkaanniemi et al. (NeurIPS 2019) for precision and recall; Naeem et al.
(ICML 2020) for density and coverage; Friedman & Dieng (TMLR 2023) for the Vendi score.
"""

from __future__ import annotations

import numpy as np

from gluonts_dualkl.evaluation.features import FeatureScaler
from gluonts_dualkl.evaluation.metrics._common import (
    distances,
    equal_size,
    features,
    flat,
    remember,
)

__all__ = [
    "coverage",
    "density",
    "precision",
    "recall",
    "spacing_ratio",
    "vendi_ratio",
    "vendi_score",
]

_NEIGHBOURS = 5


@remember
def _neighbourhoods(
    real: np.ndarray, synthetic: np.ndarray, train: np.ndarray | None, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Who lies in whose ball: synthetic in real balls, and real in synthetic.

    Both ``(n, n)``: rows are synthetic series and columns real ones.
    """
    real, synthetic = equal_size(real, synthetic, seed=seed)
    a, b = features(real, synthetic, train)
    between = distances(b, a)
    # the row itself is its nearest neighbour, hence index k and not k - 1
    k = min(_NEIGHBOURS, len(a) - 1)
    real_radius = np.partition(distances(a, a), k, axis=1)[:, k]
    synthetic_radius = np.partition(distances(b, b), k, axis=1)[:, k]
    return between <= real_radius[None], between <= synthetic_radius[:, None]


def precision(
    real: np.ndarray,
    synthetic: np.ndarray,
    train: np.ndarray | None = None,
    seed: int = 0,
) -> float:
    """Share of synthetic series inside the ball of at least one real series."""
    return float(_neighbourhoods(real, synthetic, train, seed)[0].any(1).mean())


def recall(
    real: np.ndarray,
    synthetic: np.ndarray,
    train: np.ndarray | None = None,
    seed: int = 0,
) -> float:
    """Share of real series inside the ball of at least one synthetic series."""
    return float(_neighbourhoods(real, synthetic, train, seed)[1].any(0).mean())


def density(
    real: np.ndarray,
    synthetic: np.ndarray,
    train: np.ndarray | None = None,
    seed: int = 0,
) -> float:
    """Mean number of real balls a synthetic series lies in, over ``k``; about 1."""
    inside = _neighbourhoods(real, synthetic, train, seed)[0]
    return float(inside.sum(1).mean() / min(_NEIGHBOURS, inside.shape[1] - 1))


def coverage(
    real: np.ndarray,
    synthetic: np.ndarray,
    train: np.ndarray | None = None,
    seed: int = 0,
) -> float:
    """Share of real series whose ball holds a synthetic one; ``1 - 2^-k`` at best."""
    return float(_neighbourhoods(real, synthetic, train, seed)[0].any(0).mean())


def vendi_score(table: np.ndarray, bandwidth: float) -> float:
    r"""Effective number of rows: ``exp(-sum_i l_i ln l_i)``.

    ``l_i`` are the eigenvalues of ``K / n`` with the Gaussian kernel ``K`` of the given
    bandwidth; between 1 (all alike) and ``n`` (all different). Depends on ``n``.
    """
    kernel = np.exp(-((distances(table, table) / bandwidth) ** 2) / 2)
    values = np.linalg.eigvalsh(kernel / len(table))
    values = values[values > 1e-12]
    return float(np.exp(-(values * np.log(values)).sum()))


def vendi_ratio(
    real: np.ndarray,
    synthetic: np.ndarray,
    train: np.ndarray | None = None,
    seed: int = 0,
) -> float:
    """Vendi score of synthetic over that of real series, equal sizes and kernel.

    Half the median distance of the training series is the bandwidth. Only the low side
    is a fault: noise raises the ratio above one.
    """
    real, synthetic = equal_size(real, synthetic, seed=seed)
    reference = real if train is None else train
    scaler = FeatureScaler(reference)
    base = scaler(reference)
    median = np.median(distances(base, base)[np.triu_indices(len(base), 1)])
    bandwidth = max(float(median) / 2, 1e-12)
    score = vendi_score(scaler(synthetic), bandwidth)
    return score / vendi_score(scaler(real), bandwidth)


def _spacing(rows: np.ndarray) -> float:
    between = distances(rows, rows)
    np.fill_diagonal(between, np.inf)
    return float(np.median(between.min(1)))


def spacing_ratio(
    real: np.ndarray,
    synthetic: np.ndarray,
    train: np.ndarray | None = None,
    seed: int = 0,
) -> float:
    """Median nearest-neighbour distance within synthetic over that within real series.

    Euclidean on values standardised by channel, equal sizes; near zero if most
    series have a twin, so it shows collapse onto few prototypes directly.
    """
    real, synthetic = equal_size(real, synthetic, seed=seed)
    reference = real if train is None else train
    spread = max(_spacing(flat(real, reference)), 1e-12)
    return _spacing(flat(synthetic, reference)) / spread
