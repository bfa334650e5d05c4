"""Shapes, protocols and result records that the other modules share.

Vocabulary: a sample is a window of ``T`` time steps by ``C`` channels; ``N`` real
samples train a generator and ``n`` samples are drawn from it, so arrays are
``(N, T, C)`` or ``(n, T, C)``. ``x`` is a sample in its original units, ``z`` the same
sample in normal scores (see :mod:`gluonts_dualkl.laws.marginals`). Divergences and
log-ratios are in nats. This module imports nothing else of the package.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Cluster", "DataEntry", "Divergence", "DualSpace", "Walk"]

DataEntry = dict[str, Any]
Entries = Iterable[DataEntry]


@dataclass(frozen=True)
class Divergence:
    """A held-out estimate of ``KL(P || Q)``, the total correlation of the pixels.

    Attributes
    ----------
    value
        Mean held-out log-ratio ``E_P[log p/q]``, nats.
    lower, upper
        Ends of the confidence interval of the divergence, nats; the upper one allows
        for ``deficit``.
    standard_error
        Standard error of ``value`` over the held-out series, nats.
    per_leg
        Nats by leg of the path, in path order; the values sum to ``value``.
    ceiling
        The most nats that the number of series can certify: the value of the
        closed-form leg, which has no such bound, plus ``ln N`` for each learned leg
        (McAllester & Stratos 2020).
    num_series
        Number of held-out series in the mean.
    integrated
        The same mean with normalisers from thermodynamic integration, nats: a second
        estimate, which should lie near ``value``.
    deficit
        Estimate of ``KL(P || p_hat)``, by which ``value`` falls short of the divergence
        on average, nats.
    confidence
        Nominal coverage of the interval.
    """

    value: float
    lower: float
    upper: float
    standard_error: float
    per_leg: dict[str, float]
    ceiling: float
    num_series: int
    integrated: float
    deficit: float = 0.0
    confidence: float = 0.9


@dataclass(frozen=True)
class Cluster:
    """A contiguous stretch of the dual space.

    Attributes
    ----------
    members
        Indices of the training windows in the cluster, by rising level.
    lower, upper
        Smallest and largest level of its members, nats.
    stability
        Mean Jaccard overlap with the best matching cluster over bootstrap
        resamples, in [0, 1] (Hennig 2007).
    """

    members: np.ndarray
    lower: float
    upper: float
    stability: float

    def __repr__(self) -> str:
        levels = f"{self.lower:.1f} to {self.upper:.1f} nats"
        stable = f"stability {self.stability:.2f}"
        return f"Cluster({len(self.members)} series, {levels}, {stable})"


@dataclass(frozen=True)
class DualSpace:
    """The training windows on the line of their levels ``s = log p/q``.

    Attributes
    ----------
    levels
        Level of every training window, cross-fitted, shape ``(N,)``, nats.
    band
        In-distribution band: the outer quantiles of the levels, nats.
    clusters
        Clusters by rising level; one cluster when no cut is supported.
    gaps
        ``(lower, upper)`` between neighbouring clusters, nats.
    bin_edges, occupied
        Freedman-Diaconis bins over the levels and whether each holds a window.
    """

    levels: np.ndarray
    band: tuple[float, float]
    clusters: tuple[Cluster, ...]
    gaps: tuple[tuple[float, float], ...]
    bin_edges: np.ndarray
    occupied: np.ndarray


@dataclass(frozen=True)
class Walk:
    """The states one chain of the sampler visited.

    Attributes
    ----------
    values
        Distinct states from the start to the end, ``(S, T, C)``, original units.
    levels
        ``log p/q`` of each state, ``(S,)``, nats.
    steps
        Move number at which each state was entered, ``(S,)``.
    donors
        Training window that supplied each time step of each state, ``(S, T)``.
    """

    values: np.ndarray
    levels: np.ndarray
    steps: np.ndarray
    donors: np.ndarray
