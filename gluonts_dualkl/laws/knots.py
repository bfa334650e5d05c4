"""Knots, tails, levels and atoms of the marginal map of one channel.

The construction is described in :mod:`gluonts_dualkl.laws.marginals`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import ndtri
from scipy.stats import skew

__all__ = [
    "KINDS",
    "Tails",
    "atoms_of",
    "counts_of",
    "levels_of",
    "power_knots",
    "rank_knots",
    "slopes",
    "takes_power",
]

KINDS = ("auto", "rank", "power")
LEVEL_SHARE = 0.4
ATOM_SHARE = 0.02
POWER_SCORE = 5.0
MAX_KNOTS = 201
MAX_LEVELS = 4096


class Tails(NamedTuple):
    """Slopes ``dx/dz`` and bounds of one channel."""

    low_slope: float
    high_slope: float
    low: float
    high: float


def slopes(x: np.ndarray, z: np.ndarray) -> tuple[float, float]:
    """Mean slopes ``dx/dz`` over the outer tenth of the scores on either side."""
    if len(x) == 1:
        return 1.0, 1.0
    width = 0.1 * (z[-1] - z[0])
    i = max(1, int(np.searchsorted(z, z[0] + width)))
    j = min(len(z) - 2, int(np.searchsorted(z, z[-1] - width)))
    return (
        float((x[i] - x[0]) / (z[i] - z[0])),
        float((x[-1] - x[j]) / (z[-1] - z[j])),
    )


def takes_power(channel: np.ndarray, kind: str) -> bool:
    """Whether a channel gets the affine or logarithmic map."""
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}; choose from {', '.join(KINDS)}")
    return kind == "power" or (kind == "auto" and _is_level(channel))


def _is_level(channel: np.ndarray) -> bool:
    """Whether series ``(N, T)`` differ more in level than they vary inside."""
    rows = channel[~np.isnan(channel).all(1)]
    return bool(np.nanvar(rows, 1).mean() < LEVEL_SHARE * np.nanvar(rows))


def rank_knots(
    x: np.ndarray, shares: np.ndarray, discrete: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Normal scores of the mid-ranks of distinct values, thinned where continuous.

    Atoms and their neighbours keep their knots.
    """
    z = ndtri(np.cumsum(shares) - 0.5 * shares)
    if discrete or len(x) <= MAX_KNOTS:
        return x, z
    kept = np.flatnonzero(shares > ATOM_SHARE)[:, None] + [-1, 0, 1]
    grid = np.linspace(z[0], z[-1], MAX_KNOTS)
    grid = np.union1d(grid, z[kept.clip(0, len(x) - 1)])
    return np.interp(grid, z, x), grid


def power_knots(
    values: np.ndarray, low: float, high: float
) -> tuple[np.ndarray, np.ndarray]:
    """Knots of the affine map of the values or, if less skewed, of their logarithms.

    The logarithm is of ``x``, or of ``x`` plus half the median of the positive values
    where there are zeros.
    """
    offset, use_log = 0.0, bool(values.min() >= 0)
    if use_log:
        offset = 0.0 if values.min() > 0 else 0.5 * float(np.median(values[values > 0]))
        logs = np.log(values + offset)
        use_log = abs(skew(logs, axis=None)) < abs(skew(values, axis=None))
    scores = logs if use_log else values
    centre, spread = scores.mean(), scores.std()
    z = np.linspace(-POWER_SCORE, POWER_SCORE, MAX_KNOTS)
    x = centre + spread * z
    x = np.exp(x) - offset if use_log else x
    inside = (x > low) & (x < high)
    x, z = x[inside], z[inside]
    ends = [
        bound
        for bound in (low, high)
        if np.isfinite(bound) and not (use_log and bound + offset <= 0)
    ]
    at_ends = np.log(np.add(ends, offset)) if use_log else np.array(ends)
    x = np.concatenate([x, ends])
    z = np.concatenate([z, (at_ends - centre) / spread])
    order = np.argsort(z)
    return x[order], z[order]


def atoms_of(x: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Lower end, upper end and middle of the scores of atoms, and values, ``(A, 4)``.

    ``Phi^{-1}`` of the cumulated shares before, after and half-way through each.
    """
    end, found = shares.cumsum(), shares > ATOM_SHARE
    ranks = np.stack([end - shares, end, end - 0.5 * shares], 1)[found]
    return np.column_stack([ndtri(ranks.clip(0, 1)), x[found]])


def levels_of(x: np.ndarray, tails: Tails, resolution: float) -> np.ndarray:
    """Values a discrete channel may take: its grid, or else the values seen."""
    if not resolution:
        return x
    low = max(tails.low, x[0] - 3 * tails.low_slope)
    high = min(tails.high, x[-1] + 3 * tails.high_slope)
    first, last = np.ceil(low / resolution - 1e-6), np.floor(high / resolution + 1e-6)
    if last - first >= MAX_LEVELS or last - first > 4 * len(x):
        return x
    return np.arange(first, last + 1) * resolution


def counts_of(levels: np.ndarray, x: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """How often each level is the nearest to a value, ``(M,)``.

    Distinct values ``x`` occur ``counts`` times.
    """
    if not len(levels):
        return levels
    nearest = np.searchsorted(0.5 * (levels[1:] + levels[:-1]), x)
    return np.bincount(nearest, counts, len(levels))
