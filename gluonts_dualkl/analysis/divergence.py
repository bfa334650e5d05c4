"""Held-out divergence: cross-fitted log-ratios, their mean and what N certifies.

Every series is scored by a model fitted without it, so that

    E_P[log p_hat / q] = KL(P || Q) - KL(P || p_hat),

the mean of these scores, is in expectation a lower bound of the divergence whatever the
model. Marginal map, every leg and every normaliser are fitted anew in each fold. A
model scores its own training series too high by about as much as others too low (Akaike
1973), so half the difference of the two means estimates the deficit ``KL(P || p_hat)``;
what no setting of the model could say is not in it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import norm

from gluonts_dualkl.models.base import PathModel, sum_legs
from gluonts_dualkl.types import Divergence

__all__ = [
    "INTEGRATED",
    "fold_labels",
    "fold_training",
    "held_out_ratios",
    "optimism",
    "summarise",
    "warn_above_ceiling",
]

logger = logging.getLogger(__name__)

INTEGRATED = "integrated"
CLOSED_FORM = ("gaussian", "elliptical")


def fold_labels(items: Sequence[str], num_folds: int, seed: int) -> np.ndarray:
    """Fold of every window, ``(N,)``: whole items, or blocks in time of few items.

    Parameters
    ----------
    items
        Item that each window was cut from.
    num_folds
        Number of folds.
    seed
        Seed of the assignment of items.
    """
    unique, index = np.unique(np.asarray(items), return_inverse=True)
    if len(unique) < num_folds:
        return np.arange(len(index)) * num_folds // len(index)
    order = np.random.default_rng(seed).permutation(len(unique))
    return (order % num_folds)[index]


def fold_training(
    folds: np.ndarray,
    num_folds: int,
    items: Sequence[str],
    starts: Sequence[int],
    length: int,
) -> np.ndarray:
    """Windows that the fit of each fold may learn from, ``(num_folds + 1, N)``.

    Those that neither belong to the fold nor share a step with a window of it; all for
    an empty fold and in the last row. Where this leaves a fold less than half of the
    other windows, because windows overlap too much for their number, the overlap is
    allowed with a warning.

    Parameters
    ----------
    folds
        Fold of every window, ``(N,)``.
    num_folds
        Number of folds.
    items
        Item that each window was cut from.
    starts
        First step of each window, counted alike for all windows of an item.
    length
        Steps of a window.
    """
    index = np.unique(np.asarray(items), return_inverse=True)[1]
    # steps of different items lie too far apart to overlap
    begin = np.asarray(starts, np.int64) - min(starts)
    begin = begin + index * (begin.max() + 2 * length)
    train = np.ones((num_folds + 1, len(folds)), bool)
    for fold in np.unique(folds):
        held = folds == fold
        known = np.sort(begin[held])
        place = np.searchsorted(known, begin)
        after = known[place.clip(max=len(known) - 1)] - begin
        before = begin - known[(place - 1).clip(min=0)]
        apart = ~held & (np.abs(after) >= length) & (np.abs(before) >= length)
        if apart.sum() < 0.5 * (~held).sum():
            logger.warning(
                "windows overlap so much that cross-fitting keeps overlapping ones: "
                "held-out nats read too high; train with a larger stride"
            )
            apart = ~held
        train[fold] = apart
    return train


def held_out_ratios(model: PathModel, values: np.ndarray) -> dict[str, np.ndarray]:
    """Log-ratios of series ``(n, T, C)`` that the model has not seen, ``(n,)`` each.

    By leg, nats; and under ``"integrated"`` the totals with the normalisers of
    thermodynamic integration.
    """
    scores = {name: s.cpu().numpy() for name, s in model.log_ratio(values).items()}
    total = np.sum(list(scores.values()), axis=0)
    return {**scores, INTEGRATED: total + model.integrated_shift}


def optimism(model: PathModel, held_out: dict[str, np.ndarray]) -> float:
    """Mean log-ratio of the model's training series less that of others, nats."""
    inside = float(sum_legs(model.log_ratio_of_scores(model.train)).mean())
    outside = sum(
        float(score.mean()) for name, score in held_out.items() if name != INTEGRATED
    )
    return inside - outside


def summarise(
    by_leg: dict[str, np.ndarray], optimism: float = 0.0, confidence: float = 0.9
) -> Divergence:
    """Mean, interval and ceiling of cross-fitted log-ratios.

    The interval is normal, with the standard error over series, and its upper end lies
    half of ``optimism`` further out; windows cut from one record are dependent, and
    then it is too narrow. A learned leg cannot certify more
    than about ``ln N`` nats (McAllester & Stratos 2020). The closed-form leg has no
    such bound, so the ceiling is its own value plus ``ln N`` for every learned leg.
    """
    integrated = float(by_leg[INTEGRATED].mean())
    legs = {name: score for name, score in by_leg.items() if name != INTEGRATED}
    total = np.sum(list(legs.values()), axis=0)
    num_series = len(total)
    error = float(total.std(ddof=1) / math.sqrt(num_series))
    half = float(norm.ppf(0.5 + confidence / 2)) * error
    per_leg = {name: float(score.mean()) for name, score in legs.items()}
    closed = sum(nats for name, nats in per_leg.items() if name in CLOSED_FORM)
    learned = [name for name in legs if name not in CLOSED_FORM]
    ceiling = closed + math.log(num_series) * len(learned)
    value = float(total.mean())
    deficit = max(0.0, optimism) / 2
    return Divergence(
        value=value,
        lower=value - half,
        upper=value + deficit + half,
        deficit=deficit,
        standard_error=error,
        per_leg=per_leg,
        ceiling=ceiling,
        num_series=num_series,
        confidence=confidence,
        integrated=integrated,
    )


def warn_above_ceiling(divergence: Divergence) -> None:
    """Log a warning for every learned leg above what ``N`` series certify."""
    limit = math.log(divergence.num_series)
    for name, nats in divergence.per_leg.items():
        if name not in CLOSED_FORM and nats > limit:
            logger.warning(
                "the %s leg reads %.1f nats, more than the ln N = %.1f nats that %d "
                "series certify for a learned leg: an estimate, not a bound",
                name,
                nats,
                limit,
                divergence.num_series,
            )
