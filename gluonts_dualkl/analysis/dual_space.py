"""The 1-D dual space: training series on the line of their levels."""

from __future__ import annotations

import numpy as np

from gluonts_dualkl.analysis.cuts import cut_tree
from gluonts_dualkl.analysis.group_divergence import principal_features
from gluonts_dualkl.critics.linear import StatisticsFeatures
from gluonts_dualkl.models.base import PathModel
from gluonts_dualkl.types import Cluster, DualSpace

__all__ = ["dual_features", "embed"]

BAND = (0.025, 0.975)


def embed(levels: np.ndarray, features: np.ndarray, seed: int = 0) -> DualSpace:
    """Band, occupied bins, clusters and gaps of levels ``s = log p/q``.

    Parameters
    ----------
    levels
        Cross-fitted level of every training series, ``(N,)``, nats.
    features
        What clusters have to differ in besides the level, ``(N, K)``; see
        :func:`~gluonts_dualkl.analysis.cuts.cut_tree`.
    seed
        Seed of the draws behind the number of clusters and their stability.
    """
    levels = np.asarray(levels, np.float64)
    leaves = cut_tree(levels, features, seed=seed).leaves()
    edges = np.histogram_bin_edges(levels, "fd")
    low, high = np.quantile(levels, BAND)
    return DualSpace(
        levels=levels,
        band=(float(low), float(high)),
        clusters=tuple(
            Cluster(leaf.members, leaf.lower, leaf.upper, leaf.stability)
            for leaf in leaves
        ),
        gaps=tuple((a.upper, b.lower) for a, b in zip(leaves, leaves[1:])),
        bin_edges=edges,
        occupied=np.histogram(levels, edges)[0] > 0,
    )


def dual_features(model: PathModel, num_components: int = 6) -> np.ndarray:
    """Features of the training series to cut the dual space by, ``(N, K)``.

    Principal components of their statistics (see
    :mod:`gluonts_dualkl.laws.statistics`), standardised, without the squares.
    """
    phi = StatisticsFeatures.fit(model.marginals, model.train)(model.train)
    table = phi[:, : phi.shape[1] // 2].double().cpu().numpy()
    return principal_features(table, num_components)
