"""Two laws whose fresh draws are free, so that every fault can be planted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

Law = Callable[[int, int], np.ndarray]


def _autoregression(num: int, seed: int, length: int = 24) -> np.ndarray:
    """Stationary VAR(1) of three coupled channels, ``(num, length, 3)``."""
    rng = np.random.default_rng([1, seed])
    phi = np.array([[0.8, 0.1, 0.0], [0.0, 0.7, 0.2], [0.0, 0.0, 0.6]])
    root = np.linalg.cholesky(np.array([[1, 0.6, 0.3], [0.6, 1, 0.5], [0.3, 0.5, 1]]))
    x = np.zeros((num, 40 + length, 3))
    shocks = rng.standard_normal(x.shape) @ root.T
    for t in range(1, x.shape[1]):
        x[:, t] = x[:, t - 1] @ phi.T + shocks[:, t]
    return x[:, 40:] * [1.0, 10.0, 0.1] + [0.0, 50.0, -3.0]


def _volatility(num: int, seed: int, length: int = 24) -> np.ndarray:
    """GARCH(1, 1) returns of two correlated channels, ``(num, length, 2)``."""
    rng = np.random.default_rng([2, seed])
    shocks = rng.standard_normal((num, 40 + length, 2)) @ [[1, 0.7], [0, 0.714]]
    variance = np.ones((num, 2))
    x = np.zeros_like(shocks)
    for t in range(x.shape[1]):
        x[:, t] = np.sqrt(variance) * shocks[:, t]
        variance = 0.1 + 0.25 * x[:, t] ** 2 + 0.65 * variance
    return 0.01 * x[:, 40:]


LAWS: dict[str, Law] = {"autoregression": _autoregression, "volatility": _volatility}


@dataclass(frozen=True)
class Sets:
    """Training, held-out and fresh series of one law."""

    train: np.ndarray
    held_out: np.ndarray
    fresh: np.ndarray


def draw_sets(law: Law, num: int = 60, seed: int = 0) -> Sets:
    return Sets(*(law(num, 3 * seed + k) for k in range(3)))


@pytest.fixture(params=list(LAWS))
def law(request: pytest.FixtureRequest) -> Law:
    return LAWS[request.param]


@pytest.fixture
def sets(law: Law) -> Sets:
    return draw_sets(law)


@pytest.fixture
def draw() -> Callable[..., Sets]:
    return draw_sets


@pytest.fixture
def autoregression() -> Law:
    return _autoregression


@pytest.fixture
def volatility() -> Law:
    return _volatility
