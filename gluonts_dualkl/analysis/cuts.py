"""Greedy cuts of the sorted levels by divergence between groups, at many scales.

Clusters are contiguous in the level. With the series sorted by level and cut into
``X_1, ..., X_k``, the objective is the sum of divergences between the rest and each
cluster,

    sum_{i < k} D(X_{>i} || X_i)    nats,

which Garg et al. (UAI 2023, "Information theoretic clustering via divergence
maximization among clusters") show to be submodular for the divergence itself, so that
adding the best cut one at a time comes within 1 - 1/e of the best. ``D`` is estimated
here from a few series: by default the KL divergence of two shrunk Gaussians fitted to
features (see :mod:`gluonts_dualkl.analysis.group_divergence`), all candidate cuts at
once from cumulative moments. Any callable on two tables may take its place, a dual
critic for instance. For an estimate the bound is a heuristic. Leave the level itself
out of the features: groups sorted by it differ in it for no other reason.

A cut of the tree needs support, of either kind. The levels may have a valley: one mode
is rejected (Silverman 1981; :mod:`gluonts_dualkl.analysis.modes`), and the cut lies
there. Or the series differ in more than their level. Two halves of one bell always
differ, because they were sorted, so such a cut must gain more, on series that did not
choose it, than the same cut gains on draws of a law with *one* mode: levels from the
kernel density at the critical bandwidth, features carried along. The surrogate and this
null are our construction.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gluonts_dualkl.analysis.group_divergence import (
    MIN_SIZE,
    GaussianDivergence,
    GroupDivergence,
    check_table,
    draw_unimodal,
    smallest_cluster,
    span_divergences,
    unimodal_bandwidth,
)
from gluonts_dualkl.analysis.modes import SIGNIFICANCE, tested_valley, valleys

__all__ = ["CutNode", "cut_tree", "greedy_cuts"]


def greedy_cuts(
    levels: np.ndarray,
    features: np.ndarray,
    num_clusters: int,
    min_share: float = 0.05,
    divergence: GroupDivergence | None = None,
) -> np.ndarray:
    """Cut sorted levels where the summed divergence grows most, one cut at a time.

    Parameters
    ----------
    levels
        ``(N,)``, nats.
    features
        ``(N, K)``, a row a series, few columns: ``principal_features`` of
        :mod:`gluonts_dualkl.analysis.group_divergence`, say.
    num_clusters
        Clusters wanted; fewer come back where the shares leave no room.
    min_share
        Smallest share of the series in a cluster.
    divergence
        ``D(rest features, cluster features)`` in nats; shrunk Gaussian by default.

    Returns
    -------
    Rising cuts ``(k - 1,)``, nats, halfway between neighbouring levels, for
    ``numpy.digitize``.

    Raises
    ------
    ValueError
        For arguments of the wrong shape or range.
    """
    levels, features = check_table(levels, features, min_share)
    if num_clusters < 1:
        raise ValueError(f"num_clusters is {num_clusters}; ask for at least 1.")
    divergence = divergence or GaussianDivergence()
    order = np.argsort(levels, kind="stable")
    ranked, table = levels[order], features[order]
    size = smallest_cluster(min_share, len(levels))
    bounds = [0, len(ranked)]
    while len(bounds) <= num_clusters:
        best, gain = None, -np.inf
        for start, stop in zip(bounds, bounds[1:]):
            places = _places(ranked, start, stop, size)
            if len(places):
                gains = _gains(divergence, table, start, stop, places)
                if gains.max() > gain:
                    gain, best = gains.max(), int(places[gains.argmax()])
        if best is None:
            break
        bounds = sorted([*bounds, best])
    inner = np.array(bounds[1:-1], int)
    return 0.5 * (ranked[inner - 1] + ranked[inner])


def _places(ranked: np.ndarray, start: int, stop: int, size: int) -> np.ndarray:
    """Positions that leave ``size`` series on both sides and split no tie."""
    places = np.arange(start + size, stop - size + 1)
    return places[ranked[places - 1] < ranked[places]] if len(places) else places


def _gains(
    divergence: GroupDivergence,
    table: np.ndarray,
    start: int,
    stop: int,
    places: np.ndarray,
) -> np.ndarray:
    """Growth of the objective by a cut of ``start:stop`` at each place, ``(M,)``."""
    end, ones = len(table), np.ones_like(places)
    lower = np.stack([places, end * ones, start * ones, places], 1)
    gains = span_divergences(divergence, table, lower)
    if stop < end:
        upper = np.stack([stop * ones, end * ones, places, stop * ones], 1)
        whole = np.array([[stop, end, start, stop]])
        gains = gains + span_divergences(divergence, table, upper)
        gains = gains - span_divergences(divergence, table, whole)
    return gains


@dataclass(frozen=True)
class CutNode:
    """A stretch of the sorted levels and how it was cut.

    Attributes
    ----------
    members
        Indices of its series by rising level.
    lower, upper
        Smallest and largest level of its members, nats.
    gain
        Divergence of the upper part from the lower of its best cut, on series that did
        not choose the cut, nats; NaN where the node was too small or too deep to cut.
    threshold
        What the gain has to pass: the 99 % quantile of the same gain under one mode.
    bandwidth
        Bandwidth, nats, at which the levels have the valley that was cut; NaN where
        the cut is no valley.
    stability
        Mean best Jaccard overlap over bootstrap resamples, in [0, 1] (Hennig 2007).
    children
        The two parts of a cut that held-out series support, else nothing.
    """

    members: np.ndarray
    lower: float
    upper: float
    gain: float
    threshold: float
    stability: float
    children: tuple[CutNode, ...] = ()
    bandwidth: float = np.nan

    def nodes(self) -> list[CutNode]:
        """The node and all below it, each before its children."""
        return [self, *(node for child in self.children for node in child.nodes())]

    def leaves(self) -> list[CutNode]:
        """The clusters, by rising level."""
        return [node for node in self.nodes() if not node.children]


def cut_tree(
    levels: np.ndarray,
    features: np.ndarray,
    max_clusters: int = 8,
    min_share: float = 0.05,
    divergence: GroupDivergence | None = None,
    seed: int = 0,
    num_replicates: int = 199,
    num_resamples: int = 50,
) -> CutNode:
    """Halve the levels again and again, for 2, 4, 8, ... clusters, where data allow.

    Each node is cut at a valley of its levels or else where the divergence of the upper
    part from the lower is largest; the latter stays if its cross-fitted gain passes
    what draws with one mode gain (``draw_unimodal`` of
    :mod:`gluonts_dualkl.analysis.group_divergence`), level 0.01 a node.
    Stability comes from bootstrap resamples that are cut anew and held to the same
    thresholds.

    Parameters
    ----------
    levels, features, min_share, divergence
        As in :func:`greedy_cuts`.
    max_clusters
        Most leaves, rounded down to a power of two.
    seed
        Seed of halves, null draws and resamples.
    num_replicates
        Null draws of each node, at least 99.
    num_resamples
        Bootstrap resamples behind the stability.

    Raises
    ------
    ValueError
        For arguments of the wrong shape or range.
    """
    levels, features = check_table(levels, features, min_share)
    if max_clusters < 1:
        raise ValueError(f"max_clusters is {max_clusters}; ask for at least 1.")
    if num_replicates < 99:
        raise ValueError(
            f"num_replicates is {num_replicates}; give at least 99 for a test at 0.01."
        )
    rng = np.random.default_rng(seed)
    rule = _Rule(
        divergence or GaussianDivergence(),
        smallest_cluster(min_share, len(levels)),
        rng,
    )
    order, depth = np.argsort(levels, kind="stable"), int(np.log2(max_clusters))
    tree = _grow(levels, features, order, depth, rule, num_replicates)
    return _with_stability(tree, levels, features, rule, num_resamples)


@dataclass(frozen=True)
class _Rule:
    """How one stretch is cut in two, and what the cut gains on other series."""

    divergence: GroupDivergence
    size: int
    rng: np.random.Generator

    def valley(self, levels: np.ndarray, bandwidth: float) -> float | None:
        """The valley at a bandwidth that leaves the most even parts; None without."""
        if np.isnan(bandwidth):
            return None
        found = valleys(levels, bandwidth, self.size)
        shares = [abs(float((levels < valley).mean()) - 0.5) for valley in found]
        return float(found[int(np.argmin(shares))]) if shares else None

    def cut(self, levels: np.ndarray, features: np.ndarray, size: int) -> float | None:
        """Level of the best cut; None without room."""
        order = np.argsort(levels, kind="stable")
        ranked, table = levels[order], features[order]
        places = _places(ranked, 0, len(ranked), size)
        if not len(places):
            return None
        gains = _gains(self.divergence, table, 0, len(table), places)
        best = places[gains.argmax()]
        return float(0.5 * (ranked[best - 1] + ranked[best]))

    def gain(
        self, levels: np.ndarray, features: np.ndarray, rows: np.ndarray | None = None
    ) -> float:
        """Mean over both halves of the gain of the cut that the other half chose.

        ``rows`` names the series of each row, so that copies share a half.
        """
        rows = np.arange(len(levels)) if rows is None else rows
        upper = self.rng.permutation(rows.max() + 1)[rows] % 2 > 0
        total, size = 0.0, max(MIN_SIZE, self.size // 2)
        for chosen in (upper, ~upper):
            cut = self.cut(levels[chosen], features[chosen], size)
            if cut is None:
                return 0.0
            table, above = features[~chosen], levels[~chosen] > cut
            if min(above.sum(), (~above).sum()) >= MIN_SIZE:
                total += float(self.divergence(table[above], table[~above]))
        return 0.5 * total


def _grow(
    levels: np.ndarray,
    features: np.ndarray,
    members: np.ndarray,
    depth: int,
    rule: _Rule,
    num_replicates: int,
) -> CutNode:
    """The node of ``members``, by rising level, with everything below it."""
    s, phi = levels[members], features[members]
    node = CutNode(members, float(s[0]), float(s[-1]), np.nan, np.nan, 1.0)
    cut = rule.cut(s, phi, rule.size) if depth and len(s) >= 4 * MIN_SIZE else None
    if cut is None:
        return node
    share = min(0.5, rule.size / len(s))
    bandwidth = unimodal_bandwidth(s, share)
    null = [
        rule.gain(*draw_unimodal(s, phi, rule.rng, share, bandwidth))
        for _ in range(num_replicates)
    ]
    gain, threshold = rule.gain(s, phi), float(np.quantile(null, 1 - SIGNIFICANCE))
    node = replace(node, gain=gain, threshold=threshold)
    valley = tested_valley(s, rule.size, rule.rng)
    if valley is not None:
        cut, bandwidth = valley
        node = replace(node, bandwidth=bandwidth)
    elif gain <= threshold:
        return node
    below = s <= cut
    parts = [
        _grow(levels, features, part, depth - 1, rule, num_replicates)
        for part in (members[below], members[~below])
    ]
    return replace(node, children=tuple(parts))


def _recut(
    node: CutNode,
    levels: np.ndarray,
    features: np.ndarray,
    rows: np.ndarray,
    ends: tuple[float, float],
    rule: _Rule,
) -> list[tuple[float, float]]:
    """Stretches ``(low, high]`` of a resample cut like ``node``, its own first."""
    s, phi = levels[rows], features[rows]
    if np.isnan(node.gain) or len(np.unique(rows)) < 4 * MIN_SIZE:
        return [ends]
    cut = rule.valley(s, node.bandwidth)
    if cut is None:
        cut = rule.cut(s, phi, rule.size)
        if cut is None or rule.gain(s, phi, rows) <= node.threshold:
            return [ends]
    low, high = node.children or (replace(node, gain=np.nan),) * 2
    below = s <= cut
    return [
        ends,
        *_recut(low, levels, features, rows[below], (ends[0], cut), rule),
        *_recut(high, levels, features, rows[~below], (cut, ends[1]), rule),
    ]


def _with_stability(
    tree: CutNode,
    levels: np.ndarray,
    features: np.ndarray,
    rule: _Rule,
    num_resamples: int,
) -> CutNode:
    """The tree with the mean best Jaccard overlap of each node's members.

    The root, which every resample holds, is stable as far as it stays uncut when it is
    a leaf, and trivially when it is not.
    """
    nodes = tree.nodes()
    own = np.zeros((len(nodes), len(levels)), bool)
    for k, node in enumerate(nodes):
        own[k, node.members] = True
    leaf = np.array([not node.children for node in nodes])
    total = np.zeros(len(nodes))
    for _ in range(num_resamples):
        rows = rule.rng.integers(len(levels), size=len(levels))
        spans = _recut(tree, levels, features, rows, (-np.inf, np.inf), rule)
        low, high = np.array(spans).T
        other = (levels > low[:, None]) & (levels <= high[:, None])
        inside = (low[:, None] <= low) & (high <= high[:, None])
        both = (own[:, None] & other).sum(2)
        overlap = both / (own[:, None] | other).sum(2)
        whole = inside.sum(1) == 1  # stretches of the resample that were not cut
        total += np.where(leaf, overlap[:, whole].max(1), overlap.max(1))
    shares = iter(total / max(num_resamples, 1))

    def rebuilt(node: CutNode) -> CutNode:
        share = float(next(shares))
        return replace(
            node, stability=share, children=tuple(map(rebuilt, node.children))
        )

    return rebuilt(tree)
