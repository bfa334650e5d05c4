"""Generators with a known fault, to read every other row against.

Each takes the training series and returns ``num`` series of the same shape. A metric
that does not separate an oracle from fresh series says nothing about its fault on this
data set.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn.covariance import ledoit_wolf_shrinkage

__all__ = [
    "ORACLES",
    "balanced_columns",
    "balanced_indices",
    "collapsed",
    "independent_marginals",
    "jittered_copies",
    "over_smoothed",
    "shrunk_gaussian",
    "snap_discrete",
    "time_shuffled",
    "training_copies",
]


def balanced_indices(size: int, num: int, rng: np.random.Generator) -> np.ndarray:
    """``num`` indices below ``size``; none comes again before all have come.

    The balanced bootstrap of Davison, Hinkley & Schechtman (1986). Draws that use the
    same window twice would be known by it among themselves, whatever their law.
    """
    rounds = [rng.permutation(size) for _ in range(-(-num // size))]
    return np.concatenate(rounds)[:num]


def balanced_columns(
    size: int, num: int, columns: int, rng: np.random.Generator
) -> np.ndarray:
    """Columns of :func:`balanced_indices`, each in its order, ``(num, columns)``."""
    return np.stack([balanced_indices(size, num, rng) for _ in range(columns)], 1)


def training_copies(train: np.ndarray, num: int, seed: int = 0) -> np.ndarray:
    """The memoriser: training series, without replacement while they last."""
    return train[balanced_indices(len(train), num, np.random.default_rng(seed))].copy()


def jittered_copies(
    train: np.ndarray, num: int, seed: int = 0, noise: float = 0.1
) -> np.ndarray:
    """Training series plus white noise of ``noise`` channel deviations."""
    rng = np.random.default_rng(seed)
    copies = train[balanced_indices(len(train), num, rng)]
    return copies + noise * train.std((0, 1)) * rng.standard_normal(copies.shape)


def independent_marginals(train: np.ndarray, num: int, seed: int = 0) -> np.ndarray:
    """Every pixel drawn on its own from its training values: no dependency is left."""
    rng = np.random.default_rng(seed)
    size, length, channels = train.shape
    rounds = -(-num // size)
    order = rng.permuted(
        np.tile(np.arange(size), (length, channels, rounds, 1)), axis=-1
    )
    index = order.reshape(length, channels, -1)[..., :num].transpose(2, 0, 1)
    return np.take_along_axis(train, index, axis=0)


def snap_discrete(x: np.ndarray, train: np.ndarray, share: float = 0.25) -> np.ndarray:
    """Move channels of few distinct training values onto the nearest of these.

    A channel counts as discrete if less than ``share`` of its values are distinct.
    """
    out = np.array(x, dtype=float)
    for c in range(train.shape[2]):
        support = np.unique(train[..., c])
        if 1 < len(support) < share * train[..., c].size:
            middle = (support[1:] + support[:-1]) / 2
            out[..., c] = support[np.searchsorted(middle, out[..., c])]
    return out


def shrunk_gaussian(train: np.ndarray, num: int, seed: int = 0) -> np.ndarray:
    """Gaussian with Ledoit-Wolf covariance of the pixels, standardised one by one.

    Discrete channels are snapped to the values they take, so that it is at its best.
    Ledoit & Wolf (2004).
    """
    rng = np.random.default_rng(seed)
    rows = train.reshape(len(train), -1).astype(float)
    mean, deviation = rows.mean(0), rows.std(0)
    unit = (rows - mean) / np.where(deviation > 0, deviation, 1.0)
    shrinkage = float(ledoit_wolf_shrinkage(unit, assume_centered=True))
    # unit.T @ unit / N has rank N: draw in its span and add the isotropic part
    spread = np.sqrt(shrinkage * (unit**2).mean())
    mixed = rng.standard_normal((num, len(unit))) @ unit / np.sqrt(len(unit))
    noise = rng.standard_normal((num, unit.shape[1]))
    draws = np.sqrt(1 - shrinkage) * mixed + spread * noise
    return snap_discrete(
        (mean + deviation * draws).reshape(num, *train.shape[1:]), train
    )


def collapsed(
    train: np.ndarray, num: int, seed: int = 0, share: float = 0.1
) -> np.ndarray:
    """Few prototypes, ``share`` of the training series, over and over."""
    rng = np.random.default_rng(seed)
    kept = rng.permutation(len(train))[: max(2, round(share * len(train)))]
    return train[kept][balanced_indices(len(kept), num, rng)].copy()


def over_smoothed(train: np.ndarray, num: int, seed: int = 0) -> np.ndarray:
    """Centred moving average of 3 steps of training series (2 steps at the ends)."""
    copies = training_copies(train, num, seed).astype(float)
    inner = (copies[:, :-2] + copies[:, 1:-1] + copies[:, 2:]) / 3
    first = copies[:, :2].mean(1, keepdims=True)
    last = copies[:, -2:].mean(1, keepdims=True)
    return np.concatenate([first, inner, last], axis=1)


def time_shuffled(train: np.ndarray, num: int, seed: int = 0) -> np.ndarray:
    """Training series with their time steps in random order, channels together."""
    rng = np.random.default_rng(seed)
    copies = training_copies(train, num, seed)
    order = rng.permuted(np.tile(np.arange(train.shape[1]), (num, 1)), axis=1)
    return np.take_along_axis(copies, order[..., None], axis=1)


Oracle = Callable[[np.ndarray, int, int], np.ndarray]

ORACLES: dict[str, Oracle] = {
    function.__name__: function
    for function in (
        training_copies,
        jittered_copies,
        independent_marginals,
        shrunk_gaussian,
        collapsed,
        over_smoothed,
        time_shuffled,
    )
}
