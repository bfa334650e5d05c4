r"""Stylised facts of returns, synthetic against real: the pack ``"finance"``.

After Cont (2001): heavy tails, no autocorrelation of returns, clustered volatility,
leverage, correlation across assets. Series may be prices or returns: a channel whose
training values are all positive is taken for prices and turned into log returns; any
other one is differenced if its values move slowly (mean autocorrelation of lag 1 within
series above 0.5) and taken as returns if not. Correlations use ranks, which wild days
cannot decide.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from gluonts_dualkl.evaluation.metrics._record import Metric

__all__ = [
    "METRICS",
    "hill_tail_index",
    "leverage_difference",
    "return_autocorrelation_difference",
    "return_correlation_difference",
    "returns",
    "tail_index_ratio",
    "volatility_clustering_difference",
]

_TAIL = 0.05
_MAX_LAG = 5


def _moves_slowly(x: np.ndarray) -> bool:
    """Whether the mean autocorrelation of lag 1 of series ``(n, T)`` is above 0.5."""
    centred = x - x.mean(1, keepdims=True)
    variance = (centred**2).sum(1)
    moves = variance > 0
    if not moves.any():
        return False
    products = (centred[:, 1:] * centred[:, :-1]).sum(1)
    return bool((products[moves] / variance[moves]).mean() > 0.5)


def returns(x: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Returns ``(n, T - 1, C)``; what a channel holds is read off the training set.

    Synthetic prices at or below zero count as a thousandth of the lowest real one.
    """
    out = np.empty((x.shape[0], x.shape[1] - 1, x.shape[2]))
    for c in range(x.shape[2]):
        known = train[..., c]
        if known.min() > 0:
            prices = np.maximum(x[..., c], 1e-3 * known.min())
            out[..., c] = np.diff(np.log(prices), axis=1)
        elif _moves_slowly(known):
            out[..., c] = np.diff(x[..., c], axis=1)
        else:
            out[..., c] = x[:, 1:, c]
    return out


def hill_tail_index(values: np.ndarray, share: float = _TAIL) -> float:
    """Hill's estimate of the tail index of ``|values|`` from the largest ``share``.

    ``1 / mean(ln(x_(i) / x_(k+1)))`` over the k largest; about 3 for daily returns,
    infinite for light tails, where it grows with n. Hill (1975).
    """
    ordered = np.sort(np.abs(values))[::-1]
    k = max(round(share * len(ordered)), 5)
    if len(ordered) <= k or ordered[k] <= 0:
        return 1e3
    mean = np.log(ordered[:k] / ordered[k]).mean()
    return float(min(1 / max(mean, 1e-3), 1e3))


def tail_index_ratio(
    real: np.ndarray, synthetic: np.ndarray, train: np.ndarray
) -> float:
    """Tail index of returns, synthetic over real; above 1 tails are too light.

    Geometric mean over channels of :func:`hill_tail_index` of pooled returns about the
    median of the channel, largest 5 %.
    """
    a, b = returns(real, train), returns(synthetic, train)
    logs = []
    for c in range(a.shape[2]):
        ours, theirs = (
            hill_tail_index(x[..., c].ravel() - np.median(x[..., c])) for x in (b, a)
        )
        logs.append(np.log(ours / theirs))
    return float(np.exp(np.mean(logs)))


def _scores(x: np.ndarray) -> np.ndarray:
    """Ranks of ``(n, T, C)`` within each channel, centred and of unit variance."""
    ranks = rankdata(x.reshape(-1, x.shape[2]), axis=0)
    ranks -= ranks.mean(0)
    deviation = ranks.std(0)
    return (ranks / np.where(deviation > 0, deviation, 1.0)).reshape(x.shape)


def _lagged(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Mean of ``a[t] b[t + k]`` over series and time, ``(L, C)``, lags 1 to 5."""
    length = a.shape[1]
    lags = range(1, min(_MAX_LAG, length - 1) + 1)
    return np.stack([(a[:, : length - k] * b[:, k:]).mean((0, 1)) for k in lags])


def return_autocorrelation_difference(
    real: np.ndarray, synthetic: np.ndarray, train: np.ndarray
) -> float:
    """Mean absolute gap of rank autocorrelations of returns, lags 1 to 5."""
    a, b = (_scores(returns(x, train)) for x in (real, synthetic))
    return float(np.abs(_lagged(b, b) - _lagged(a, a)).mean())


def _clustering(x: np.ndarray) -> float:
    r"""Excess of neighbours over any two days of a series, of ranks of ``|r|``.

    Mean product over lags 1 to 5 less the mean product of all pairs of different days
    of a series, mean over channels: zero if days come in random order, however much
    volatility differs from series to series.
    """
    scores = _scores(np.abs(x - np.median(x, axis=(0, 1))))
    length = x.shape[1]
    total, squares = scores.sum(1), (scores**2).sum(1)
    pairs = ((total**2 - squares) / (length * (length - 1))).mean(0)
    return float((_lagged(scores, scores).mean(0) - pairs).mean())


def volatility_clustering_difference(
    real: np.ndarray, synthetic: np.ndarray, train: np.ndarray
) -> float:
    """Clustering of volatility, synthetic less real; below zero it is lost.

    A difference and not a ratio, as the clustering of days in random order is zero with
    noise; see the pack for what counts as returns.
    """
    ours, theirs = (_clustering(returns(x, train)) for x in (synthetic, real))
    return ours - theirs


def _leverage(x: np.ndarray) -> np.ndarray:
    """Rank correlation of returns with later absolute returns, ``(L, C)``."""
    size = np.abs(x - np.median(x, axis=(0, 1)))
    return _lagged(_scores(x), _scores(size))


def leverage_difference(
    real: np.ndarray, synthetic: np.ndarray, train: np.ndarray
) -> float:
    """Mean over channels of the gap in leverage, mean over lags 1 to 5.

    Leverage is the correlation of a return with later absolute returns; below zero
    where losses raise volatility.
    """
    a, b = (_leverage(returns(x, train)).mean(0) for x in (real, synthetic))
    return float(np.abs(b - a).mean())


def return_correlation_difference(
    real: np.ndarray, synthetic: np.ndarray, train: np.ndarray
) -> float:
    """Mean absolute gap of rank correlations of same-day returns between channels."""
    if real.shape[2] < 2:
        return 0.0
    matrices = []
    for x in (real, synthetic):
        rows = _scores(returns(x, train)).reshape(-1, x.shape[2])
        matrices.append(rows.T @ rows / len(rows))
    gap = (matrices[1] - matrices[0])[np.triu_indices(real.shape[2], 1)]
    return float(np.abs(gap).mean())


_SOURCE = "Cont 2001"

METRICS = [
    Metric(
        "tail_index_ratio", tail_index_ratio, "nominal", "ratio", ("train",),
        "Hill, largest 5 % of pooled returns", "Hill 1975",
        ceiling="shrunk_gaussian", low="tails too heavy", high="tails too light",
        tolerance=0.15, group="finance", default=False,
    ),
    Metric(
        "return_autocorrelation_difference", return_autocorrelation_difference,
        "lower", "correlation", ("train",), "ranks, lags 1 to 5, pooled", _SOURCE,
        ceiling="over_smoothed", high="off", tolerance=0.03, group="finance",
        default=False,
    ),
    Metric(
        "volatility_clustering_difference", volatility_clustering_difference,
        "nominal", "1", ("train",),
        "ranks of |r|, lags 1 to 5 less all pairs of a series", _SOURCE,
        ceiling="time_shuffled", low="weaker", high="stronger", far="lost",
        tolerance=0.02, group="finance", default=False,
    ),
    Metric(
        "leverage_difference", leverage_difference, "lower", "correlation", ("train",),
        "ranks, mean over lags 1 to 5", "Bouchaud et al. 2001",
        ceiling="time_shuffled", high="off", tolerance=0.03, group="finance",
        default=False,
    ),
    Metric(
        "return_correlation_difference", return_correlation_difference, "lower",
        "correlation", ("train",), "ranks, pooled", _SOURCE,
        high="off", tolerance=0.03, min_channels=2, group="finance", default=False,
    ),
]  # fmt: skip
