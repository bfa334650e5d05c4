"""Generators that recombine training windows one with another, and two oracles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from sklearn.neighbors import NearestNeighbors

from gluonts_dualkl.evaluation import oracles
from gluonts_dualkl.evaluation.baselines.base import Baseline, pixel_scale

__all__ = ["IndependentMarginals", "Jitter", "Mixup", "Smote", "TrainingCopies"]


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))


@dataclass(eq=False)
class _Resampler(Baseline):
    """A generator whose state is the training windows and nothing else."""

    def _fit(self, windows: np.ndarray, validation: np.ndarray | None) -> None:
        """Nothing to learn."""


@dataclass(eq=False)
class TrainingCopies(_Resampler):
    """The memoriser: training windows, none again before all have come."""

    def _sample(self, num_samples: int, rng: np.random.Generator) -> np.ndarray:
        return oracles.training_copies(self._train, num_samples, _seed(rng))


@dataclass(eq=False)
class IndependentMarginals(_Resampler):
    """Every pixel from its own training values: the law without any dependency."""

    def _sample(self, num_samples: int, rng: np.random.Generator) -> np.ndarray:
        return oracles.independent_marginals(self._train, num_samples, _seed(rng))


@dataclass(eq=False)
class Jitter(_Resampler):
    """Training windows plus white noise, ``x + noise * sd_c * e``.

    Um et al. (2017), "Data augmentation of wearable sensor data".

    Parameters
    ----------
    noise
        Deviation of the noise in deviations of the channel.
    """

    noise: float = 0.1
    grid: ClassVar[tuple[Mapping[str, Any], ...]] = tuple(
        {"noise": noise} for noise in (0.03, 0.1, 0.3)
    )

    def _sample(self, num_samples: int, rng: np.random.Generator) -> np.ndarray:
        seed = _seed(rng)
        return oracles.jittered_copies(self._train, num_samples, seed, self.noise)


@dataclass(eq=False)
class Mixup(_Resampler):
    """Two training windows on one another, ``w x_i + (1 - w) x_j``.

    Zhang et al. (2018), "mixup: Beyond empirical risk minimization".

    Parameters
    ----------
    alpha
        ``w ~ Beta(alpha, alpha)``: small values stay near one of the two, 1 is uniform.
    """

    alpha: float = 0.5
    grid: ClassVar[tuple[Mapping[str, Any], ...]] = tuple(
        {"alpha": alpha} for alpha in (0.2, 0.5, 1.0)
    )

    def _sample(self, num_samples: int, rng: np.random.Generator) -> np.ndarray:
        train = self._train
        first = oracles.balanced_indices(len(train), num_samples, rng)
        other = oracles.balanced_indices(len(train), num_samples, rng)
        other = np.where(other == first, (first + 1) % len(train), other)
        weight = rng.beta(self.alpha, self.alpha, (num_samples, 1, 1))
        return weight * train[first] + (1 - weight) * train[other]


@dataclass(eq=False)
class Smote(Baseline):
    """A point between a training window and one of its neighbours.

    ``x_i + u (x_j - x_i)`` with ``u`` uniform on (0, 1) and ``j`` among the
    ``num_neighbors`` nearest of ``i``, in units of each pixel's deviation.
    Chawla et al. (2002), "SMOTE: Synthetic minority over-sampling technique".

    Parameters
    ----------
    num_neighbors
        Neighbours to choose from.
    """

    num_neighbors: int = 5
    grid: ClassVar[tuple[Mapping[str, Any], ...]] = tuple(
        {"num_neighbors": k} for k in (2, 5, 15)
    )

    def _fit(self, windows: np.ndarray, validation: np.ndarray | None) -> None:
        mean, deviation = pixel_scale(windows)
        rows = ((windows - mean) / deviation).reshape(len(windows), -1)
        num = min(self.num_neighbors, len(rows) - 1)
        search = NearestNeighbors(n_neighbors=num).fit(rows)
        self._neighbors = search.kneighbors(return_distance=False)

    def _sample(self, num_samples: int, rng: np.random.Generator) -> np.ndarray:
        train, neighbors = self._train, self._neighbors
        first = oracles.balanced_indices(len(train), num_samples, rng)
        rank = rng.integers(neighbors.shape[1], size=num_samples)
        share = rng.random((num_samples, 1, 1))
        return train[first] + share * (train[neighbors[first, rank]] - train[first])
