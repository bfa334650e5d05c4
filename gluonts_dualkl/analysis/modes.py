"""Modes of the density of levels, by the test of Silverman (1981).

The critical bandwidth ``h_k`` is the smallest at which the Gaussian kernel density has
at most ``k`` modes. Draws of the density at ``h_1`` say how often a law with one mode
shows more.
"""

from __future__ import annotations

import numpy as np

__all__ = ["critical_bandwidth", "tested_valley", "valleys"]

GRID = 256
BISECTIONS = 25
SIGNIFICANCE = 0.01
REPLICATES = 300


def valleys(levels: np.ndarray, bandwidth: float, min_size: int) -> np.ndarray:
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


def critical_bandwidth(levels: np.ndarray, num_modes: int, min_size: int) -> float:
    """Smallest bandwidth with at most ``num_modes`` modes."""
    high = max(float(np.ptp(levels)), 1e-9)
    low = high / 1000
    for _ in range(BISECTIONS):
        middle = np.sqrt(low * high)
        if len(valleys(levels, middle, min_size)) < num_modes:
            high = middle
        else:
            low = middle
    return float(high)


def tested_valley(
    levels: np.ndarray, min_size: int, rng: np.random.Generator
) -> tuple[float, float] | None:
    """Valley between two modes of the levels, if one mode is rejected at 0.01.

    Returns the valley and the bandwidth at which it is the only one, halfway between
    ``h_1`` and ``h_2`` on a log scale; None where one mode may stand.
    """
    one = critical_bandwidth(levels, 1, min_size)
    shrink = 1 / np.sqrt(1 + one**2 / max(levels.var(), 1e-12))
    centred, more = levels - levels.mean(), 0
    for _ in range(REPLICATES):
        drawn = rng.choice(centred, len(centred))
        drawn = shrink * (drawn + one * rng.standard_normal(len(centred)))
        more += len(valleys(drawn, one, min_size)) > 0
    if more / REPLICATES >= SIGNIFICANCE:
        return None
    bandwidth = float(np.sqrt(one * critical_bandwidth(levels, 2, min_size)))
    found = valleys(levels, bandwidth, min_size)
    return (float(found[0]), bandwidth) if len(found) else None
