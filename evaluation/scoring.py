"""One call that scores a synthetic set against held-out series.

Every value stands between a floor (real against real) and a ceiling (an oracle with the
fault that the metric is meant to see), with an interval from half-samples of series.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from gluonts_dualkl.evaluation.inputs import as_series, check_sets
from gluonts_dualkl.evaluation.metrics import METRICS, Metric
from gluonts_dualkl.evaluation.metrics._common import equal_size, subsample
from gluonts_dualkl.evaluation.oracles import ORACLES
from gluonts_dualkl.evaluation.verdict import row_verdict

__all__ = ["evaluate_generator"]

Options = dict[str, int] | None
# one-sided confidence of a word in the table, 2.5 deviations of a normal law
_SURE = 0.9938
COLUMNS = ["metric", "value", "lower", "upper", "floor", "ceiling", "verdict"]

_RANGE = {
    "share": (0.0, 1.0),
    "AUC": (0.0, 1.0),
    "ratio": (0.0, np.inf),
    "deviations": (0.0, np.inf),
    "correlation": (0.0, np.inf),
}


@dataclass(frozen=True)
class _Effort:
    """How often to repeat what costs time."""

    halves: int
    costly_halves: int
    options: dict[str, dict[str, int]]


_FULL = _Effort(halves=20, costly_halves=6, options={})
_FAST = _Effort(
    halves=8,
    costly_halves=0,
    options={
        "c2st_auc_trees": {"repeats": 1},
        "c2st_p": {"num_permutations": 59},
        "mmd2_p": {"num_permutations": 199},
    },
)


def evaluate_generator(
    train: Any,
    held_out: Any,
    synthetic: Any,
    seed: int = 0,
    fast: bool = False,
    metrics: Sequence[Metric] | None = None,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Score synthetic series against held-out ones, beside floor and ceiling.

    Parameters
    ----------
    train
        Series that the generator was fitted to: array ``(n, T, C)`` in original units,
        or a GluonTS dataset with targets ``(C, T)`` or ``(T,)`` of one length.
    held_out
        Real series that the generator has not seen, the reference of every metric.
    synthetic
        Series of the generator, as many as held-out ones or more.
    seed
        Seed of subsampling, folds, permutations and oracles.
    fast
        Fewer repeats and no interval for the tree classifier.
    metrics
        Records to compute, by default all of
        :data:`gluonts_dualkl.evaluation.metrics.METRICS`.
    confidence
        Nominal coverage of the intervals.

    Returns
    -------
    pandas.DataFrame
        One row a metric: ``metric, value, lower, upper, floor, ceiling, verdict``. The
        floor puts real series in the place of the synthetic ones, the ceiling an oracle
        with the fault in question. ``attrs`` holds the numbers of series. The larger of
        held-out and synthetic is cut to the size of the smaller, at random.

    Raises
    ------
    ValueError
        If the sets differ in length or channels, hold NaN, are smaller than 10
        series, or differ so much in scale that the units must be wrong.

    Notes
    -----
    Intervals come from halves of each set drawn without replacement, whose spread is
    that of the full set without a factor (Politis, Romano & Wolf 1999); repeats that a
    bootstrap would bring are fatal to nearest-neighbour and classifier metrics. They
    hold the noise of the sets, not of training the generator. The verdict looks at the
    difference to the floor in the same halves.
    """
    train, held_out = as_series(train, "train"), as_series(held_out, "held_out")
    synthetic = as_series(synthetic, "synthetic")
    check_sets(train, held_out, synthetic)
    held_out, synthetic = equal_size(held_out, synthetic, seed=seed)
    num_channels = train.shape[2]
    chosen = [m for m in (metrics or METRICS) if m.min_channels <= num_channels]
    effort = _FAST if fast else _FULL
    values = _values(chosen, train, held_out, synthetic, seed, effort)
    halves = _half_samples(chosen, train, held_out, synthetic, seed, effort)
    rows = [
        _row(m, *values[m.name], *halves[m.name], len(held_out), confidence)
        for m in chosen
    ]
    scores = pd.DataFrame(rows, columns=COLUMNS)
    scores.attrs = {
        "num_train": len(train),
        "num_compared": len(held_out),
        "seed": seed,
        "fast": fast,
    }
    return scores


def _score(
    metric: Metric,
    train: np.ndarray,
    real: np.ndarray,
    synthetic: np.ndarray,
    seed: int,
    options: Options = None,
) -> float:
    given: dict[str, Any] = {"train": train, "seed": seed}
    arguments = {name: given[name] for name in metric.needs} | (options or {})
    return float(metric.function(real, synthetic, **arguments))


def _floor(
    metric: Metric,
    train: np.ndarray,
    real: np.ndarray,
    other: np.ndarray,
    halves: tuple[np.ndarray, np.ndarray],
    seed: int,
    options: Options = None,
) -> float:
    if metric.floor == "halves":
        return _score(metric, train, *halves, seed, options)
    own, compared = equal_size(real, other, seed=seed)
    return _score(metric, train, own, compared, seed, options)


def _split(x: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    order, half = rng.permutation(len(x)), len(x) // 2
    return x[order[:half]], x[order[half : 2 * half]]


def _values(
    metrics: Sequence[Metric],
    train: np.ndarray,
    held_out: np.ndarray,
    synthetic: np.ndarray,
    seed: int,
    effort: _Effort,
) -> dict[str, tuple[float, float, float]]:
    """Value, floor and ceiling of each metric on the full sets."""
    halves = _split(held_out, np.random.default_rng(seed))
    names = {metric.ceiling for metric in metrics}
    oracles = {name: ORACLES[name](train, len(held_out), seed) for name in names}
    values = {}
    for metric in metrics:
        options = effort.options.get(metric.name)
        values[metric.name] = (
            _score(metric, train, held_out, synthetic, seed, options),
            _floor(metric, train, held_out, train, halves, seed, options),
            _score(metric, train, held_out, oracles[metric.ceiling], seed, options),
        )
    return values


def _draws(
    sets: tuple[np.ndarray, ...], num: int, seed: int
) -> Iterator[tuple[list[np.ndarray], tuple[np.ndarray, np.ndarray]]]:
    """Half of each set without replacement, and the halved held-out half."""
    for k in range(num):
        rng = np.random.default_rng([seed, k])
        drawn = [subsample(x, len(x) // 2, rng) for x in sets]
        yield drawn, _split(sets[1], rng)


def _half_samples(
    metrics: Sequence[Metric],
    train: np.ndarray,
    held_out: np.ndarray,
    synthetic: np.ndarray,
    seed: int,
    effort: _Effort,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Values and floors of each metric on half-samples."""
    found: dict[str, list[tuple[float, float]]] = {m.name: [] for m in metrics}
    draws = _draws((train, held_out, synthetic), effort.halves, seed)
    for k, ((a, b, c), halves) in enumerate(draws):
        for metric in metrics:
            if metric.is_p_value or (metric.costly and k >= effort.costly_halves):
                continue
            options = {"repeats": 1} if metric.costly else None
            value = _score(metric, train, b, c, seed, options)
            floor = _floor(metric, train, b, a, halves, seed, options)
            found[metric.name].append((value, floor))
    return {
        name: tuple(np.array(pairs).reshape(-1, 2).T)  # type: ignore[misc]
        for name, pairs in found.items()
    }


def _auc_noise(num: int) -> float:
    """Deviation of the difference of two AUCs of ``num`` against ``num`` equal series.

    From the variance ``(2 n + 1) / (12 n^2)`` of the Mann-Whitney statistic.
    """
    return float(np.sqrt((2 * num + 1) / 6) / num)


def _row(
    metric: Metric,
    value: float,
    floor: float,
    ceiling: float,
    values: np.ndarray,
    floors: np.ndarray,
    num: int,
    confidence: float,
) -> tuple[str, float, float, float, float, float, str]:
    half, margin = np.nan, np.nan
    if len(values) > 2:
        drawn, real = metric.scale(values), metric.scale(floors)
        half = student.ppf((1 + confidence) / 2, len(drawn) - 1) * drawn.std(ddof=1)
        sure = student.ppf(_SURE, len(drawn) - 1)
        margin = float(sure * (drawn - real).std(ddof=1))
    if metric.unit == "AUC":
        margin = float(np.fmax(margin, student.ppf(_SURE, np.inf) * _auc_noise(num)))
    verdict = row_verdict(metric, value, floor, ceiling, margin)
    centre = metric.scale(value)
    ends = metric.unscale(np.array([centre - half, centre + half]))
    lower, upper = np.clip(ends, *_RANGE.get(metric.unit, (-np.inf, np.inf)))
    return metric.name, value, float(lower), float(upper), floor, ceiling, verdict
