"""What synthetic series are worth to a linear forecaster.

Reference: Kollovieh et al. (NeurIPS 2023) for the linear predictive score.
"""

from __future__ import annotations

import numpy as np

from gluonts_dualkl.evaluation.features import ChannelScaler
from gluonts_dualkl.evaluation.metrics._common import equal_size

__all__ = ["linear_predictive_ratio"]


def _pairs(x: np.ndarray, num_lags: int) -> tuple[np.ndarray, np.ndarray]:
    """Lagged rows ``(m, num_lags * C + 1)`` and next values ``(m, C)``."""
    windows = np.lib.stride_tricks.sliding_window_view(x, num_lags + 1, axis=1)
    past = windows[..., :-1].reshape(-1, x.shape[2] * num_lags)
    return np.column_stack([past, np.ones(len(past))]), windows[..., -1].reshape(
        -1, x.shape[2]
    )


def _ridge(x: np.ndarray, num_lags: int, penalty: float) -> np.ndarray:
    past, following = _pairs(x, num_lags)
    gram = past.T @ past + penalty * np.eye(past.shape[1])
    return np.linalg.solve(gram, past.T @ following)


def linear_predictive_ratio(
    real: np.ndarray,
    synthetic: np.ndarray,
    train: np.ndarray,
    seed: int = 0,
    penalty: float = 1.0,
) -> float:
    """One-step error on held-out series, trained on synthetic over trained on train.

    A ridge regression of all channels on min(8, T/2) lags of all channels; mean
    absolute error in channel deviations, training sets of equal size. 1 is nominal;
    smoothing can lower it below, so only the high side counts.
    """
    num_lags = min(8, real.shape[1] // 2)
    scale = ChannelScaler(train)
    ours, own = equal_size(scale(synthetic), scale(train), seed=seed)
    past, following = _pairs(scale(real), num_lags)
    errors = [
        np.abs(past @ _ridge(x, num_lags, penalty) - following).mean()
        for x in (ours, own)
    ]
    return float(errors[0] / max(errors[1], 1e-12))
