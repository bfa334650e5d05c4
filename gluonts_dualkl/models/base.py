"""What every fitted path offers: log-ratios by leg, new series, walks, its parts.

A path model is a marginal map, the training series in normal scores, the closed-form
Gaussian leg and learned legs. :class:`~gluonts_dualkl.models.recombination.DualModel`
holds the default path, :mod:`~gluonts_dualkl.models.partition` those along partitions.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from gluonts_dualkl.laws.gaussian import CausalGaussian
from gluonts_dualkl.laws.marginals import MarginalMap
from gluonts_dualkl.laws.references import State

__all__ = [
    "NUM_STEPS",
    "CopyGuard",
    "Draws",
    "PathModel",
    "ValueSpace",
    "copy_distance",
    "copy_ratio",
    "sum_legs",
]

NUM_STEPS = 40
COPY_QUANTILE = 0.03
MIN_SERIES = 4
TINY = 1e-12
BLOCK_NUMBERS = 16_000_000
BLOCK_PIXELS = 4_000_000


@dataclass(frozen=True)
class Draws(State):
    """Series in normal scores with the training series each step is related to.

    Attributes
    ----------
    donors
        Index of a training series for every step, ``(n, T)``: the one it was made from,
        or the nearest one where a sampler makes series from none.
    shifts
        A step ``t`` was made from step ``t + shift`` of its donor, ``(n, T)``.
    """

    donors: Tensor
    shifts: Tensor


@dataclass(frozen=True)
class PathModel(ABC):
    """A fitted path from independent pixels to the law of the data.

    Attributes
    ----------
    conditional
        Whether the path makes series of donors, so that :meth:`conditioned` works.
    marginals
        Map between original units and normal scores.
    train
        Training series in normal scores, ``(N, T, C)``, float32.
    gaussian
        The Gaussian leg.
    copy_distance
        Euclidean distance in standardised values, see :class:`ValueSpace`, under which
        a series counts as a copy: 3 % of the training series have a nearer neighbour.
    """

    kind: ClassVar[str]
    conditional: ClassVar[bool] = False

    marginals: MarginalMap
    train: Tensor
    gaussian: CausalGaussian
    copy_distance: float

    @cached_property
    def guard(self) -> CopyGuard:
        """The penalty on near copies that is part of the sampler's law."""
        space = ValueSpace(self.marginals, self.train)
        return CopyGuard(self.train, self.copy_distance, space=space)

    def log_ratio(self, values: np.ndarray) -> dict[str, Tensor]:
        """Normalised dual functions of series ``(n, T, C)`` by leg, ``(n,)``, nats.

        By blocks of series, so that memory does not grow with ``n``.
        """
        rows = max(1, BLOCK_PIXELS // max(1, math.prod(values.shape[1:])))
        blocks = []
        for start in range(0, max(1, len(values)), rows):
            x = torch.as_tensor(values[start : start + rows], device=self.train.device)
            blocks.append(self.log_ratio_of_scores(self.marginals.to_normal(x)))
        return {name: torch.cat([b[name] for b in blocks]) for name in blocks[0]}

    def count_near_copies(self, z: Tensor) -> int:
        """Series of ``z`` ``(n, T, C)`` nearer to training than the guard allows."""
        return int((self.guard.nearest(z) < self.copy_distance).sum())

    def with_nearest(self, z: Tensor) -> Draws:
        """Series ``z`` ``(n, T, C)`` with the nearest training series as donors."""
        nearest = self.guard.nearest_rows(z)
        donors = nearest[:, None].expand(-1, z.shape[1])
        return Draws(z, donors, torch.zeros_like(donors))

    def conditioned(self, rows: Tensor) -> PathModel:
        """The model with training series ``rows`` ``(m,)`` as the only donors."""
        raise ValueError(
            f"the path {self.kind!r} makes series of no donors and cannot be "
            f"conditioned on {len(rows)} of them; train the path 'recombination'."
        )

    @abstractmethod
    def log_ratio_of_scores(self, z: Tensor) -> dict[str, Tensor]:
        """The same as :meth:`log_ratio` of normal scores ``z``, in path order."""

    @property
    @abstractmethod
    def integrated_shift(self) -> float:
        """What normalisers by thermodynamic integration add to a log-ratio, nats."""

    @property
    @abstractmethod
    def losses(self) -> dict[str, float]:
        """Held-out log-loss that each learned leg ended with, nats."""

    @abstractmethod
    def draw(self, num_samples: int, num_steps: int, generator: torch.Generator) -> Any:
        """Independent series as a state with ``z`` and ``donors``."""

    @abstractmethod
    def walk(
        self, num_steps: int, generator: torch.Generator
    ) -> tuple[Any, np.ndarray]:
        """One chain of the sampler: its distinct states and when it came there.

        Returns
        -------
        States, ``S`` rows, and the number of the move that led to each, ``(S,)``.
        """

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Plain facts, fit for JSON, that :meth:`restore` needs beside the tensors."""

    @abstractmethod
    def tensors(self) -> dict[str, Any]:
        """Learned tensors by name, nested dicts allowed."""

    @classmethod
    @abstractmethod
    def restore(
        cls, shared: dict[str, Any], facts: dict[str, Any], tensors: dict[str, Any]
    ) -> PathModel:
        """The model again, from the attributes of this class, facts and tensors."""


def sum_legs(ratios: dict[str, Tensor]) -> Tensor:
    """The log-ratio of a whole path, ``(n,)``, from those of its legs."""
    return torch.stack(list(ratios.values())).sum(0)


class ValueSpace:
    """Values standardised by the channels of the training series.

    A reader sees series so, and copies are measured there
    (:mod:`gluonts_dualkl.evaluation.metrics.privacy`). Normal scores stretch what is
    rare or small, and hide in it that the rest is nearly the same.

    Parameters
    ----------
    marginals
        The map that knows the values of normal scores.
    train
        Training series in normal scores, ``(N, T, C)``.
    """

    def __init__(self, marginals: MarginalMap, train: Tensor) -> None:
        self.marginals = marginals
        values = marginals.from_normal(train)
        self.location = values.mean((0, 1))
        self.scale = values.std((0, 1), correction=0).clamp(min=TINY)

    def __call__(self, z: Tensor) -> Tensor:
        """Standardised values of series ``z`` ``(n, T, C)``, of the same shape."""
        return (self.marginals.from_normal(z) - self.location) / self.scale


class CopyGuard:
    """A steep penalty on series that are too near to one training series.

    With ``d_1`` and ``d_2`` the Euclidean distances to the nearest and the second
    nearest training series, on series with

        d_1 < distance    or    d_1 / d_2 < ratio.

    The second is the nearest-neighbour distance ratio, a measure of privacy (Zhao et
    al. 2021, "CTAB-GAN"): what has one near relative and no others resembles that one,
    however far it is.

    Parameters
    ----------
    train
        Training series in normal scores, ``(N, T, C)``.
    distance, ratio
        The limits, see :func:`copy_distance` and :func:`copy_ratio`; a ratio of 0 is
        none.
    space
        Where distances are measured, see :class:`ValueSpace`; by default normal scores.
    """

    def __init__(
        self,
        train: Tensor,
        distance: float,
        ratio: float = 0.0,
        space: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.distance, self.ratio, self.space = distance, ratio, space
        self.train = self._rows(train)

    def nearest(self, z: Tensor) -> Tensor:
        """Distance to the nearest training series, ``(n,)``."""
        return torch.cat([d.amin(1) for d in self._distances(z)])

    def nearest_rows(self, z: Tensor) -> Tensor:
        """Which training series is nearest, ``(n,)``."""
        return torch.cat([d.argmin(1) for d in self._distances(z)])

    def __call__(self, z: Tensor) -> Tensor:
        """Log-penalty of series ``z`` ``(n, T, C)``, ``(n,)``."""
        if self.ratio and len(self.train) > 1:
            first, second = _two_nearest(self._distances(z))
            short = (1 - first / second.clamp(min=TINY) / self.ratio).clamp(min=0)
        else:
            first = self.nearest(z)
            short = torch.zeros_like(first)
        short = torch.maximum(short, (1 - first / self.distance).clamp(min=0))
        return torch.where(short > 0, -50 - 1e3 * short, 0.0)

    def _rows(self, z: Tensor) -> Tensor:
        seen = z if self.space is None else self.space(z)
        return seen.reshape(len(seen), -1)

    def _distances(self, z: Tensor) -> Iterator[Tensor]:
        return _distances(self._rows(z), self.train)


def copy_distance(x: Tensor) -> float:
    """Distance to the nearest other series that 3 % of series ``x`` fall below."""
    flat = x.reshape(len(x), -1)
    nearest = torch.cat([d.amin(1) for d in _distances_to_others(flat)])
    return float(nearest.quantile(COPY_QUANTILE))


def copy_ratio(x: Tensor, share: float) -> float:
    """Nearest-neighbour distance ratio that a ``share`` of series ``x`` fall below.

    Among the other series; 0 with a share of 0 or fewer than ``MIN_SERIES`` series.
    """
    if not share or len(x) < MIN_SERIES:
        return 0.0
    first, second = _two_nearest(_distances_to_others(x.reshape(len(x), -1)))
    return float((first / second.clamp(min=TINY)).quantile(share))


def _two_nearest(distances: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """The two smallest of each row of blocks of distances, ``(n,)`` each."""
    pairs = [d.topk(2, 1, largest=False).values for d in distances]
    first, second = torch.cat(pairs).unbind(1)
    return first, second


def _distances_to_others(flat: Tensor) -> Iterator[Tensor]:
    """Distances between rows ``(N, D)``, infinite to the row itself, by blocks."""
    start = 0
    for distance in _distances(flat, flat):
        own = torch.arange(len(distance), device=flat.device)
        distance[own, start + own] = torch.inf
        yield distance
        start += len(distance)


def _distances(z: Tensor, train: Tensor) -> Iterator[Tensor]:
    """Euclidean distances from rows ``z`` ``(n, D)`` to ``train``, by blocks of rows.

    A block and its distances have at most ``BLOCK_NUMBERS`` numbers.
    """
    rows = max(1, BLOCK_NUMBERS // max(1, len(train), z.shape[1]))
    for block in z.split(rows):
        yield torch.cdist(block, train)
