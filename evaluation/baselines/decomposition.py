"""Trend and season of a training window under remainders drawn anew in blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gluonts_dualkl.evaluation.baselines.base import Baseline
from gluonts_dualkl.evaluation.oracles import balanced_columns, balanced_indices

__all__ = ["StlBootstrap", "find_period"]

_CYCLES = 2
_CORRELATED = 0.3
_SHORTEST = 3
_PLAIN_BLOCK = 8


@dataclass(eq=False)
class StlBootstrap(Baseline):
    """Trend and season of a training window plus a bootstrap of the remainder.

    Every channel of every window is split into trend, season and remainder by STL
    (Cleveland et al. 1990). A draw takes trend and season of a random window, and a
    remainder put together from blocks of consecutive steps, the same in all channels.
    Bergmeir, Hyndman & Benitez (2016), "Bagging exponential smoothing methods using STL
    decomposition and Box-Cox transformation".

    Deviations: no Box-Cox transform; channels are bootstrapped jointly; where windows
    show no period the remainder is what a loess trend leaves. ``pooled`` blocks from
    all windows are our construction: the paper has one series, and so only its own
    remainder. Trend and season are those of a training window, so draws are near copies
    where the remainder is small.

    Parameters
    ----------
    period
        Steps of the season; by default :func:`find_period`, and 1 is no season.
    span
        Share of the window that the loess sees where there is no season.
    block_length
        Steps of a block; by default as in the paper two periods, or 8 without a season,
        at most half a window.
    pooled
        Whether blocks come from the remainders of all windows.
    """

    grid: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"pooled": False},
        {"pooled": True},
        {"pooled": True, "span": 0.9},
    )

    period: int | None = None
    span: float = 0.5
    block_length: int | None = None
    pooled: bool = True

    def _fit(self, windows: np.ndarray, validation: np.ndarray | None) -> None:
        length = windows.shape[1]
        self._check(length)
        self._period = self.period or find_period(windows)
        rows = windows.transpose(0, 2, 1).reshape(-1, length)
        smooth = np.stack([self._smooth(row) for row in rows])
        self._smoothed = smooth.reshape(len(windows), -1, length).transpose(0, 2, 1)
        self._remainder = windows - self._smoothed
        rule = 2 * self._period if self._period > 1 else _PLAIN_BLOCK
        self._block = self.block_length or min(rule, length // 2)

    def _check(self, length: int) -> None:
        if self.period is not None and not 1 <= self.period <= length // _CYCLES:
            raise ValueError(
                f"period: {self.period}, but a season must fit {_CYCLES} times into "
                f"windows of {length} steps; choose 1 to {length // _CYCLES}, or None"
            )
        if not 0 < self.span <= 1:
            raise ValueError(f"span: {self.span}, expected above 0 and at most 1")
        if self.block_length is not None and not 1 <= self.block_length <= length:
            raise ValueError(
                f"block_length: {self.block_length}, expected 1 to {length} steps"
            )

    def _smooth(self, row: np.ndarray) -> np.ndarray:
        """Trend plus season ``(T,)`` of a channel of a window."""
        if np.ptp(row) == 0:
            return row
        if self._period > 1:
            from statsmodels.tsa.seasonal import STL

            parts = STL(row, period=self._period, robust=False).fit()
            return parts.trend + parts.seasonal
        steps = np.arange(len(row), dtype=float)
        span = max(self.span, 4 / len(row))
        from statsmodels.nonparametric.smoothers_lowess import lowess

        return lowess(row, steps, frac=span, it=0, is_sorted=True, return_sorted=False)

    def _sample(self, num_samples: int, rng: np.random.Generator) -> np.ndarray:
        num, length, _ = self._remainder.shape
        chosen = balanced_indices(num, num_samples, rng)
        count = -(-length // self._block) + 1
        starts = rng.integers(length - self._block + 1, size=(num_samples, count, 1))
        steps = (starts + np.arange(self._block)).reshape(num_samples, -1)
        donors = np.broadcast_to(chosen[:, None], (num_samples, count))
        if self.pooled:
            donors = balanced_columns(num, num_samples, count, rng)
        donors = donors.repeat(self._block, axis=1)
        first = rng.integers(self._block, size=(num_samples, 1))
        taken = first + np.arange(length)
        at = [np.take_along_axis(index, taken, axis=1) for index in (donors, steps)]
        return self._smoothed[chosen] + self._remainder[at[0], at[1]]


def find_period(windows: np.ndarray) -> int:
    """Most likely season of windows ``(N, T, C)``, in steps; 1 for none.

    The autocorrelations of all channels of all windows, after a linear trend is taken
    out of each, are averaged; the season is the lag of their highest local maximum from
    3 to half a window, if that is above 0.3 and thereby above the noise. Our rule.
    """
    num, length, channels = windows.shape
    time = np.linspace(-1, 1, length)
    time /= np.sqrt((time**2).sum())
    x = windows - windows.mean(1, keepdims=True)
    x = x - time[:, None] * np.einsum("t,ntc->nc", time, x)[:, None]
    rows = x.transpose(0, 2, 1).reshape(num * channels, length)
    rows = rows[rows.std(1) > 1e-9]
    lags = length // _CYCLES
    if not len(rows) or lags < _SHORTEST + 1:
        return 1
    from statsmodels.tsa.stattools import acf

    mean = np.mean([acf(row, nlags=lags, adjusted=True) for row in rows], axis=0)
    inner = np.arange(_SHORTEST, lags)
    peaks = inner[(mean[inner] > mean[inner - 1]) & (mean[inner] >= mean[inner + 1])]
    if not len(peaks) or mean[peaks].max() < _CORRELATED:
        return 1
    return int(peaks[mean[peaks].argmax()])
