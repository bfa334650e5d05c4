"""Kernel methods: density of whole windows, and a bridge with a kernel drift."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.neighbors import KernelDensity

from gluonts_dualkl.evaluation.baselines.units import UnitBaseline

__all__ = ["KernelDensityEstimate", "SchroedingerBridge"]

Grid = tuple[Mapping[str, Any], ...]
_BANDWIDTHS = np.geomspace(0.1, 2.0, 14)
_VARIANCE = 0.95


@dataclass(eq=False)
class KernelDensityEstimate(UnitBaseline):
    """Gaussian kernel density of the whitened principal components of windows.

    A window is drawn, moved by ``h e``, and drawn in by ``1 / sqrt(1 + h^2)`` towards
    the mean, so that the covariance stays that of the data; the components left out
    come back as white noise. Silverman & Young (1987), "The bootstrap: to smooth or not
    to smooth?".

    Parameters
    ----------
    differences
        See :class:`~gluonts_dualkl.evaluation.baselines.units.UnitBaseline`.
    bandwidth
        ``h`` in deviations; by default the one of 14 from 0.1 to 2 with the highest
        likelihood in cross-validation, or on the validation windows.
    """

    bandwidth: float | None = None
    grid: ClassVar[Grid] = ({"differences": False}, {"differences": True})

    def _learn(self, unit: np.ndarray, validation: np.ndarray | None) -> None:
        rows = unit.reshape(len(unit), -1)
        self._pca = PCA(_components(rows), whiten=True, svd_solver="full").fit(rows)
        scores, held = self._pca.transform(rows), None
        if validation is not None:
            held = self._pca.transform(validation.reshape(len(validation), -1))
        width = self.bandwidth or _best_bandwidth(scores, held)
        self._density = KernelDensity(bandwidth=width).fit(scores)

    def _draw(self, num_samples: int, rng: np.random.Generator) -> np.ndarray:
        state = int(rng.integers(2**31))
        scores = self._density.sample(num_samples, random_state=state)
        scores = scores / np.sqrt(1 + self._density.bandwidth**2)
        rows = self._pca.inverse_transform(scores)
        noise = np.sqrt(max(float(self._pca.noise_variance_), 0.0))
        return rows + noise * rng.standard_normal(rows.shape)


def _components(rows: np.ndarray) -> int:
    """Components that hold ``_VARIANCE`` of the variance, fewer than windows."""
    share = PCA(svd_solver="full").fit(rows).explained_variance_ratio_.cumsum()
    needed = int(np.searchsorted(share, _VARIANCE)) + 1
    return min(needed, len(rows) // 2, rows.shape[1])


def _best_bandwidth(scores: np.ndarray, held: np.ndarray | None) -> float:
    """Bandwidth with the highest held-out log-likelihood."""
    if held is not None:
        found = [
            KernelDensity(bandwidth=h).fit(scores).score(held) for h in _BANDWIDTHS
        ]
        return float(_BANDWIDTHS[int(np.argmax(found))])
    folds = KFold(min(5, len(scores)), shuffle=True, random_state=0)
    search = GridSearchCV(KernelDensity(), {"bandwidth": _BANDWIDTHS}, cv=folds)
    return float(search.fit(scores).best_params_["bandwidth"])


@dataclass(eq=False)
class SchroedingerBridge(UnitBaseline):
    """Diffusion from step to step whose drift is a kernel estimate; no training.

    In units of the deviation of each channel's steps, the path moves from ``x_i`` at
    time ``i`` by Euler steps of the drift
    ``a(s, x) = sum_m w_m(s, x) (X^m_{i+1} - x) / (i + 1 - s)``,
    ``w_m ~ K(x_{i-k+1:i} - X^m_{i-k+1:i})
    exp(-|X^m_{i+1} - x|^2 / (2 (i + 1 - s)) + |X^m_{i+1} - x_i|^2 / 2)``,
    with a Gaussian kernel ``K`` of the last ``k`` steps: it is the bridge closest to
    Brownian motion with the joint law of the data. Windows are compared step by step.
    Hamdouche, Henry-Labordère & Pham (2023), "Generative modeling for time series via
    Schrödinger bridge".

    Deviations: Gaussian instead of quartic kernel, a memory of ``k`` steps instead of
    the whole past, no noise in the last Euler step before a time step, first values
    from a smoothed bootstrap, and increments of persistent channels, whose levels pin
    a path to few windows.

    Parameters
    ----------
    differences
        See :class:`~gluonts_dualkl.evaluation.baselines.units.UnitBaseline`.
    bandwidth
        Kernel width in units of a step, a channel and step of memory.
    memory
        Steps ``k`` of the past that the drift looks at.
    num_steps
        Euler steps between two time steps.
    """

    bandwidth: float = 0.2
    memory: int = 2
    num_steps: int = 12
    grid: ClassVar[Grid] = tuple(
        {"bandwidth": width, "memory": steps}
        for width in (0.1, 0.2, 0.5)
        for steps in (1, 3)
    )

    def _learn(self, unit: np.ndarray, validation: np.ndarray | None) -> None:
        change = np.diff(unit, axis=1).std((0, 1))
        self._scale = np.where(change > 0, change, 1.0)
        self._paths = unit / self._scale

    def _draw(self, num_samples: int, rng: np.random.Generator) -> np.ndarray:
        paths = self._paths
        length, channels = paths.shape[1:]
        drawn = np.empty((num_samples, length, channels))
        drawn[:, 0] = self._first(num_samples, rng)
        width = self.bandwidth * np.sqrt(channels)
        for i in range(length - 1):
            past = slice(max(0, i - self.memory + 1), i + 1)
            steps = past.stop - past.start
            near = _square_distances(drawn[:, past], paths[:, past])
            weight = -near / (2 * steps * width**2)
            drawn[:, i + 1] = self._bridge(drawn[:, i], paths[:, i + 1], weight, rng)
        return drawn * self._scale

    def _first(self, num_samples: int, rng: np.random.Generator) -> np.ndarray:
        """Smoothed bootstrap of the first values with their mean and variance."""
        first = self._paths[:, 0]
        chosen = first[rng.integers(len(first), size=num_samples)]
        # no wider than the values themselves, lest the noise drown them
        width = np.minimum(self.bandwidth, 0.5 * first.std(0))
        moved = chosen + width * rng.standard_normal(chosen.shape)
        spread = np.maximum(first.std(0), 1e-12)
        return first.mean(0) + (moved - first.mean(0)) / np.hypot(1, width / spread)

    def _bridge(
        self,
        start: np.ndarray,
        ends: np.ndarray,
        weight: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """One time step of all paths: ``start (n, C)``, ``ends (N, C)``.

        ``weight`` ``(n, N)`` holds the logarithm of the kernel of the past.
        """
        weight = weight + _square_distances(start[:, None], ends[:, None]) / 2
        x, step = start.copy(), 1 / self.num_steps
        for k in range(self.num_steps):
            left = 1 - k * step
            pull = weight - _square_distances(x[:, None], ends[:, None]) / (2 * left)
            share = np.exp(pull - pull.max(1, keepdims=True))
            share /= share.sum(1, keepdims=True)
            x = x + step * (share @ ends - x) / left
            if k < self.num_steps - 1:
                x = x + np.sqrt(step) * rng.standard_normal(x.shape)
        return x


def _square_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``|a_i - b_j|^2`` over all but the first axis, ``(n, N)``."""
    a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    square = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return np.maximum(square, 0)
