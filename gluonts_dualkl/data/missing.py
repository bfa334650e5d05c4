"""Missing values: filled within a series before the model sees them."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd

from gluonts_dualkl.data.grids import to_grid

__all__ = ["fill_missing", "interpolate_missing"]

logger = logging.getLogger(__name__)


def fill_missing(values: np.ndarray) -> np.ndarray:
    """Fill NaN by linear interpolation in time, ends by the nearest observed value.

    As :func:`interpolate_missing`; the filled share is logged as a warning.

    Parameters
    ----------
    values
        ``(N, T, C)``; NaN is missing. Every channel is observed somewhere.
    """
    missing = np.isnan(values)
    if missing.any():
        logger.warning(
            "%.2g %% of the values are missing and were filled by interpolation in "
            "time",
            100 * missing.mean(),
        )
    return interpolate_missing(values)


def interpolate_missing(values: np.ndarray) -> np.ndarray:
    """Interpolate NaN linearly in time, ends by the nearest observed value.

    A channel with no observed value in a window takes the channel's mean over the
    other windows, step by step where they observe it. What is filled lies on the
    decimal grid of the channel. Interpolated stretches vary less than the data; see
    :mod:`gluonts_dualkl.laws.imputation` for draws.

    Parameters
    ----------
    values
        ``(N, T, C)``; NaN is missing. Every channel is observed somewhere.

    Returns
    -------
    numpy.ndarray
        Complete values, float32; ``values`` itself where nothing is missing.
    """
    missing = np.isnan(values)
    if not missing.any():
        return values
    num_series, length, channels = values.shape
    columns = values.transpose(1, 0, 2).reshape(length, num_series * channels)
    frame = pd.DataFrame(columns).interpolate(limit_direction="both")
    filled = frame.to_numpy().reshape(length, num_series, channels).transpose(1, 0, 2)
    empty = np.isnan(filled)
    if empty.any():
        pooled = pd.DataFrame(_step_means(filled)).interpolate(limit_direction="both")
        filled = np.where(empty, pooled.to_numpy(), filled)
    for c in range(channels):
        known = values[:, :, c][~missing[:, :, c]]
        filled[:, :, c] = to_grid(filled[:, :, c], known)
    return filled.astype(np.float32)


def _step_means(values: np.ndarray) -> np.ndarray:
    """Means over the windows that observe a step, NaN where none does, ``(T, C)``."""
    counts = (~np.isnan(values)).sum(0)
    sums = np.nansum(values, 0, dtype=np.float64)
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
