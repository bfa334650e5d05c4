"""What every fitted path offers: log-ratios by leg, new series, walks, its parts.

A path model is a marginal map, the training series in normal scores, the closed-form
Gaussian leg and learned legs. :class:`~gluonts_dualkl.models.recombination.DualModel`
holds the default path, :mod:`~gluonts_dualkl.models.partition` those along partitions.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from gluonts_dualkl.laws.gaussian import CausalGaussian
from gluonts_dualkl.laws.marginals import MarginalMap
from gluonts_dualkl.laws.references import State
from gluonts_dualkl.walks.copies import CopyGuard, CopyLimits, ValueSpace

__all__ = [
    "NUM_STEPS",
    "Draws",
    "PathModel",
    "sum_legs",
]

NUM_STEPS = 40
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
    copy_limits
        What draws must keep from the training series, see
        :class:`~gluonts_dualkl.walks.copies.CopyGuard`.
    """

    kind: ClassVar[str]
    conditional: ClassVar[bool] = False

    marginals: MarginalMap
    train: Tensor
    gaussian: CausalGaussian
    copy_limits: tuple[CopyLimits, ...]

    @cached_property
    def guard(self) -> CopyGuard:
        """The penalty on near copies that is part of the sampler's law."""
        space = ValueSpace(self.marginals, self.train)
        return CopyGuard(self.train, self.copy_limits, space)

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
        return int(self.guard.near_copies(z).sum())

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
