"""The decimal grid that values of a channel lie on."""

from __future__ import annotations

import numpy as np

__all__ = ["decimal_resolution"]


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
