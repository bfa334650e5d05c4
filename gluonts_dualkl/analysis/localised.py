"""Local divergences: between neighbours on the line of levels, and inside groups.

The second reading of localised estimation in arXiv 2404.07377, of which only the
summary was at hand: a dual function between the ``k`` series below and the ``k`` series
above a position of the sorted dual space. It is large where the law changes and refines
the boundaries of clusters. The critic here is a ridge-penalised logistic regression on
features, all positions at once, and what is reported is cross-fitted:

    ln 2 - (balanced held-out log-loss)   nats,

in expectation a lower bound of the Jensen-Shannon divergence of the two groups, at most
ln 2. At small ``k`` a critic separates anything, and even in one bell neighbours differ
smoothly because they were sorted; so a position is believed only where the divergence
passes what draws with one mode of levels reach anywhere (see
:func:`~gluonts_dualkl.analysis.group_divergence.draw_unimodal`). Critic, bound and null
are our construction.

The first reading, hard negatives for a critic, is :func:`local_permutation`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from gluonts_dualkl.analysis.group_divergence import (
    check_table,
    draw_unimodal,
    unimodal_bandwidth,
)

__all__ = [
    "LocalDivergences",
    "local_permutation",
    "neighbour_divergences",
    "refine_cuts",
]

LN2 = float(np.log(2))
RIDGE = 0.1
NEWTON_STEPS = 8
MAX_POSITIONS = 80
MIN_NEIGHBOURS = 8
REPEATS = 4


@dataclass(frozen=True)
class LocalDivergences:
    """Divergence between neighbours at positions of the sorted dual space.

    Attributes
    ----------
    positions
        Levels halfway between the groups below and above, rising, ``(M,)``, nats.
    nats
        Cross-fitted local divergence, ``(M,)``, at most ``ln 2``; negative where the
        critic found nothing that holds.
    standard_error
        Standard error of ``nats`` over the held-out series, ``(M,)``.
    threshold
        The 95 % quantile, over draws with one mode, of the largest local divergence
        anywhere, nats; infinite where no draws were asked for.
    k
        Series in each group.
    """

    positions: np.ndarray
    nats: np.ndarray
    standard_error: np.ndarray
    threshold: float
    k: int

    @property
    def believed(self) -> np.ndarray:
        """Where the divergence passes the null, ``(M,)`` bool."""
        return self.nats > self.threshold


def neighbour_divergences(
    levels: np.ndarray,
    features: np.ndarray,
    k: int = 20,
    folds: int = 5,
    generator: torch.Generator | None = None,
    num_replicates: int = 39,
) -> LocalDivergences:
    """Divergence between the ``k`` series below and above each position.

    Parameters
    ----------
    levels
        ``(N,)``, nats.
    features
        ``(N, K)``, a row a series, without the level itself.
    k
        Series in each group, from 8 to ``N / 2``.
    folds
        Folds of the cross-fitting, at least 2.
    generator
        Source of folds and null draws; its device is that of the computation. Seed 0
        on the CPU by default.
    num_replicates
        Draws of the null law; 0 leaves the threshold infinite.

    Raises
    ------
    ValueError
        For arguments of the wrong shape or range.
    """
    levels, features = check_table(levels, features)
    _check_sizes(len(levels), k, folds)
    if generator is None:
        generator = torch.Generator().manual_seed(0)
    positions, nats, errors = _scan(levels, features, k, folds, generator)
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    rng = np.random.default_rng(seed)
    bandwidth = unimodal_bandwidth(levels) if num_replicates else 0.0
    largest = []
    for _ in range(num_replicates):
        drawn = draw_unimodal(levels, features, rng, bandwidth=bandwidth)
        largest.append(_scan(*drawn, k, folds, generator)[1].max())
    threshold = float(np.quantile(largest, 0.95)) if largest else np.inf
    return LocalDivergences(positions, nats, errors, threshold, k)


def refine_cuts(
    cuts: np.ndarray,
    levels: np.ndarray,
    features: np.ndarray,
    k: int = 20,
    folds: int = 5,
    generator: torch.Generator | None = None,
) -> np.ndarray:
    """Move each cut to the nearest local maximum of the local divergence.

    Uphill from where it stands, past neither ``k`` series nor half the way to the next
    cut, on the divergence at every position, averaged over four draws of the folds and
    smoothed over ``k / 5`` positions on either side.

    Parameters
    ----------
    cuts
        Rising cuts, ``(c,)``, nats.
    levels, features, k, folds, generator
        As in :func:`neighbour_divergences`.

    Returns
    -------
    Rising cuts ``(c,)``, nats.
    """
    levels, features = check_table(levels, features)
    cuts = np.asarray(cuts, np.float64)
    if cuts.ndim != 1 or (np.diff(cuts) <= 0).any():
        raise ValueError(f"cuts is {cuts.tolist()}; give rising levels, (c,).")
    if not len(cuts):
        return cuts
    _check_sizes(len(levels), k, folds)
    if generator is None:
        generator = torch.Generator().manual_seed(0)
    scans = [
        _scan(levels, features, k, folds, generator, len(levels))[:2]
        for _ in range(REPEATS)
    ]
    positions = scans[0][0]
    ranks = np.searchsorted(np.sort(levels), positions)
    own = np.searchsorted(np.sort(levels), cuts)
    middles = np.concatenate([[-np.inf], 0.5 * (own[1:] + own[:-1]), [np.inf]])
    half = max(1, k // 5)
    kernel = 1.0 + half - np.abs(np.arange(-half, half + 1))
    mean = np.pad(np.mean([nats for _, nats in scans], 0), half, mode="edge")
    height = np.convolve(mean, kernel / kernel.sum(), "valid")
    refined = []
    for cut, rank, low, high in zip(cuts, own, middles, middles[1:]):
        near = (np.abs(ranks - rank) <= k) & (ranks > low) & (ranks < high)
        refined.append(_climb(cut, rank, ranks, height, positions, near))
    return np.array(refined)


def local_permutation(
    z: Tensor, neighbours: Tensor, generator: torch.Generator
) -> Tensor:
    """Recombine pixels inside neighbourhoods: hard negatives of a localised critic.

    Pixel ``(t, c)`` of row ``i`` comes from a random one of the neighbours of ``i``,
    each pixel independently: a draw of the product of the marginals of that
    neighbourhood.

    Parameters
    ----------
    z
        Series ``(N, T, C)``.
    neighbours
        Indices of the ``k`` nearest rows of each, itself included if it shall
        contribute, ``(n, k)``.
    generator
        Source of the choices, on the device of ``z``.

    Returns
    -------
    ``(n, T, C)``.
    """
    if z.ndim != 3:
        raise ValueError(f"z has shape {tuple(z.shape)}; give series (N, T, C).")
    if neighbours.ndim != 2 or not neighbours.shape[1]:
        raise ValueError(
            f"neighbours has shape {tuple(neighbours.shape)}; give the indices of at "
            "least one neighbour a row, (n, k)."
        )
    if len(neighbours) and not 0 <= int(neighbours.min()) <= int(
        neighbours.max()
    ) < len(z):
        raise ValueError(
            f"neighbours has indices from {int(neighbours.min())} to "
            f"{int(neighbours.max())}; z has rows 0 to {len(z) - 1}."
        )
    rows, k = neighbours.shape
    length, channels = z.shape[1:]
    pick = torch.randint(
        k, (rows, length * channels), generator=generator, device=z.device
    )
    return (
        z.reshape(len(z), -1)
        .gather(0, neighbours.gather(1, pick))
        .reshape(rows, length, channels)
    )


def _check_sizes(num_series: int, k: int, folds: int) -> None:
    if not MIN_NEIGHBOURS <= k <= num_series // 2:
        raise ValueError(
            f"k is {k}; with {num_series} series it must be from {MIN_NEIGHBOURS} to "
            f"{num_series // 2}."
        )
    if not 2 <= folds <= k:
        raise ValueError(f"folds is {folds}; it must be from 2 to k = {k}.")


def _scan(
    levels: np.ndarray,
    features: np.ndarray,
    k: int,
    folds: int,
    generator: torch.Generator,
    max_positions: int = MAX_POSITIONS,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions, local divergences and standard errors, ``(M,)`` each."""
    order = np.argsort(levels, kind="stable")
    ranked, device = levels[order], generator.device
    table = torch.as_tensor(features[order], dtype=torch.float32, device=device)
    table = (table - table.mean(0)) / (table.std(0) + 1e-6)
    count = min(max_positions, len(levels) - 2 * k + 1)
    places = np.unique(np.linspace(k, len(levels) - k, count).round().astype(int))
    rows = torch.as_tensor(places, device=device)[:, None]
    rows = rows + torch.arange(-k, k, device=device)
    gains = LN2 - _held_out_losses(table[rows], folds, generator)
    positions = 0.5 * (ranked[places - 1] + ranked[places])
    nats, spread = gains.mean(1), gains.std(1, correction=1)
    errors = spread / np.sqrt(2 * k)
    return positions, nats.double().cpu().numpy(), errors.double().cpu().numpy()


def _held_out_losses(x: Tensor, folds: int, generator: torch.Generator) -> Tensor:
    """Log-loss of each series by the critic of the other folds, ``(M, 2 k)``.

    ``x`` ``(M, 2 k, K)``, the lower group first.
    """
    k = x.shape[1] // 2
    parts = [
        torch.randperm(k, generator=generator, device=x.device) % folds
        for _ in range(2)
    ]
    fold = torch.cat(parts)
    sign = torch.cat([-torch.ones(k), torch.ones(k)]).to(x)
    table = torch.cat([x, torch.ones_like(x[:, :, :1])], 2)
    kept = (fold != torch.arange(folds, device=x.device)[:, None]).to(x)
    beta = _ridge_logistic(table, sign, kept)
    scores = torch.einsum("mnk,mfk->mnf", table, beta)
    own = scores.gather(2, fold[None, :, None].expand(len(x), -1, 1))[:, :, 0]
    return softplus(-sign * own)


def _ridge_logistic(table: Tensor, sign: Tensor, kept: Tensor) -> Tensor:
    """Newton steps of ``mean softplus(-sign beta . x) + RIDGE/2 |beta|^2``.

    Table ``(M, n, K)`` with the ones last, sign ``(n,)``, rows kept in each fold
    ``(F, n)``. Returns ``(M, F, K)``; the intercept is hardly penalised.
    """
    weight = kept / kept.sum(1, keepdim=True)
    penalty = torch.full_like(table[0, 0], RIDGE)
    penalty[-1] = 1e-4
    beta = table.new_zeros(len(table), len(kept), table.shape[2])
    for _ in range(NEWTON_STEPS):
        margin = sign * torch.einsum("mnk,mfk->mfn", table, beta)
        share = torch.sigmoid(-margin)
        pull = weight * share * sign
        slope = torch.einsum("mfn,mnk->mfk", pull, table) - penalty * beta
        curve = torch.einsum(
            "mfn,mnk,mnl->mfkl", weight * share * (1 - share), table, table
        )
        beta = beta + torch.linalg.solve(curve + torch.diag(penalty), slope)
    return beta


def _climb(
    cut: float,
    rank: int,
    ranks: np.ndarray,
    height: np.ndarray,
    positions: np.ndarray,
    near: np.ndarray,
) -> float:
    """Level of the local maximum of ``height`` uphill from ``rank`` among ``near``."""
    places = np.flatnonzero(near)
    if not len(places):
        return float(cut)
    at = int(places[np.abs(ranks[places] - rank).argmin()])
    while True:
        around = [p for p in (at - 1, at + 1) if p in places and height[p] > height[at]]
        if not around:
            return float(positions[at])
        at = max(around, key=lambda p: height[p])
