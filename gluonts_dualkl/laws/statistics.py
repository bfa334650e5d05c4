"""Statistics of a series: the features of the linear dual functions.

A linear function of these statistics, with weights shared by all time steps by
construction, can be learned from tens of series where a network over pixels cannot.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["series_statistics"]

EPS = 1e-6
STILL = 1e-3
LIMIT = 50.0


def _autocorrelation(centred: Tensor, scale: Tensor, lag: int) -> Tensor:
    """``mean_t(x_t x_{t-lag}) / var`` by channel, ``(n, C)``."""
    return (centred[:, lag:] * centred[:, :-lag]).mean(1) / scale.square()


def _correlations(centred: Tensor, scale: Tensor) -> Tensor:
    """Correlations of all channel pairs, ``(n, C (C - 1) / 2)``."""
    channels = centred.shape[2]
    if channels < 2:
        return centred.new_empty((len(centred), 0))
    i, j = torch.triu_indices(channels, channels, 1, device=centred.device)
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


def series_statistics(x: Tensor) -> Tensor:
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

    Returns
    -------
    Tensor of shape ``(n, 2 K)``: ``K`` statistics, then their squares.
    """
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
        _correlations(centred, scale),
        _correlations(centred_steps, step_scale),
    ]
    table = torch.cat(columns, 1).clamp(-LIMIT, LIMIT)
    return torch.cat([table, table.square()], 1)
