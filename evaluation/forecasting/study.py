"""Does augmentation help a forecaster? Arms, paired seeds, a gate, and words.

Every seed draws its own training windows; arms of one seed share them, the validation
windows and the seed of the forecaster, so that differences between arms are paired.
An arm with twice as many *real* windows is the gate: where fresh real data do not
help, no generator can be judged by the forecaster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from gluonts_dualkl.evaluation.backends import (
    check_backend,
    one_thread,
    running_backend,
)
from gluonts_dualkl.evaluation.baselines import Baseline
from gluonts_dualkl.evaluation.forecasting.arms import (
    ALONE,
    ARMS,
    CHOSEN,
    OURS,
    Ratios,
    Study,
    check_arms,
    draw_study,
)
from gluonts_dualkl.evaluation.forecasting.fitting import (
    check_horizon,
    check_windows,
    fit_and_score,
)
from gluonts_dualkl.evaluation.forecasting.forecasters import (
    Forecaster,
    make_forecaster,
)
from gluonts_dualkl.evaluation.forecasting.ratio import choose_ratio

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
    "ratio",
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
    ratio: Ratios = 1.0,
    horizon: int | None = None,
    season: int = 1,
    baseline: str = "gaussian_copula",
    generators: Mapping[str, Baseline] | None = None,
    validation_share: float = 0.2,
    jobs: int = 1,
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
        ``"real+ours at chosen ratio"`` chooses by cross-validation in the known
        windows, see :func:`~gluonts_dualkl.evaluation.forecasting.ratio.choose_ratio`.
    seeds
        Number of paired seeds.
    sizes
        Learning curve: numbers of known windows ``n_train``. Those above the pool are
        left out.
    ratio
        Windows added per training window; several make an arm each. Fresh real ones
        are as many as the training windows, whatever the ratio.
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
    jobs
        Processes that share the sizes and seeds; the errors are the same.

    Returns
    -------
    pandas.DataFrame
        :data:`COLUMNS`, one row a forecaster, size, arm, ratio, seed, test window and
        metric (``mase``, ``wql``). ``ratio`` is 0 for real windows alone, 1 for fresh
        ones and NaN where it was chosen. An arm that failed is one row with the failure
        in words.
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
    check_backend("loky", jobs, None)
    horizon = check_horizon(horizon, train)
    arms = check_arms(arms, baseline)
    several = [forecaster] if isinstance(forecaster, str | Forecaster) else forecaster
    models = [make_forecaster(f) if isinstance(f, str) else f for f in several]
    fitting = [size for size in sizes if size <= len(train)]
    if not fitting:
        raise ValueError(
            f"sizes: {list(sizes)}, but train has only {len(train)} windows"
        )
    studies = [
        draw_study(train, size, seed, ratio, validation_share, baseline, generators)
        for size in fitting
        for seed in range(seeds)
    ]
    with running_backend(jobs=jobs):
        tables = Parallel()(
            delayed(_score_models)(models, study, test, arms, horizon, season)
            for study in studies
        )
    return pd.concat(tables, ignore_index=True)


def _score_models(
    models: Sequence[Forecaster], study: Study, test: np.ndarray, *options: Any
) -> pd.DataFrame:
    """All forecasters on the windows of one seed, which share what was drawn."""
    with one_thread():
        return pd.concat([score_arms(m, study, test, *options) for m in models])


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
    for arm, ratio in study.cells(arms):
        known |= {"arm": arm, "ratio": ratio}
        try:
            windows = _training_windows(arm, ratio, study, forecaster, horizon, season)
            scores = fit_and_score(forecaster, windows, study, test, horizon, season)
        except Exception as error:  # one arm of many: the others go on
            failure = " ".join(f"{type(error).__name__}: {error}".split())
            row = {"series": -1, "metric": "", "value": np.nan}
            row |= known | {"num_added": 0, "failure": failure}
            tables.append(pd.DataFrame([row]))
            continue
        real = 0 if arm == ALONE else len(study.train)
        about = known | {"num_real": real, "num_added": len(windows) - real}
        tables += [
            pd.DataFrame(
                {"series": np.arange(len(v)), "metric": metric, "value": v}
            ).assign(failure="", **about)
            for metric, v in scores.items()
        ]
    return pd.concat([table.reindex(columns=COLUMNS) for table in tables])


def _training_windows(
    arm: str,
    ratio: float,
    study: Study,
    forecaster: Forecaster,
    horizon: int,
    season: int,
) -> np.ndarray:
    if arm != CHOSEN:
        return study.windows(arm, ratio)
    known = len(study.train) + len(study.validation)
    choice = choose_ratio(
        np.concatenate([study.train, study.validation]),
        forecaster,
        study.ratios,
        generators=study.generators,
        horizon=horizon,
        season=season,
        validation_share=len(study.validation) / known,
        seed=study.seed,
    )
    return study.windows(OURS, choice.ratio) if choice.ratio else study.train


def _name(forecaster: Forecaster) -> str:
    words = type(forecaster).__name__
    known = {"DeepAR": "deepar", "PatchTST": "patch_tst"}
    snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in words).strip("_")
    return known.get(words, snake)
