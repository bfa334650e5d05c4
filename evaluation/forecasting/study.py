"""Does augmentation help a forecaster? Arms, paired seeds, a gate, and words.

Every seed draws its own training windows; arms of one seed share them, the validation
windows and the seed of the forecaster, so that differences between arms are paired.
An arm with as many further *real* windows is the gate: where fresh real data do not
help, no generator can be judged by the forecaster.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gluonts_dualkl.evaluation.baselines import Baseline
from gluonts_dualkl.evaluation.forecasting.arms import (
    ARMS,
    Study,
    check_arms,
    draw_study,
)
from gluonts_dualkl.evaluation.forecasting.forecasters import (
    Forecaster,
    make_forecaster,
)
from gluonts_dualkl.evaluation.forecasting.scores import ErrorScale, score_forecasts

__all__ = [
    "COLUMNS",
    "check_horizon",
    "check_windows",
    "evaluate_augmentation",
    "fit_and_score",
    "score_arms",
]

COLUMNS = [
    "forecaster",
    "n_train",
    "arm",
    "seed",
    "series",
    "metric",
    "value",
    "num_real",
    "num_added",
    "failure",
]

Forecasters = str | Forecaster | Sequence[str | Forecaster]


def evaluate_augmentation(
    forecaster: Forecasters,
    train: np.ndarray,
    test: np.ndarray,
    *,
    arms: Sequence[str] = ARMS,
    seeds: int = 10,
    sizes: Sequence[int] = (25, 50, 100, 200),
    ratio: float = 1.0,
    horizon: int | None = None,
    season: int = 1,
    baseline: str = "gaussian_copula",
    generators: Mapping[str, Baseline] | None = None,
    validation_share: float = 0.2,
) -> pd.DataFrame:
    """Errors of forecasters on real test windows, by what they were trained on.

    Each seed takes ``n_train`` windows of ``train``, of which a share validates and the
    rest trains generators and forecasters. All arms of a seed share them and the same
    number of gradient steps. Generators see neither validation nor test windows.

    Parameters
    ----------
    forecaster
        Names of :data:`~gluonts_dualkl.evaluation.forecasting.forecasters.FORECASTERS`
        or forecasters, one or several; they are copied before they are fitted.
    train
        Pool of real windows ``(P, T, C)``, original units.
    test
        Real windows ``(n, T, C)`` to forecast, on which nothing was learned.
    arms
        Some of :data:`~gluonts_dualkl.evaluation.forecasting.arms.ARMS`, or
        ``"real+NAME"`` with the name of a generator; ``"real"`` is always there.
    seeds
        Number of paired seeds.
    sizes
        Learning curve: numbers of known windows ``n_train``. Those above the pool are
        left out.
    ratio
        Windows added per training window.
    horizon
        Steps to forecast, by default a quarter of the window.
    season
        Steps of a season, for MASE, the seasonal naive forecast and the lags of DeepAR.
    baseline
        Generator behind ``"real+best baseline"``.
    generators
        Generators with other settings, by name: see
        :class:`~gluonts_dualkl.evaluation.forecasting.arms.Study`.
    validation_share
        Share of the known windows that validates.

    Returns
    -------
    pandas.DataFrame
        :data:`COLUMNS`, one row a forecaster, size, arm, seed, test window and metric
        (``mase``, ``wql``). An arm that failed is one row with the failure in words.
        ``num_added`` is lower than asked for where the pool has no more fresh windows.

    Raises
    ------
    ValueError
        If arguments are out of range, names unknown or shapes do not fit.
    """
    train, test = check_windows(train, "train"), check_windows(test, "test")
    if train.shape[1:] != test.shape[1:]:
        raise ValueError(
            f"test: windows of shape {test.shape[1:]}, but train has {train.shape[1:]}"
        )
    if seeds < 1:
        raise ValueError(f"seeds: {seeds}, expected 1 or more")
    horizon = check_horizon(horizon, train)
    arms = check_arms(arms, baseline)
    several = [forecaster] if isinstance(forecaster, str | Forecaster) else forecaster
    models = [make_forecaster(f) if isinstance(f, str) else f for f in several]
    fitting = [size for size in sizes if size <= len(train)]
    if not fitting:
        raise ValueError(
            f"sizes: {list(sizes)}, but train has only {len(train)} windows"
        )
    tables = []
    for size in fitting:
        for seed in range(seeds):
            study = draw_study(
                train, size, seed, ratio, validation_share, baseline, generators
            )
            tables += [
                score_arms(model, study, test, arms, horizon, season, size)
                for model in models
            ]
    return pd.concat(tables, ignore_index=True)


def score_arms(
    forecaster: Forecaster,
    study: Study,
    test: np.ndarray,
    arms: Sequence[str],
    horizon: int,
    season: int = 1,
    n_train: int | None = None,
) -> pd.DataFrame:
    """Train and score one forecaster in every arm of one seed; see the caller."""
    known: dict[str, Any] = {
        "forecaster": _name(forecaster),
        "n_train": n_train or len(study.train) + len(study.validation),
        "seed": study.seed,
        "num_real": len(study.train),
    }
    tables = []
    for arm in arms:
        try:
            windows = study.windows(arm)
            scores = fit_and_score(forecaster, windows, study, test, horizon, season)
        except Exception as error:  # one arm of many: the others go on
            failure = " ".join(f"{type(error).__name__}: {error}".split())
            row = {"arm": arm, "series": -1, "metric": "", "value": np.nan}
            row |= known | {"num_added": 0, "failure": failure}
            tables.append(pd.DataFrame([row]))
            continue
        real = 0 if arm == "synthetic only" else len(study.train)
        about = known | {"num_real": real, "num_added": len(windows) - real}
        tables += [
            pd.DataFrame(
                {"series": np.arange(len(v)), "metric": metric, "value": v}
            ).assign(arm=arm, failure="", **about)
            for metric, v in scores.items()
        ]
    return pd.concat([table.reindex(columns=COLUMNS) for table in tables])


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


def _name(forecaster: Forecaster) -> str:
    words = type(forecaster).__name__
    known = {"DeepAR": "deepar", "PatchTST": "patch_tst"}
    snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in words).strip("_")
    return known.get(words, snake)


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
