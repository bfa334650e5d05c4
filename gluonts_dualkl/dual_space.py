"""The 1-D dual space: training series on the line of their levels."""

from __future__ import annotations

import numpy as np

from gluonts_dualkl.clustering import cluster_levels, jaccard_stability
from gluonts_dualkl.types import Cluster, DualSpace

__all__ = ["embed"]

BAND = (0.025, 0.975)


def embed(levels: np.ndarray, seed: int = 0) -> DualSpace:
    """Band, occupied bins, clusters and gaps of levels ``s = log p/q``.

    Parameters
    ----------
    levels
        Cross-fitted level of every training series, ``(N,)``, nats.
    seed
        Seed of the bootstraps behind the number of clusters and their stability.
    """
    levels = np.asarray(levels, np.float64)
    cuts, bandwidth = cluster_levels(levels, seed)
    stability = jaccard_stability(levels, cuts, bandwidth, seed)
    labels = np.digitize(levels, cuts)
    clusters = []
    for k, stable in enumerate(stability):
        members = np.flatnonzero(labels == k)
        members = members[np.argsort(levels[members])]
        low, high = levels[members[0]], levels[members[-1]]
        clusters.append(Cluster(members, float(low), float(high), float(stable)))
    edges = np.histogram_bin_edges(levels, "fd")
    low, high = np.quantile(levels, BAND)
    return DualSpace(
        levels=levels,
        band=(float(low), float(high)),
        clusters=tuple(clusters),
        gaps=tuple((a.upper, b.lower) for a, b in zip(clusters, clusters[1:])),
        bin_edges=edges,
        occupied=np.histogram(levels, edges)[0] > 0,
    )
