"""Vector autoregressions of the standardised windows, pooled over windows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from sklearn.linear_model import Ridge

from gluonts_dualkl.evaluation.baselines.base import draw_shrunk
from gluonts_dualkl.evaluation.baselines.units import UnitBaseline
from gluonts_dualkl.evaluation.oracles import balanced_columns, balanced_indices

__all__ = ["VARResidualBootstrap", "VARSimulation"]

Grid = tuple[Mapping[str, Any], ...]
_ORDERS = (1, 2, 3, 4)
_LARGEST_ROOT = 0.999


@dataclass(eq=False)
class VARSimulation(UnitBaseline):
    """VAR(p) with normal shocks around the mean course of the windows.

    With standardised pixels, ``z_t = sum_k A_k z_{t-k} + e_t`` is fitted to the steps
    of all windows by ridge regression; windows are never joined, so there are no seams.
    The ``VAR`` of statsmodels cannot serve: it takes one record and has no penalty, so
    that windows would have to be joined, with a false step at every seam. On one
    record, without a penalty, the coefficients are the same. Starts and shocks are
    normal with Ledoit-Wolf covariance. Where the largest root ``r`` of the companion
    matrix is beyond one, ``A_k`` becomes ``A_k (.999 / r)^k``, which moves every root
    in. Lütkepohl (2005), "New introduction
    to multiple time series analysis".

    Parameters
    ----------
    differences
        See :class:`~gluonts_dualkl.evaluation.baselines.units.UnitBaseline`. A VAR
        knows persistence, so levels are the default, also where a search on three sets
        preferred increments: those cannot return to a mean.
    order
        ``p``; by default of 1 to 4 by the criterion of Schwarz (1978).
    ridge
        Penalty of the regression, a share of the number of its rows.
    """

    differences: bool | None = False
    order: int | None = None
    ridge: float = 1e-3
    grid: ClassVar[Grid] = ({"differences": False}, {"differences": True})

    def _learn(self, unit: np.ndarray, validation: np.ndarray | None) -> None:
        self._windows = unit
        wanted = _ORDERS if self.order is None else (self.order,)
        orders = [p for p in wanted if p < unit.shape[1] - 1] or [1]
        most = max(orders)
        scores = [_schwarz(unit, p, self.ridge, most) for p in orders]
        order = orders[int(np.argmin(scores))]
        coefficients, self._residuals = _regress(unit, order, self.ridge, order)
        self._coefficients = _stable(coefficients)

    def _draw(self, num_samples: int, rng: np.random.Generator) -> np.ndarray:
        order, length = len(self._coefficients), self._windows.shape[1]
        z = np.empty((num_samples, *self._windows.shape[1:]))
        z[:, :order] = self._starts(num_samples, order, rng)
        shocks = self._shocks(num_samples, length - order, rng)
        for t in range(order, length):
            past = z[:, t - order : t][:, ::-1]
            z[:, t] = np.einsum("npc,pdc->nd", past, self._coefficients)
            z[:, t] += shocks[:, t - order]
        return z

    def _starts(
        self, num_samples: int, order: int, rng: np.random.Generator
    ) -> np.ndarray:
        """First steps ``(n, p, C)``."""
        rows = self._windows[:, :order].reshape(len(self._windows), -1)
        return draw_shrunk(rows, num_samples, rng).reshape(num_samples, order, -1)

    def _shocks(
        self, num_samples: int, num_steps: int, rng: np.random.Generator
    ) -> np.ndarray:
        """Shocks ``(n, steps, C)``."""
        rows = self._residuals.reshape(-1, self._residuals.shape[2])
        drawn = draw_shrunk(rows, num_samples * num_steps, rng)
        return drawn.reshape(num_samples, num_steps, -1)


@dataclass(eq=False)
class VARResidualBootstrap(VARSimulation):
    """VAR(p) whose shocks are blocks of its residuals, taken in place.

    A block starts at the same step in a random window, so that shocks keep their
    joint law, their tails, and their variance over the window; starts are those of
    training windows. Kreiss & Lahiri (2012), "Bootstrap methods for time series".

    Parameters
    ----------
    differences, order, ridge
        See :class:`VARSimulation`.
    block_length
        Steps of a block of residuals; longer keeps clusters of volatility.
    """

    block_length: int = 4
    grid: ClassVar[Grid] = tuple(
        {"differences": taken, "block_length": steps}
        for taken in (False, True)
        for steps in (1, 4)
    )

    def _starts(
        self, num_samples: int, order: int, rng: np.random.Generator
    ) -> np.ndarray:
        chosen = balanced_indices(len(self._windows), num_samples, rng)
        return self._windows[chosen, :order]

    def _shocks(
        self, num_samples: int, num_steps: int, rng: np.random.Generator
    ) -> np.ndarray:
        num_blocks = -(-num_steps // self.block_length)
        num = len(self._residuals)
        windows = balanced_columns(num, num_samples, num_blocks, rng)
        donors = np.repeat(windows, self.block_length, axis=1)[:, :num_steps]
        return self._residuals[donors, np.arange(num_steps)]


def _regress(
    z: np.ndarray, order: int, ridge: float, first: int
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients ``(p, C, C)`` and residuals ``(N, T - first, C)``."""
    num, length, channels = z.shape
    lags = [z[:, first - k : length - k] for k in range(1, order + 1)]
    past = np.concatenate(lags, axis=2).reshape(-1, order * channels)
    now = z[:, first:].reshape(-1, channels)
    model = Ridge(alpha=ridge * len(past), fit_intercept=False).fit(past, now)
    fitted = np.reshape(model.coef_, (channels, order, channels)).swapaxes(0, 1)
    residuals = (now - past @ np.reshape(model.coef_, (channels, -1)).T).reshape(
        num, length - first, channels
    )
    return fitted, residuals - residuals.mean((0, 1))


def _schwarz(z: np.ndarray, order: int, ridge: float, first: int) -> float:
    """Schwarz criterion of an order, all orders on the same steps."""
    _, residuals = _regress(z, order, ridge, first)
    rows = residuals.reshape(-1, z.shape[2])
    covariance = rows.T @ rows / len(rows) + 1e-9 * np.eye(z.shape[2])
    penalty = order * z.shape[2] ** 2 * np.log(len(rows)) / len(rows)
    return float(np.linalg.slogdet(covariance)[1] + penalty)


def _stable(coefficients: np.ndarray) -> np.ndarray:
    """Coefficients whose companion matrix has no root beyond one."""
    order, channels, _ = coefficients.shape
    companion = np.eye(order * channels, k=-channels)
    companion[:channels] = np.concatenate(list(coefficients), axis=1)
    root = np.abs(np.linalg.eigvals(companion)).max()
    if root <= _LARGEST_ROOT:
        return coefficients
    powers = np.arange(1, order + 1)[:, None, None]
    return coefficients * (_LARGEST_ROOT / root) ** powers
