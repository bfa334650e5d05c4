"""Do no harm: how much synthetic data, if any, a forecaster should be given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gluonts_dualkl.estimator import MIN_SERIES
from gluonts_dualkl.evaluation.baselines import Baseline
from gluonts_dualkl.evaluation.forecasting.arms import Ratios, Study, check_ratios
from gluonts_dualkl.evaluation.forecasting.fitting import (
    check_horizon,
    check_windows,
    fit_and_score,
)
from gluonts_dualkl.evaluation.forecasting.forecasters import (
    Forecaster,
    make_forecaster,
)
from gluonts_dualkl.evaluation.forecasting.scores import METRICS

__all__ = ["RatioChoice", "choose_ratio"]

_FLOOR = 1e-3
_ROUNDING = 1e-9
_LEAST = 4


@dataclass(frozen=True)
class RatioChoice:
    """What :func:`choose_ratio` found.

    Attributes
    ----------
    ratio
        Synthetic windows per real window; 0 for none.
    table
        One row a ratio: ``ratio``, ``log_ratio`` of its error to that of real windows
        alone, ``standard_error``, ``change`` (``exp(log_ratio) - 1``) and
        ``change_of_other``, the same of the metric that was not asked for.
    words
        The finding in words.
    """

    ratio: float
    table: pd.DataFrame
    words: str

    @property
    def worthwhile(self) -> bool:
        """Whether augmentation is worth it."""
        return self.ratio > 0


def choose_ratio(
    data: np.ndarray,
    forecaster: str | Forecaster,
    ratios: Sequence[float] = (0, 1, 2, 4, 8),
    *,
    generator: str = "dualkl",
    generators: Mapping[str, Baseline] | None = None,
    metric: str = "wql",
    num_folds: int = 5,
    horizon: int | None = None,
    season: int = 1,
    num_errors: float = 1.0,
    validation_share: float = 0.2,
    seed: int = 0,
) -> RatioChoice:
    """Choose the ratio of synthetic to real windows by cross-validation.

    In each fold a generator is fitted to the windows outside, and the forecaster is
    trained on these with every ratio of its series and tested on the windows inside.
    A ratio above 0 is chosen only if its gain over real windows alone, the mean
    log-ratio of paired errors, is more than ``num_errors`` standard errors; among those
    the largest gain wins. The standard error is the larger of that over windows and
    that over folds, whose windows share one model. A ratio at which the other metric
    rises in the mean is never chosen: what helps the quantiles may harm the median.

    One standard error lets a useless generator pass now and then, the more often the
    more ratios are tried; the harm that is then done is of the size of the noise. Two
    are stricter. Whatever is asked for, a gain that few windows cannot show is
    forgotten: this does no harm before it does good.

    The default ratios reach 8 because draws are nearly free once the generator is
    fitted, and few of them can be worse than none: a linear forecaster has its largest
    variance where training windows are about as many as its coefficients. Twice to four
    times the real windows came near that on one of our sets, eight times was past it.

    Parameters
    ----------
    data
        Real windows ``(N, T, C)``, original units.
    forecaster
        Name or forecaster, see
        :func:`~gluonts_dualkl.evaluation.forecasting.study.evaluate_augmentation`, as
        for ``generators``, ``horizon``, ``season`` and ``validation_share``.
    ratios
        Candidates, ``>= 0``; 0 is always among them.
    generator
        Name of the generator.
    metric
        ``"wql"`` or ``"mase"``.
    num_folds
        Folds: as many fits of the generator, and as many times ``len(ratios)`` of the
        forecaster.
    num_errors
        Standard errors that a gain must exceed, ``>= 0``.
    seed
        Seed of folds, generators and forecasters.

    Raises
    ------
    ValueError
        If arguments are out of range, if a fold would leave the generator fewer windows
        than it learns from (the message says how many are needed: 32 for ours with the
        default folds), or the generator refuses a fold.
    """
    x = check_windows(data, "data")
    candidates = _candidates(ratios)
    if metric not in METRICS:
        raise ValueError(f"metric: {metric!r}, expected one of {', '.join(METRICS)}")
    if not 2 <= num_folds <= len(x) // 2:
        raise ValueError(
            f"num_folds: {num_folds}, expected 2 to half of the {len(x)} windows"
        )
    _check_folds(len(x), num_folds, validation_share, generator)
    if num_errors < 0:
        raise ValueError(f"num_errors: {num_errors}, expected 0 or more")
    model = make_forecaster(forecaster) if isinstance(forecaster, str) else forecaster
    steps = check_horizon(horizon, x)
    folds = np.random.default_rng([seed, 13]).permutation(len(x)) % num_folds
    errors = {name: np.empty((len(candidates), len(x))) for name in METRICS}
    for fold in range(num_folds):
        held = folds == fold
        study = _study(x[~held], candidates, validation_share, seed + fold, generators)
        for k, ratio in enumerate(candidates):
            windows = study.train
            if ratio:
                added = study.synthetic(generator)[: round(ratio * len(windows))]
                windows = np.concatenate([windows, added])
            scores = fit_and_score(model, windows, study, x[held], steps, season)
            for name in METRICS:
                errors[name][k, held] = scores[name]
    return _decide(candidates, errors, folds, metric, num_errors, generator)


def _candidates(ratios: Ratios) -> list[float]:
    found = sorted({0.0, *check_ratios(ratios, "ratios")})
    if len(found) < 2:
        raise ValueError(f"ratios: {ratios}, expected at least one above 0")
    return found


def _check_folds(num: int, num_folds: int, share: float, generator: str) -> None:
    """Refuse data of which a fold leaves the generator too little."""
    if not 0 < share < 1:
        raise ValueError(f"validation_share: {share}, expected 0 to 1")
    least = MIN_SERIES if generator == "dualkl" else _LEAST

    def left(total: int) -> int:
        outside = total - -(-total // num_folds)
        return outside - max(round(share * outside), 1)

    if left(num) < least:
        needed = next(
            n for n in range(num, 100 * num_folds * least) if left(n) >= least
        )
        raise ValueError(
            f"data: {num} windows, but at least {needed} are needed: {generator} "
            f"learns from {least} or more, and each of {num_folds} folds keeps its own "
            f"windows and a share of {share:g} of the others from it; give more "
            "windows, or more folds, or augment without choosing"
        )


def _study(
    outside: np.ndarray,
    ratios: Sequence[float],
    share: float,
    seed: int,
    generators: Mapping[str, Baseline] | None,
) -> Study:
    order = np.random.default_rng([seed, 17]).permutation(len(outside))
    num = max(round(share * len(outside)), 1)
    return Study(
        train=outside[order[num:]],
        validation=outside[order[:num]],
        fresh=outside[:0],
        ratios=ratios,
        seed=seed,
        generators=generators or {},
    )


def _decide(
    candidates: list[float],
    errors: Mapping[str, np.ndarray],
    folds: np.ndarray,
    metric: str,
    num_errors: float,
    generator: str,
) -> RatioChoice:
    """Choose from errors ``(R, N)`` by metric; real windows alone in the first row."""
    gain, used = _log_ratios(errors[metric])
    other = _log_ratios(errors[_other(metric)])[0].mean(1)
    table = pd.DataFrame(
        {
            "ratio": candidates,
            "log_ratio": gain.mean(1),
            "standard_error": [_standard_error(row, folds[used]) for row in gain],
            "change": np.expm1(gain.mean(1)),
            "change_of_other": np.expm1(other),
        }
    )
    gains, limits = -table["log_ratio"], num_errors * table["standard_error"]
    sure = (gains > limits) & (gains > _ROUNDING) & ~(other > _ROUNDING)
    chosen = candidates[int(np.where(sure, gains, 0).argmax())]
    return RatioChoice(chosen, table, _words(chosen, table, metric, generator))


def _other(metric: str) -> str:
    """The metric that was not asked for."""
    return next(name for name in METRICS if name != metric)


def _log_ratios(errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of errors ``(R, N)`` over those in the first row, where all are known.

    Returns them, ``(R, M)``, and which windows they are of, ``(N,)``.
    """
    floor = max(_FLOOR * float(np.nanmean(errors[0])), 1e-300)
    bounded = np.maximum(errors, floor)
    ratios = np.log(bounded / bounded[0])
    used = np.isfinite(ratios).all(0)
    return ratios[:, used], used


def _standard_error(values: np.ndarray, folds: np.ndarray) -> float:
    means = np.array([values[folds == fold].mean() for fold in np.unique(folds)])
    by_window = values.std(ddof=1) / np.sqrt(len(values))
    return float(max(by_window, means.std(ddof=1) / np.sqrt(len(means))))


def _words(chosen: float, table: pd.DataFrame, metric: str, generator: str) -> str:
    tried = table[table["ratio"] > 0]
    best = tried.iloc[int(tried["log_ratio"].to_numpy().argmin())]
    if chosen:
        best = table[table["ratio"] == chosen].iloc[0]
    spread = np.expm1(best["standard_error"])
    found = f"{best['change']:+.1%} of {metric}, standard error {spread:.1%}"
    if chosen:
        return (
            f"Augmentation is worth it: {chosen:g} windows of {generator} per real "
            f"window changed the cross-validated error by {found}."
        )
    if best["change_of_other"] > 0:
        found += f", and that of {_other(metric)} by {best['change_of_other']:+.1%}"
    return (
        f"Augmentation is not worth it: the best ratio, {best['ratio']:g} windows of "
        f"{generator} per real window, changed the cross-validated error by {found}; "
        "train on the real windows alone."
    )
