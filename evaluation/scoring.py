"""One call that scores a synthetic set against held-out series.

Every value stands between a floor (real against real) and a ceiling (an oracle with the
fault that the metric is meant to see), with an interval from half-samples of series.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from gluonts_dualkl.evaluation.inputs import as_sets, check_sets, fill_missing
from gluonts_dualkl.evaluation.metrics import Metric, select
from gluonts_dualkl.evaluation.metrics._common import equal_size, subsample
from gluonts_dualkl.evaluation.oracles import ORACLES
from gluonts_dualkl.evaluation.verdict import row_verdict

__all__ = ["Scorer", "evaluate_generator"]

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


_SCORERS: dict[tuple[Any, ...], Scorer] = {}
_MAX_SCORERS = 2

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
    packs: Sequence[str] | None = None,
    same_units: bool = False,
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
        Records to compute, instead of those of `packs`. Where each of them leaves NaN
        out (``missing``), sets may hold NaN and series of several lengths.
    confidence
        Nominal coverage of the intervals.
    packs
        Groups of metrics, among ``"headline"``, ``"secondary"``, ``"sdmetrics"``,
        ``"finance"`` and ``"environment"``, with their slow metrics; by default the
        headline and the cheap part of the secondary set.
    same_units
        Whether sets are known to have one unit: series of another scale, such as those
        of a collapsed generator, are then scored and no error.

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
        If the sets differ in length or channels, hold NaN that a metric cannot leave
        out, are smaller than 10 series, or differ so much in scale that the units must
        be wrong.

    Notes
    -----
    Intervals come from halves of each set drawn without replacement, whose spread is
    that of the full set without a factor (Politis, Romano & Wolf 1999); repeats that a
    bootstrap would bring are fatal to nearest-neighbour and classifier metrics. They
    hold the noise of the sets, not of training the generator. The verdict looks at the
    difference to the floor in the same halves.
    """
    wanted = list(metrics or select(packs))
    missing = all(m.missing for m in wanted)
    train, held_out, synthetic = as_sets(train, held_out, synthetic, missing)
    check_sets(train, held_out, synthetic, missing, same_units)
    held_out, synthetic = equal_size(held_out, synthetic, seed=seed)
    scorer = _known_scorer(train, held_out, tuple(wanted), seed, fast, confidence)
    return scorer.score(synthetic)


def _known_scorer(
    train: np.ndarray,
    held_out: np.ndarray,
    metrics: tuple[Metric, ...],
    seed: int,
    fast: bool,
    confidence: float,
) -> Scorer:
    """A scorer for these sets, the last ones of this process made only once.

    Its floors and ceilings cost more than the scores, and a benchmark meets the same
    real sets with every generator.
    """
    sets = tuple(
        (x.shape, sha256(np.ascontiguousarray(x).tobytes())) for x in (train, held_out)
    )
    digests = tuple((shape, digest.hexdigest()) for shape, digest in sets)
    key = (digests, metrics, seed, fast, confidence)
    if key not in _SCORERS:
        while len(_SCORERS) >= _MAX_SCORERS:
            _SCORERS.pop(next(iter(_SCORERS)))
        _SCORERS[key] = Scorer(train, held_out, metrics, seed, fast, confidence)
    return _SCORERS[key]


class Scorer:
    """Scores of several synthetic sets against one pair of real sets.

    Floors and ceilings, which do not depend on the synthetic set, are computed once.
    The sets are taken as they are; see :func:`evaluate_generator` for the checks.

    Parameters
    ----------
    train, held_out
        Real series ``(n, T, C)``.
    metrics
        Records to compute; those for more channels than there are are left out.
    seed, fast, confidence
        As in :func:`evaluate_generator`.
    """

    def __init__(
        self,
        train: np.ndarray,
        held_out: np.ndarray,
        metrics: Sequence[Metric],
        seed: int = 0,
        fast: bool = False,
        confidence: float = 0.95,
    ) -> None:
        self.train, self.held_out, self.seed = train, held_out, seed
        self.metrics = [m for m in metrics if m.min_channels <= train.shape[2]]
        self.fast, self.confidence = fast, confidence
        self.effort = _FAST if fast else _FULL
        self.yardsticks = _yardsticks(
            self.metrics, train, held_out, seed, self.effort.options
        )
        self.floors = self._half_samples(None)

    def score(self, synthetic: np.ndarray) -> pd.DataFrame:
        """Table of scores of as many series ``(n, T, C)`` as are held out."""
        if len(synthetic) != len(self.held_out):
            raise ValueError(
                f"synthetic: {len(synthetic)} series, expected {len(self.held_out)}, "
                "as many as are held out"
            )
        drawn = self._half_samples(synthetic)
        rows = []
        for metric in self.metrics:
            options = self.effort.options.get(metric.name)
            value = _score(
                metric, self.train, self.held_out, synthetic, self.seed, options
            )
            halves = drawn[metric.name], self.floors[metric.name]
            known = self.yardsticks[metric.name]
            num = len(synthetic)
            rows.append(_row(metric, value, *known, *halves, num, self.confidence))
        scores = pd.DataFrame(rows, columns=COLUMNS)
        scores.attrs = {
            "num_train": len(self.train),
            "num_compared": len(synthetic),
            "seed": self.seed,
            "fast": self.fast,
        }
        return scores

    def _half_samples(self, synthetic: np.ndarray | None) -> dict[str, np.ndarray]:
        """Values of each metric on half-samples; floors where no set is given."""
        found: dict[str, list[float]] = {m.name: [] for m in self.metrics}
        compared = self.held_out if synthetic is None else synthetic
        sets = (self.train, self.held_out, compared)
        draws = _draws(sets, self.effort.halves, self.seed)
        for k, ((a, b, c), halves) in enumerate(draws):
            for metric in self.metrics:
                if metric.is_p_value or metric.slow:
                    continue
                if metric.costly and k >= self.effort.costly_halves:
                    continue
                options = {"repeats": 1} if "trees" in metric.name else None
                if synthetic is None:
                    value = _floor(metric, self.train, b, a, halves, self.seed, options)
                else:
                    value = _score(metric, self.train, b, c, self.seed, options)
                found[metric.name].append(value)
        return {name: np.array(values) for name, values in found.items()}


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
    return metric(real, synthetic, **arguments)


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


def _yardsticks(
    metrics: Sequence[Metric],
    train: np.ndarray,
    held_out: np.ndarray,
    seed: int,
    options: dict[str, dict[str, int]],
) -> dict[str, tuple[float, float]]:
    """Floor and ceiling of each metric on the full sets."""
    halves = _split(held_out, np.random.default_rng(seed))
    names = {metric.ceiling for metric in metrics}
    known = fill_missing(train)
    oracles = {name: ORACLES[name](known, len(held_out), seed) for name in names}
    found = {}
    for metric in metrics:
        given = options.get(metric.name)
        found[metric.name] = (
            _floor(metric, train, held_out, train, halves, seed, given),
            _score(metric, train, held_out, oracles[metric.ceiling], seed, given),
        )
    return found


def _draws(
    sets: tuple[np.ndarray, ...], num: int, seed: int
) -> Iterator[tuple[list[np.ndarray], tuple[np.ndarray, np.ndarray]]]:
    """Half of each set without replacement, and the halved held-out half."""
    for k in range(num):
        rng = np.random.default_rng([seed, k])
        drawn = [subsample(x, len(x) // 2, rng) for x in sets]
        yield drawn, _split(sets[1], rng)


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
