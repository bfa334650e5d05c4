"""The support of a channel: the decimal grid that its values lie on, its bounds."""

from __future__ import annotations

import numpy as np

__all__ = ["bounds", "decimal_resolution", "support", "to_grid"]

BOUND_SHARE = 0.02


def decimal_resolution(values: np.ndarray) -> float:
    """Largest ``q`` of the form 1, 2 or 5 times a power of ten that divides all values.

    Returns 0 where there is none above the precision of float32.
    """
    distinct = np.unique(values)
    noise = 4 * np.finfo(np.float32).eps * max(np.abs(distinct).max(), 1e-30)
    for exponent in range(6, -10, -1):
        for factor in (5, 2, 1):
            step = factor * 10.0**exponent
            if step < 20 * noise:
                return 0.0
            if np.abs(distinct - step * np.round(distinct / step)).max() <= noise:
                return step
    return 0.0


def bounds(distinct: np.ndarray, shares: np.ndarray) -> tuple[float, float]:
    """Lower and upper bound of a channel, infinite where there is none.

    An end of the range is a bound where more than 2 % of the values sit on it, and zero
    is one of channels without negative, or without positive, values.

    Parameters
    ----------
    distinct, shares
        The distinct values, rising, and their shares, ``(K,)`` each.
    """
    if len(distinct) == 1:
        return float(distinct[0]), float(distinct[0])
    first, last = float(distinct[0]), float(distinct[-1])
    low = first if shares[0] > BOUND_SHARE else (0.0 if first >= 0 else -np.inf)
    high = last if shares[-1] > BOUND_SHARE else (0.0 if last <= 0 else np.inf)
    return low, high


def support(values: np.ndarray) -> tuple[float, float]:
    """The :func:`bounds` of the values of a channel, of any shape."""
    distinct, counts = np.unique(values, return_counts=True)
    return bounds(distinct, counts / counts.sum())


def to_grid(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """``values`` on the decimal grid of the ``known`` ones, if these lie on one."""
    step = decimal_resolution(known)
    return step * np.round(values / step) if step else values
