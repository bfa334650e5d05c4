"""One training and its errors, and the checks of windows and horizon."""

from __future__ import annotations

import copy

import numpy as np

from gluonts_dualkl.evaluation.forecasting.arms import Study
from gluonts_dualkl.evaluation.forecasting.forecasters import Forecaster
from gluonts_dualkl.evaluation.forecasting.scores import ErrorScale, score_forecasts

__all__ = ["check_horizon", "check_windows", "fit_and_score"]


def fit_and_score(
    forecaster: Forecaster,
    windows: np.ndarray,
    study: Study,
    test: np.ndarray,
    horizon: int,
    season: int,
) -> dict[str, np.ndarray]:
    """Errors on every test window ``(n,)`` after training on ``windows``."""
    model = copy.deepcopy(forecaster)
    model.fit(windows, study.validation, horizon, season, study.seed)
    quantiles = model.predict(test[:, :-horizon], study.seed)
    # scales of the real windows, the same in all arms
    scale = ErrorScale.fit(study.train, test, horizon, season)
    return score_forecasts(quantiles, test, scale)


def check_horizon(horizon: int | None, windows: np.ndarray) -> int:
    """Steps to forecast, a quarter of the windows by default, or ``ValueError``."""
    length = windows.shape[1]
    if horizon is None:
        return max(length // 4, 1)
    if not 1 <= horizon <= length - 2:
        raise ValueError(
            f"horizon: {horizon}, expected 1 to {length - 2} for windows of {length} "
            "steps"
        )
    return horizon


def check_windows(windows: np.ndarray, name: str) -> np.ndarray:
    """Windows as floats ``(N, T, C)``, or ``ValueError``."""
    x = np.asarray(windows, float)
    if x.ndim != 3 or not len(x) or x.shape[1] < 4:
        raise ValueError(
            f"{name}: shape {x.shape}, expected (N, T, C) with at least 4 steps"
        )
    if not np.isfinite(x).all():
        raise ValueError(f"{name}: NaN or infinite values; drop or fill them first")
    return x
