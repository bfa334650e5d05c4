"""Statistics of a series: the features of the linear dual functions.

A linear function of these statistics, with weights shared by all time steps by
construction, can be learned from tens of series where a network over pixels cannot.

Channel pairs grow with the square of the channels, and the time that a critic takes
with them. Up to ``MAX_PAIRS`` pairs, which is 28 channels, all are looked at; above,
the pairs that correlate most strongly in training, see :func:`strongest_pairs`. The
others are left to the Gaussian leg.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["MAX_PAIRS", "series_statistics", "strongest_pairs"]

EPS = 1e-6
STILL = 1e-3
LIMIT = 50.0
MAX_PAIRS = 400
BLOCK_PIXELS = 2_000_000


def _autocorrelation(centred: Tensor, scale: Tensor, lag: int) -> Tensor:
    """``mean_t(x_t x_{t-lag}) / var`` by channel, ``(n, C)``."""
    return (centred[:, lag:] * centred[:, :-lag]).mean(1) / scale.square()


def _all_pairs(x: Tensor) -> Tensor:
    channels = x.shape[2]
    return torch.triu_indices(channels, channels, 1, device=x.device)


def _correlations(centred: Tensor, scale: Tensor, pairs: Tensor) -> Tensor:
    """Correlations of channel pairs ``(2, P)``, ``(n, P)``."""
    if not pairs.shape[1]:
        return centred.new_empty((len(centred), 0))
    i, j = pairs
    products = torch.einsum("nti,ntj->nij", centred, centred)[:, i, j]
    return products / centred.shape[1] / (scale[:, i] * scale[:, j])


def _step_shape(steps: Tensor, centred: Tensor) -> list[Tensor]:
    """How steps are spread between standing still and jumping, ``(n, C)`` each."""
    size = steps.abs()
    return [
        size.sqrt().mean(1),
        (size + STILL).log().mean(1),
        (size < STILL).float().mean(1),
        centred.pow(3).mean(1),
        (steps.diff(dim=1).square().mean(1) + EPS).log(),
    ]


def _centre(x: Tensor) -> tuple[Tensor, Tensor]:
    centred = x - x.mean(1, keepdim=True)
    return centred, centred.square().mean(1).sqrt() + EPS


def series_statistics(x: Tensor, pairs: Tensor | None = None) -> Tensor:
    """Table of statistics and their squares.

    By channel: mean, log standard deviation of levels and of steps (differences),
    maximum, minimum, end minus start, largest step; mean root and mean log of absolute
    steps, share of steps that stand still, third moment of the steps, log mean square
    of second differences; autocorrelations of levels (lags 1, 2, 4) and of steps (lags
    1, 2). By channel pair: correlation of levels and of steps.

    Parameters
    ----------
    x
        Series, shape ``(n, T, C)``, ``T >= 2``.
    pairs
        Channel pairs to correlate, ``(2, P)``; all ``C (C - 1) / 2`` by default.

    Returns
    -------
    Tensor of shape ``(n, 2 K)``: ``K`` statistics, then their squares.
    """
    pairs = _all_pairs(x) if pairs is None else pairs
    table = torch.cat([_statistics(part, pairs) for part in _blocks(x)])
    table = table.clamp(-LIMIT, LIMIT)
    return torch.cat([table, table.square()], 1)


def strongest_pairs(x: Tensor) -> Tensor | None:
    """The ``MAX_PAIRS`` channel pairs that correlate most strongly in series ``x``.

    By the mean over series ``(N, T, C)`` of the squared correlation within a series, of
    levels plus of steps. Our construction.

    Returns
    -------
    Pairs ``(2, MAX_PAIRS)`` in the order of all pairs; ``None`` where all can be kept.
    """
    channels = x.shape[2]
    if channels * (channels - 1) // 2 <= MAX_PAIRS:
        return None
    pairs = _all_pairs(x)
    strength = x.new_zeros(pairs.shape[1])
    for part in _blocks(x):
        for signal in (part, part.diff(dim=1)):
            strength += _correlations(*_centre(signal), pairs).square().sum(0)
    return pairs[:, strength.topk(MAX_PAIRS).indices.sort().values]


def _blocks(x: Tensor) -> tuple[Tensor, ...]:
    """Rows of ``x`` by blocks of at most ``BLOCK_PIXELS`` pixels, to bound memory."""
    return x.split(max(1, BLOCK_PIXELS // x[0].numel()) if len(x) else 1)


def _statistics(x: Tensor, pairs: Tensor) -> Tensor:
    """The statistics without their squares, ``(n, K)``."""
    steps = x.diff(dim=1)
    centred, scale = _centre(x)
    centred_steps, step_scale = _centre(steps)
    length = x.shape[1]
    columns = [
        x.mean(1),
        scale.log(),
        step_scale.log(),
        x.amax(1),
        x.amin(1),
        x[:, -1] - x[:, 0],
        steps.abs().amax(1),
        *_step_shape(steps, centred_steps),
        *(_autocorrelation(centred, scale, k) for k in (1, 2, 4) if k < length),
        *(
            _autocorrelation(centred_steps, step_scale, k)
            for k in (1, 2)
            if k < length - 1
        ),
        _correlations(centred, scale, pairs),
        _correlations(centred_steps, step_scale, pairs),
    ]
    return torch.cat(columns, 1)
