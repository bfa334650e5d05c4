"""Dual functions that are linear in statistics of a series, and how one is learned.

The dual function of a leg is ``f(x) = w . phi(x)`` with ``phi`` the standardised
statistics of :mod:`gluonts_dualkl.laws.statistics`, up to the constant that the path
fixes. It is learned by penalised logistic regression between draws of the two ends of
the leg,

    min_w  1/2 E_P[softplus(-f)] + 1/2 E_Q[softplus(f)] + penalty / 2 |w|^2,

whose optimum without penalty is ``log p/q`` and whose influence function is bounded.
The penalty is chosen by cross-fitted log-loss, and the result is multiplied by the
slope that calibrates the out-of-fold scores. A leg that held-out data do not support
gets slope zero, which ends a path.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from gluonts_dualkl.laws.marginals import MarginalMap
from gluonts_dualkl.laws.statistics import (
    BLOCK_PIXELS,
    series_statistics,
    strongest_pairs,
)

__all__ = ["Leg", "StatisticsFeatures", "fit_leg", "log_loss"]

PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0)
SLOPES = 20
MAX_SLOPE = 1.5
LIMIT = 8.0
FOLDS = 4


def log_loss(positive: Tensor, negative: Tensor) -> Tensor:
    """Balanced log-loss of scores, nats; ``ln 2`` for scores that say nothing.

    Scores ``(n, ...)`` and ``(m, ...)``; the mean is over the first dimension.
    """
    return 0.5 * (softplus(-positive).mean(0) + softplus(negative).mean(0))


class StatisticsFeatures:
    """Standardised statistics of series given in normal scores.

    Parameters
    ----------
    marginals
        The map that knows the channel scores and the levels of discrete channels.
    mean, scale
        Mean and standard deviation of each statistic over training, ``(K,)``.
    pairs
        Channel pairs that are correlated, ``(2, P)``; all where it is None.
    """

    def __init__(
        self,
        marginals: MarginalMap,
        mean: Tensor,
        scale: Tensor,
        pairs: Tensor | None = None,
    ) -> None:
        self.marginals, self.mean, self.scale = marginals, mean, scale
        self.pairs = pairs

    @classmethod
    def fit(cls, marginals: MarginalMap, z: Tensor) -> StatisticsFeatures:
        """Standardise by the training series ``z``, ``(N, T, C)``.

        Above ``MAX_PAIRS`` channel pairs only the strongest there are correlated, see
        :func:`~gluonts_dualkl.laws.statistics.strongest_pairs`.
        """
        pairs = strongest_pairs(z)
        table = _table(marginals, z, pairs)
        return cls(marginals, table.mean(0), table.std(0, correction=0) + 1e-6, pairs)

    def __call__(self, z: Tensor) -> Tensor:
        """``phi`` of series ``z`` ``(n, T, C)``, shape ``(n, K)``."""
        return self.standardised(_table(self.marginals, z, self.pairs))

    def of_scores(self, scores: Tensor) -> Tensor:
        """``phi`` of channel scores ``(n, T, C)``, differentiable, ``(n, K)``."""
        return self.standardised(series_statistics(scores, self.pairs))

    def standardised(self, table: Tensor) -> Tensor:
        """Standardised statistics, within ``LIMIT``, ``(n, K)``."""
        return ((table - self.mean) / self.scale).clamp(-LIMIT, LIMIT)

    def state(self) -> dict[str, Tensor]:
        """The tensors that the constructor takes; ``pairs`` where they are limited."""
        state = {"mean": self.mean, "scale": self.scale}
        return state if self.pairs is None else {**state, "pairs": self.pairs}


def _table(marginals: MarginalMap, z: Tensor, pairs: Tensor | None) -> Tensor:
    """Statistics of series in normal scores, by blocks of rows, ``(n, K)``."""
    rows = max(1, BLOCK_PIXELS // z[0].numel()) if len(z) else 1
    parts = [
        series_statistics(marginals.channel_scores(x), pairs) for x in z.split(rows)
    ]
    return torch.cat(parts)


@dataclass(frozen=True)
class Leg:
    """A learned dual function ``weights . phi`` before its normalisation.

    Attributes
    ----------
    weights
        ``(K,)``, calibrated by ``slope``.
    held_out_loss
        Cross-fitted log-loss of the calibrated scores, nats.
    slope, penalty
        Calibration slope and ridge penalty chosen by that loss.
    """

    weights: Tensor
    held_out_loss: float
    slope: float
    penalty: float


def _fit_columns(
    features: Tensor, labels: Tensor, weights: Tensor, penalties: Tensor
) -> Tensor:
    """Penalised logistic regressions of one table, a column each.

    Features ``(n, K)``, labels ``(n,)`` in {0, 1}, sample weights ``(n, F)`` with
    columns that sum to one, penalties ``(F,)``. Returns coefficients ``(K + 1, F)``,
    the intercept last and unpenalised.
    """
    table = torch.cat([features, torch.ones_like(features[:, :1])], 1)
    signs = (1 - 2 * labels)[:, None]
    beta = torch.zeros(
        table.shape[1], weights.shape[1], device=table.device, requires_grad=True
    )
    optimizer = torch.optim.LBFGS(
        [beta], max_iter=120, history_size=10, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (weights * softplus(signs * (table @ beta))).sum(0)
        loss = loss + 0.5 * penalties * beta[:-1].square().sum(0)
        total = loss.sum()
        total.backward()
        return total

    optimizer.step(closure)
    return beta.detach()


def fit_leg(
    positive: Tensor, negative: Tensor, generator: torch.Generator, folds: int = FOLDS
) -> Leg:
    """Learn the dual function between two samples of ``phi``.

    Parameters
    ----------
    positive, negative
        Features of draws of the upper and of the lower law, ``(n, K)`` and ``(m, K)``.
    generator
        Source of the random folds.
    folds
        Folds of the cross-fitting.
    """
    device = positive.device
    table = torch.cat([positive, negative])
    labels = torch.cat([torch.ones(len(positive)), torch.zeros(len(negative))])
    labels = labels.to(device)
    fold = torch.cat(
        [
            torch.randperm(len(part), generator=generator, device=device) % folds
            for part in (positive, negative)
        ]
    )
    columns = torch.arange(-1, folds, device=device)
    inside = fold[:, None] != columns
    balance = torch.where(labels[:, None] > 0, inside, 0.0)
    balance = balance / balance.sum(0) + torch.where(
        labels[:, None] > 0, 0.0, inside / (inside * (1 - labels)[:, None]).sum(0)
    )
    penalties = torch.tensor(PENALTIES, device=device)
    fitted = _fit_columns(
        table,
        labels,
        0.5 * balance.repeat(1, len(PENALTIES)),
        penalties.repeat_interleave(folds + 1),
    ).reshape(-1, len(PENALTIES), folds + 1)
    own = fold[:, None].expand(-1, len(PENALTIES))[:, :, None] + 1
    scores = torch.einsum("nk,kpf->npf", table, fitted[:-1]) + fitted[-1]
    scores = scores.gather(2, own)[:, :, 0]
    slopes = torch.linspace(0, MAX_SLOPE, SLOPES + 1, device=device)
    losses = log_loss(
        scores[: len(positive), :, None] * slopes,
        scores[len(positive) :, :, None] * slopes,
    )
    best = int(losses.argmin())
    p, k = divmod(best, len(slopes))
    slope = float(slopes[k])
    return Leg(
        slope * fitted[:-1, p, 0], float(losses[p, k]), slope, float(penalties[p])
    )
