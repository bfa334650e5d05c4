"""What carries the nats: time scales, channels, pixels; and whom a series is like.

Three kinds of statement, all in nats of the log-ratio ``s(x) = log p(x)/q(x)``:

- of the *law*, in closed form from its Gaussian leg: mutual information of whole
  channels, and dependency by time scale on a tree of segments of 1, 2, 4, ... steps;
- of a *series*: its level by leg and by time scale, and how much each pixel carries
  (see :mod:`gluonts_dualkl.analysis.attributions`);
- of its *place*: the nearest real series, and the cluster or gap its level lies in.

:func:`explain` gathers them for a trained generator. The split of the Gaussian leg over
a tree of segments is our construction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gluonts_dualkl.analysis.attributions import (
    attribution,
    attribution_along,
    causal_nats,
    check_series,
    innovation_attribution,
    smooth_log_ratio,
)
from gluonts_dualkl.laws.gaussian import CausalGaussian
from gluonts_dualkl.models.base import sum_legs
from gluonts_dualkl.types import DualSpace

if TYPE_CHECKING:
    from gluonts_dualkl.generator import DualKLGenerator

__all__ = [
    "ChannelDependency",
    "Explanation",
    "NearestReal",
    "attribution",
    "attribution_along",
    "causal_nats",
    "channel_dependency",
    "explain",
    "gap_of",
    "innovation_attribution",
    "log_ratio_by_scale",
    "nats_by_scale",
    "nearest_real",
    "smooth_log_ratio",
]

QUANTILE = 0.05


@dataclass(frozen=True)
class ChannelDependency:
    """Dependency of a Gaussian law over ``(T, C)`` by channels, nats.

    Attributes
    ----------
    within
        Total correlation of the time steps of each channel, ``(C,)``.
    pairs
        Mutual information of two whole channels, ``(C, C)``, zero on the diagonal.
    between
        Total correlation of the whole channels: ``within.sum() + between`` is the
        total correlation of the law.
    """

    within: np.ndarray
    pairs: np.ndarray
    between: float


@dataclass(frozen=True)
class NearestReal:
    """The real series nearest to each of ``n`` series, in normal scores.

    Attributes
    ----------
    indices, distances
        Training series by rising Euclidean distance, ``(n, k)`` each.
    rank
        Share of training series that have a nearer neighbour among the others than the
        first of these, ``(n,)``: 0 is nearer than any two of them, 1 farther.
    reference
        5 %, 50 % and 95 % quantiles of those leave-one-out distances.
    """

    indices: np.ndarray
    distances: np.ndarray
    rank: np.ndarray
    reference: tuple[float, float, float]


@dataclass(frozen=True)
class Explanation:
    """What a generator says of ``n`` series.

    Attributes
    ----------
    levels
        ``log p/q`` of each, ``(n,)``, nats.
    by_leg
        The same by leg of the path, ``(n,)`` each, adding up to ``levels``.
    by_scale
        The log-ratio of the Gaussian leg by length in steps of the segments that it
        joins, ``(n,)`` each.
    attribution
        Nats that each pixel carries, ``(n, T, C)``: its conditional density under the
        Gaussian leg, plus what its innovation brings the learned legs; zero for
        constant channels.
    baseline
        Mean over draws of the Gaussian leg of what the learned legs add, nats.
    remainder
        What is left of the level beside baseline and attribution, ``(n,)``, nats: jumps
        of the statistics (steps that stand still), which no gradient sees.
    nearest
        The nearest training series.
    item_ids
        Their names, a tuple a series.
    places
        Cluster or gap of each level, see :func:`gap_of`.
    """

    levels: np.ndarray
    by_leg: dict[str, np.ndarray]
    by_scale: dict[int, np.ndarray]
    attribution: np.ndarray
    baseline: float
    remainder: np.ndarray
    nearest: NearestReal
    item_ids: tuple[tuple[str, ...], ...]
    places: tuple[str, ...]


def channel_dependency(law: CausalGaussian) -> ChannelDependency:
    """Dependency of whole channels over the window, in closed form.

    ``I(i; j) = 1/2 (ln |S_ii| + ln |S_jj| - ln |S_ij|)`` with ``S`` the covariances of
    all steps of one or of both channels.
    """
    length, channels = law.factors.shape[:2]
    covariance = law.covariance().reshape(length, channels, length, channels)
    blocks = covariance.permute(1, 3, 0, 2)  # (C, C, T, T)
    single = torch.stack([blocks[c, c] for c in range(channels)])
    logs = torch.linalg.slogdet(single).logabsdet
    log_variances = single.diagonal(dim1=1, dim2=2).log().sum(1)
    joint = blocks.permute(0, 2, 1, 3).reshape(channels * length, -1)
    between = 0.5 * (logs.sum() - torch.linalg.slogdet(joint).logabsdet)
    pairs = torch.zeros(channels, channels, dtype=logs.dtype)
    if channels > 1:
        i, j = torch.triu_indices(channels, channels, 1, device=logs.device)
        rows = (blocks[i, i], blocks[i, j]), (blocks[j, i], blocks[j, j])
        both = torch.cat([torch.cat(row, 2) for row in rows], 1)
        nats = 0.5 * (logs[i] + logs[j] - torch.linalg.slogdet(both).logabsdet)
        pairs[i.cpu(), j.cpu()] = pairs[j.cpu(), i.cpu()] = nats.cpu()
    within = 0.5 * (log_variances - logs)
    return ChannelDependency(within.cpu().numpy(), pairs.numpy(), float(between))


def nats_by_scale(law: CausalGaussian) -> dict[int, float]:
    """Total correlation of the law by time scale, nats.

    Under 1 the dependency of the channels inside a step; under 2, 4, ... what joining
    two neighbouring segments of half that length adds, summed over the window; the last
    is the whole window. The values sum to ``law.total_correlation()``.
    """
    covariance = law.covariance()
    entropy = 0.5 * covariance.diagonal().log().sum()
    nats = {}
    for size, blocks in _segments(*law.factors.shape[:2]):
        logs = [torch.linalg.slogdet(covariance[b, b]).logabsdet for b in blocks]
        joined = 0.5 * torch.stack(logs).sum()
        nats[size] = float(entropy - joined)
        entropy = joined
    return nats


def log_ratio_by_scale(law: CausalGaussian, z: Tensor) -> dict[int, Tensor]:
    """``law.log_ratio(z)`` by time scale, ``(n,)`` each, nats.

    The pointwise values whose means under the law are those of :func:`nats_by_scale`.
    """
    covariance = law.covariance()
    flat = z.to(covariance).reshape(len(z), -1)
    variances = covariance.diagonal()
    before = -0.5 * (flat.square() / variances + variances.log()).sum(1)
    nats = {}
    for size, blocks in _segments(*law.factors.shape[:2]):
        density = torch.zeros_like(before)
        for block in blocks:
            factor = torch.linalg.cholesky(covariance[block, block])
            white = torch.linalg.solve_triangular(factor, flat[:, block].T, upper=False)
            density -= 0.5 * white.square().sum(0) + factor.diagonal().log().sum()
        nats[size] = density - before
        before = density
    return nats


def _segments(length: int, channels: int) -> list[tuple[int, list[slice]]]:
    """Segments of 1, 2, 4, ... steps as slices of the pixels, the whole window last."""
    sizes = [1]
    while sizes[-1] < length:
        sizes.append(min(2 * sizes[-1], length))
    return [
        (
            size,
            [
                slice(start * channels, min(start + size, length) * channels)
                for start in range(0, length, size)
            ],
        )
        for size in sizes
    ]


def nearest_real(z: Tensor, train: Tensor, k: int = 3) -> NearestReal:
    """The ``k`` training series nearest to each series, and how near that is.

    Parameters
    ----------
    z, train
        Series ``(n, T, C)`` and ``(N, T, C)`` in normal scores. A training series finds
        itself first.
    k
        Neighbours, from 1 to ``N``.
    """
    check_series("z", z)
    if z.shape[1:] != train.shape[1:]:
        raise ValueError(
            f"z has series of shape {tuple(z.shape[1:])} and train of "
            f"{tuple(train.shape[1:])}; give the same steps and channels."
        )
    if not 1 <= k <= len(train) or len(train) < 2:
        raise ValueError(
            f"k is {k} with {len(train)} training series; it must be from 1 to their "
            "number, of at least 2."
        )
    flat, own = z.reshape(len(z), -1).to(train), train.reshape(len(train), -1)
    exact = "donot_use_mm_for_euclid_dist"
    distances, indices = torch.cdist(flat, own, compute_mode=exact).topk(
        k, dim=1, largest=False
    )
    apart = torch.cdist(own, own, compute_mode=exact).fill_diagonal_(torch.inf)
    reference = apart.amin(1)
    rank = (reference < distances[:, :1]).double().mean(1)
    levels = torch.tensor([QUANTILE, 0.5, 1 - QUANTILE]).to(reference)
    low, middle, high = reference.quantile(levels).tolist()
    return NearestReal(
        indices.cpu().numpy(),
        distances.cpu().numpy(),
        rank.cpu().numpy(),
        (low, middle, high),
    )


def gap_of(level: float, space: DualSpace) -> str:
    """The cluster or the gap that a level lies in, in words, clusters numbered from 1.

    ``"cluster 2"``, ``"gap between clusters 1 and 2"``, ``"below all clusters"`` or
    ``"above all clusters"``.
    """
    if not np.isfinite(level):
        raise ValueError(f"level is {level}; give a finite number of nats.")
    for number, cluster in enumerate(space.clusters, 1):
        if level < cluster.lower:
            between = f"gap between clusters {number - 1} and {number}"
            return between if number > 1 else "below all clusters"
        if level <= cluster.upper:
            return f"cluster {number}"
    return "above all clusters"


def explain(
    generator: DualKLGenerator, values: np.ndarray, k: int = 3, seed: int = 0
) -> Explanation:
    """Explain series by a trained generator.

    Levels are those of the fitted model; for training series, which it has seen, they
    are higher than the cross-fitted levels of the dual space.

    Parameters
    ----------
    generator
        A trained generator.
    values
        Series ``(n, T, C)``, original units, finite.
    k
        Nearest real series to name.
    seed
        Seed of the Gaussian draws that the attribution starts from.
    """
    x = np.asarray(values, np.float32)
    expected = (generator.length, generator.num_channels)
    if x.ndim != 3 or x.shape[1:] != expected or not np.isfinite(x).all():
        raise ValueError(
            f"values has shape {x.shape}; give finite series of shape (n, "
            f"{expected[0]}, {expected[1]}) in original units."
        )
    model, preparation = generator.model, generator.preparation
    scaled = torch.as_tensor(preparation.forward(x), device=model.train.device)
    z = model.marginals.to_normal(scaled)
    ratios = model.log_ratio_of_scores(z)
    smooth, device = smooth_log_ratio(model), model.train.device

    def learned(scores: Tensor) -> Tensor:
        return sum_legs(smooth(scores)) - model.gaussian.log_ratio(scores)

    draw = torch.Generator(device).manual_seed(seed)
    rest, baseline = innovation_attribution(learned, model.gaussian, z, draw)
    carried = causal_nats(model.gaussian, z) + rest
    levels = sum_legs(ratios)
    pixels = np.zeros(x.shape)
    first = x.shape[1] - z.shape[1]  # returns have no first step
    pixels[:, first:, preparation.varying] = carried.cpu().numpy()
    nearest = nearest_real(z, model.train, k)
    space, names = generator.dual_space(), generator.windows.item_ids
    return Explanation(
        levels=levels.cpu().numpy(),
        by_leg={name: nats.cpu().numpy() for name, nats in ratios.items()},
        by_scale={
            size: nats.cpu().numpy()
            for size, nats in log_ratio_by_scale(model.gaussian, z).items()
        },
        attribution=pixels,
        baseline=baseline,
        remainder=(levels - baseline - carried.sum((1, 2))).cpu().numpy(),
        nearest=nearest,
        item_ids=tuple(tuple(names[i] for i in row) for row in nearest.indices),
        places=tuple(gap_of(level, space) for level in levels.tolist()),
    )
