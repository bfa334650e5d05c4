r"""How close synthetic series lie to the training series, against held-out ones.

No distance between distributions can catch a generator that hands out its training
series; these shares can. They show copying; that none is detected is not a proof of
privacy. Distances are Euclidean on values standardised by the channels of the training
set. References: Meehan, Chaudhuri & Dasgupta (AISTATS 2020); the DCR share as in
sdmetrics' overfitting protection.
"""

from __future__ import annotations

import numpy as np
from sklearn.metrics import euclidean_distances

from gluonts_dualkl.evaluation.features import ChannelScaler
from gluonts_dualkl.evaluation.metrics._common import distances, flat

__all__ = [
    "copy_rate",
    "copy_rate_shifted",
    "dcr_share",
    "nearest_neighbour_ratio",
]

COPY_QUANTILE = 0.05
ROUNDING = 1e-6  # of distances by dot products, channel deviations


def _nearest(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return distances(a, b).min(1)


def _nearest_shifted(x: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Distance of middles to the nearest part of a training series, ``(n,)``.

    Root mean square over pixels, in channel deviations of the training set.
    """
    scaler = ChannelScaler(train)
    shift = train.shape[1] // 4
    steps = train.shape[1] - 2 * shift
    middles = scaler(x)[:, shift : shift + steps].reshape(len(x), -1)
    reference = scaler(train)
    nearest = np.full(len(x), np.inf)
    for start in range(2 * shift + 1):
        parts = reference[:, start : start + steps].reshape(len(train), -1)
        nearest = np.minimum(nearest, euclidean_distances(middles, parts).min(1))
    return nearest / np.sqrt(middles.shape[1])


def dcr_share(real: np.ndarray, synthetic: np.ndarray, train: np.ndarray) -> float:
    r"""Share of synthetic series nearer to a training than to a held-out series.

    With ``s = P(d(syn, train) < d(syn, real))``, ties counted half, ``a`` training and
    ``b`` held-out series, the odds are corrected for the sizes:
    ``(s / a) / (s / a + (1 - s) / b)``, which is ``s`` for equal sizes. Cutting the
    larger set instead would hide copies of what is cut. 0.5 for fresh series, 1 for
    copies; a shrunk Gaussian fitted to 50 series already reads 0.7.

    Parameters
    ----------
    real, synthetic, train
        Held-out, synthetic and training series ``(n, T, C)``, sizes may differ.
    """
    rows = flat(synthetic, train)
    to_train = _nearest(rows, flat(train, train))
    to_real = _nearest(rows, flat(real, train))
    share = np.mean(to_train < to_real) + np.mean(to_train == to_real) / 2
    own, other = share / len(train), (1 - share) / len(real)
    return float(own / (own + other))


def copy_rate(real: np.ndarray, synthetic: np.ndarray, train: np.ndarray) -> float:
    """Share of synthetic series nearer to training than 95 % of held-out ones are.

    ``P(d(syn, train) <= q)`` where ``q`` is the 5 % quantile of ``d(real, train)``;
    0.05 is nominal and 1 a memoriser.
    """
    reference = flat(train, train)
    near = np.quantile(_nearest(flat(real, train), reference), COPY_QUANTILE)
    return float(np.mean(_nearest(flat(synthetic, train), reference) <= near))


def copy_rate_shifted(
    real: np.ndarray, synthetic: np.ndarray, train: np.ndarray
) -> float:
    """Share of synthetic series whose middle is nearer to training *at any time*.

    As :func:`copy_rate`, of the middle ``T - 2 s`` steps of a series against as many
    steps of a training series that begin at any of its first ``2 s + 1``, with
    ``s = T // 4``. A generator that makes series of shifted training series can copy
    pieces that a comparison at the same time does not see.
    """
    near = np.quantile(_nearest_shifted(real, train), COPY_QUANTILE)
    return float(np.mean(_nearest_shifted(synthetic, train) <= near + ROUNDING))


def nearest_neighbour_ratio(
    real: np.ndarray, synthetic: np.ndarray, train: np.ndarray
) -> float:
    """``median d(syn, train) / median d(real, train)``; 1 is nominal, 0 a memoriser."""
    reference = flat(train, train)
    own = np.median(_nearest(flat(real, train), reference))
    return float(
        np.median(_nearest(flat(synthetic, train), reference)) / max(own, 1e-12)
    )
