"""Clusters on the line of levels: modes of their density, and how stable they are.

Clusters are contiguous in the level. A cut needs a valley that data support: the number
of modes is the smallest ``k`` that Silverman's test (1981) does not reject, with the
critical bandwidth ``h_k``, the smallest at which the kernel density has at most ``k``
modes, and a smoothed bootstrap from that density. The cuts are then taken halfway, on a
log scale, between ``h_k`` and ``h_{k-1}``, where all ``k`` modes stand and no other. So
one bell, however skewed, is one cluster. Cutting levels at tested valleys is our
construction.
"""

from __future__ import annotations

import numpy as np

__all__ = ["cluster_levels", "jaccard_stability"]

GRID = 256
BISECTIONS = 25
SIGNIFICANCE = 0.01


def _cuts(levels: np.ndarray, bandwidth: float, min_size: int) -> np.ndarray:
    """Valleys of the Gaussian kernel density between modes of ``min_size`` levels."""
    low, high = levels.min() - 3 * bandwidth, levels.max() + 3 * bandwidth
    grid = np.linspace(low, high, GRID)
    density = np.exp(-0.5 * ((grid[:, None] - levels) / bandwidth) ** 2).sum(1)
    inner = density[1:-1]
    valleys = grid[1:-1][(inner < density[:-2]) & (inner <= density[2:])]
    kept: list[float] = []
    for valley in valleys:
        below = levels < valley
        if kept:
            below &= levels >= kept[-1]
        if below.sum() >= min_size:
            kept.append(float(valley))
    while kept and (levels >= kept[-1]).sum() < min_size:
        kept.pop()
    return np.array(kept)


def _critical_bandwidth(levels: np.ndarray, num_modes: int, min_size: int) -> float:
    """Smallest bandwidth with at most ``num_modes`` modes."""
    high = max(float(np.ptp(levels)), 1e-9)
    low = high / 1000
    for _ in range(BISECTIONS):
        middle = np.sqrt(low * high)
        if len(_cuts(levels, middle, min_size)) < num_modes:
            high = middle
        else:
            low = middle
    return float(high)


def _rejects(
    levels: np.ndarray,
    bandwidth: float,
    num_modes: int,
    min_size: int,
    num_replicates: int,
    rng: np.random.Generator,
) -> bool:
    """Whether at most ``num_modes`` modes is rejected at level ``SIGNIFICANCE``."""
    shrink = 1 / np.sqrt(1 + bandwidth**2 / max(levels.var(), 1e-12))
    more = 0
    for _ in range(num_replicates):
        drawn = rng.choice(levels, len(levels))
        drawn = drawn + bandwidth * rng.standard_normal(len(levels))
        drawn = levels.mean() + shrink * (drawn - levels.mean())
        more += len(_cuts(drawn, bandwidth, min_size)) >= num_modes
    return more / num_replicates < SIGNIFICANCE


def cluster_levels(
    levels: np.ndarray,
    seed: int,
    max_clusters: int = 6,
    min_share: float = 0.05,
    num_replicates: int = 300,
) -> tuple[np.ndarray, float]:
    """Cut levels at the valleys that Silverman's test supports.

    Parameters
    ----------
    levels
        ``(N,)``, nats.
    seed
        Seed of the bootstrap.
    max_clusters
        Most clusters looked for.
    min_share
        Smallest share of the levels in a cluster.
    num_replicates
        Bootstrap replicates of each test.

    Returns
    -------
    Rising cuts, ``(k - 1,)`` nats, and the bandwidth they were found with.
    """
    rng = np.random.default_rng(seed)
    min_size = max(3, int(np.ceil(min_share * len(levels))))
    critical = above = max(float(np.ptp(levels)), 1e-9)
    for num_modes in range(1, max_clusters + 1):
        above, critical = critical, _critical_bandwidth(levels, num_modes, min_size)
        if not _rejects(levels, critical, num_modes, min_size, num_replicates, rng):
            break
    bandwidth = float(np.sqrt(critical * above))
    return _cuts(levels, bandwidth, min_size), bandwidth


def jaccard_stability(
    levels: np.ndarray,
    cuts: np.ndarray,
    bandwidth: float,
    seed: int,
    min_share: float = 0.05,
    num_replicates: int = 100,
) -> np.ndarray:
    """Mean best Jaccard overlap of each cluster over bootstrap resamples, ``(k,)``.

    Every resample is cut anew at the same bandwidth, and its cuts are applied to all
    levels (Hennig 2007).
    """
    rng = np.random.default_rng(seed)
    min_size = max(3, int(np.ceil(min_share * len(levels))))
    own = np.digitize(levels, cuts)
    total = np.zeros(len(cuts) + 1)
    for _ in range(num_replicates):
        drawn = rng.choice(levels, len(levels))
        other = np.digitize(levels, _cuts(drawn, bandwidth, min_size))
        table = np.zeros((len(total), other.max() + 1))
        np.add.at(table, (own, other), 1)
        union = table.sum(1, keepdims=True) + table.sum(0) - table
        total += (table / union).max(1)
    return total / num_replicates
