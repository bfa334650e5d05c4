"""The season of a law: after how many steps a window is like itself shifted.

Windows that are cut from a stationary record anywhere have a law that no shift in time
changes: its season is one step. Windows of hours that begin at midnight have a season
of 24 steps, and a panel that is aligned to events (a storm from its birth) has none
that is shorter than the window.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["season_of"]

MIN_SKILL = 0.005
MAX_NUMBERS = 400_000
EPS = 1e-12


def season_of(y: Tensor) -> int:
    r"""Season of series ``y`` ``(N, T, C)``, between 1 and ``T`` steps.

    Three profiles of a series are predicted at each step ``t`` by the mean of the other
    series over all steps that are a multiple of ``p`` away: its levels about its own
    mean, the size of its levels about the mean of the channel, and the size of its
    steps in units of its mean step. With ``SSE_p`` the squared error of a channel, the
    season is the ``p`` in ``{1, ..., T / 2, T}`` with the smallest mean of
    ``SSE_p / SSE_1`` over profiles and channels. It is 1 where no other is better by a
    share of 0.005, so that time tells nothing. Our construction.
    """
    length = y.shape[1]
    if len(y) < 3 or length < 4:
        return length
    y = _thinned(y)
    steps = y.diff(dim=1).abs()
    profiles = (
        y - y.mean(1, keepdim=True),
        (y - y.mean((0, 1))).abs(),
        steps / (steps.mean(1, keepdim=True) + EPS),
    )
    candidates = [*range(1, length // 2 + 1), length]
    errors = torch.stack([_relative_error(profiles, p) for p in candidates])
    best = int((errors / errors[0]).mean(1).argmin())
    if float((errors[best] / errors[0]).mean()) > 1 - MIN_SKILL:
        return 1
    return candidates[best]


def _thinned(y: Tensor) -> Tensor:
    """Every so many of the series, so that the search stays quick, float64."""
    rows = max(3, MAX_NUMBERS // y[0].numel())
    if len(y) > rows:
        y = y[torch.linspace(0, len(y) - 1, rows).long()]
    return y.double()


def _relative_error(profiles: tuple[Tensor, ...], season: int) -> Tensor:
    """Squared errors of every channel of each profile, one after the other."""
    return torch.cat([_left_out_error(v, season) for v in profiles])


def _left_out_error(v: Tensor, season: int) -> Tensor:
    """Squared error of the seasonal means of the other series, by channel, ``(C,)``."""
    n, length, channels = v.shape
    phase = torch.arange(length, device=v.device) % season
    times = torch.bincount(phase, minlength=season).clamp(min=1)[:, None]
    sums = v.new_zeros(n, season, channels).index_add(1, phase, v)
    means = (sums.sum(0) - sums) / ((n - 1) * times)
    explained = 2 * sums * means - times * means.square()
    return v.square().sum((0, 1)) - explained.sum((0, 1)) + EPS
