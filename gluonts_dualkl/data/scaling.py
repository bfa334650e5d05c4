"""Scaling of single windows: levels that differ by orders of magnitude, and prices.

A window ``x`` of ``T`` steps by ``C`` channels becomes a scaled window and one number a
channel, from which it can be computed again:

- ``"none"``: ``y = x``;
- ``"mean"``: ``y_t = x_t / s`` with ``s = mean_t |x_t|``, 1 where that is zero (the
  mean scaling of DeepAR, Salinas et al. 2020);
- ``"returns"``: ``y_t = log x_t - log x_{t-1}`` for ``t = 2..T`` and ``s = x_1``, so
  that every path that comes back is positive.
"""

from __future__ import annotations

import numpy as np

__all__ = ["SCALINGS", "scale_windows", "unscale_windows"]

SCALINGS = ("none", "mean", "returns")
LARGEST_LOG = 80.0


def scale_windows(values: np.ndarray, scaling: str) -> tuple[np.ndarray, np.ndarray]:
    """Scaled windows and their scales.

    Parameters
    ----------
    values
        Windows ``(N, T, C)`` in original units; NaN is missing and stays NaN.
    scaling
        One of :data:`SCALINGS`.

    Returns
    -------
    tuple
        Windows ``(N, T', C)``, float32, with ``T' = T - 1`` for returns and else ``T``,
        and scales ``(N, C)``.

    Raises
    ------
    ValueError
        For returns of values that are not all positive, and an unknown scaling.
    """
    x = np.asarray(values, np.float64)
    if scaling == "none":
        return np.asarray(values, np.float32), np.ones(x[:, 0].shape, np.float32)
    if scaling == "mean":
        counts = (~np.isnan(x)).sum(1)
        totals = np.nansum(np.abs(x), axis=1)
        means = np.divide(totals, counts, out=np.zeros_like(totals), where=counts > 0)
        scales = np.where(means > 0, means, 1.0)
        return (x / scales[:, None]).astype(np.float32), scales.astype(np.float32)
    if scaling == "returns":
        _check_positive(x)
        returns = np.diff(np.log(x), axis=1)
        return returns.astype(np.float32), x[:, 0].astype(np.float32)
    raise ValueError(f"scaling is {scaling!r}; choose from {', '.join(SCALINGS)}.")


def unscale_windows(scaled: np.ndarray, scales: np.ndarray, scaling: str) -> np.ndarray:
    """Windows in original units, ``(n, T, C)``, the inverse of :func:`scale_windows`.

    Parameters
    ----------
    scaled
        Windows ``(n, T', C)``.
    scales
        Their scales ``(n, C)``.
    scaling
        One of :data:`SCALINGS`.
    """
    if scaling == "none":
        return scaled
    scales = np.asarray(scales, np.float64)[:, None]
    if scaling == "mean":
        return (scaled * scales).astype(np.float32)
    paths = np.cumsum(np.asarray(scaled, np.float64), axis=1)
    start = np.zeros_like(paths[:, :1])
    logs = np.log(scales) + np.concatenate([start, paths], axis=1)
    return np.exp(logs.clip(-LARGEST_LOG, LARGEST_LOG)).astype(np.float32)


def _check_positive(x: np.ndarray) -> None:
    low = np.argwhere(~(np.nan_to_num(x, nan=1.0) > 0))
    if len(low):
        series, step, channel = low[0]
        raise ValueError(
            f"scaling 'returns' needs positive values, and window {series} is "
            f"{x[series, step, channel]:g} at step {step}, channel {channel}; use "
            "scaling 'mean' or 'none', or leave the channel out."
        )
