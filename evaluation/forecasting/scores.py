"""Errors of quantile forecasts by series: MASE and mean weighted quantile loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["LEVELS", "METRICS", "ErrorScale", "score_forecasts"]

LEVELS = np.arange(1, 10) / 10
METRICS = ("mase", "wql")
_LOWEST = 0.1


def _seasonal_differences(x: np.ndarray, season: int) -> np.ndarray:
    """Mean absolute change over one season, ``(n, C)``; over one step where short."""
    lag = season if season < x.shape[1] else 1
    return np.abs(x[:, lag:] - x[:, :-lag]).mean(1)


@dataclass(frozen=True)
class ErrorScale:
    """What errors are divided by, fixed before any forecast is seen.

    Attributes
    ----------
    change
        Least seasonal change of a channel that MASE divides by, ``(C,)``: a tenth of
        its mean over the training windows. Our construction: the context of a short
        window can be flat by chance, and would otherwise decide the mean.
    level
        Mean absolute value of a channel over the horizons of the test windows,
        ``(C,)``.
    season
        Steps of a season.
    """

    change: np.ndarray
    level: np.ndarray
    season: int

    @classmethod
    def fit(
        cls, train: np.ndarray, test: np.ndarray, horizon: int, season: int
    ) -> ErrorScale:
        """Scales from training windows and the truth of the test horizons."""
        change = _seasonal_differences(train[:, :-horizon], season).mean(0)
        return cls(_LOWEST * change, np.abs(test[:, -horizon:]).mean((0, 1)), season)


def score_forecasts(
    quantiles: np.ndarray, windows: np.ndarray, scale: ErrorScale
) -> dict[str, np.ndarray]:
    r"""MASE and mean weighted quantile loss of every window.

    MASE divides the absolute error of the median by the mean absolute seasonal change
    of the window's own context (Hyndman & Koehler 2006). The weighted quantile loss is
    :math:`2 \sum_t \rho_q(y_t, \hat y_t)` per step, averaged over the levels and
    divided by the mean ``|y|`` of the channel over all test horizons, so that its mean
    over windows is the mean weighted quantile loss of GluonTS. Both are averaged over
    channels; those with a scale of 0 are left out.

    Parameters
    ----------
    quantiles
        Forecasts at :data:`LEVELS`, ``(n, Q, H, C)``.
    windows
        Context and truth, ``(n, T, C)``, the last ``H`` steps being the truth.
    scale
        Scales of the errors.

    Returns
    -------
    dict
        ``mase`` and ``wql``, ``(n,)`` each; NaN where no channel has a scale.

    Raises
    ------
    ValueError
        If the shapes do not fit, or a forecast is not finite.
    """
    num, levels, horizon, channels = quantiles.shape
    if (num, channels) != (len(windows), windows.shape[2]) or levels != len(LEVELS):
        raise ValueError(
            f"quantiles: shape {quantiles.shape} for windows {windows.shape}, expected "
            f"(n, {len(LEVELS)}, H, C)"
        )
    if not np.isfinite(quantiles).all():
        raise ValueError("quantiles: NaN or infinite forecasts")
    past, truth = windows[:, :-horizon], windows[:, -horizon:]
    change = np.maximum(_seasonal_differences(past, scale.season), scale.change)
    median = np.abs(truth - quantiles[:, levels // 2]).mean(1)
    level = LEVELS[:, None, None]
    gap = truth[:, None] - quantiles
    loss = 2 * np.maximum(level * gap, (level - 1) * gap).mean((1, 2))
    return {"mase": _ratio(median, change), "wql": _ratio(loss, scale.level)}


def _ratio(error: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Mean over channels of error / scale, without those of scale 0; ``(n,)``."""
    scale = np.broadcast_to(scale, error.shape)
    used = scale > 0
    shares = np.divide(error, scale, out=np.zeros_like(error), where=used)
    counts = used.sum(1)
    means = shares.sum(1) / np.maximum(counts, 1)
    return np.where(counts > 0, means, np.nan)
