"""What several metrics share: scaling by the training set, equal sizes, memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from hashlib import blake2b
from typing import Any, TypeVar

import numpy as np
from scipy.spatial.distance import cdist

from gluonts_dualkl.evaluation.features import ChannelScaler, FeatureScaler

__all__ = ["distances", "equal_size", "features", "flat", "remember", "subsample"]

Result = TypeVar("Result")


def subsample(x: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw ``size`` series without replacement; all of them, in order, if few."""
    if len(x) <= size:
        return x
    return x[np.sort(rng.choice(len(x), size, replace=False))]


def equal_size(*sets: np.ndarray, seed: int = 0) -> list[np.ndarray]:
    """Cut every set down, at random, to the size of the smallest."""
    rng = np.random.default_rng(seed)
    size = min(map(len, sets))
    return [subsample(x, size, rng) for x in sets]


def flat(x: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Series as rows ``(n, T * C)`` in channel deviations of the reference."""
    return ChannelScaler(reference)(x).reshape(len(x), -1)


def features(
    real: np.ndarray, synthetic: np.ndarray, train: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Both feature tables, scaled by ``train`` (by ``real`` where it is not given)."""
    scaler = FeatureScaler(real if train is None else train)
    return scaler(real), scaler(synthetic)


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Euclidean distances ``(len(a), len(b))`` between rows."""
    return cdist(a, b)


def _digest(argument: Any) -> bytes:
    if isinstance(argument, np.ndarray):
        contiguous = np.ascontiguousarray(argument)
        head = f"{contiguous.shape}{contiguous.dtype}".encode()
        return blake2b(head + contiguous.tobytes(), digest_size=16).digest()
    return repr(argument).encode()


def remember(function: Callable[..., Result]) -> Callable[..., Result]:
    """Keep the last few results of a pure function of arrays, by content.

    Several metrics read the same out-of-fold scores; none has to know of the others.
    """
    memory: OrderedDict[tuple[bytes, ...], Result] = OrderedDict()

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Result:
        named = (item for pair in sorted(kwargs.items()) for item in pair)
        key = tuple(map(_digest, (*args, *named)))
        if key not in memory:
            memory[key] = function(*args, **kwargs)
            if len(memory) > 8:
                memory.popitem(last=False)
        return memory[key]

    return wrapper
