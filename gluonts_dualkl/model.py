"""The fitted model: marginal map, path, and the sampler that walks along it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from gluonts_dualkl.critics import StatisticsFeatures
from gluonts_dualkl.gaussian import CausalGaussian
from gluonts_dualkl.marginals import MarginalMap
from gluonts_dualkl.paths import PathLeg, boost, follow
from gluonts_dualkl.references import (
    DonorPaths,
    GaussianReference,
    Recombination,
    Reference,
)
from gluonts_dualkl.samplers import TiltedWalkers, metropolis

__all__ = ["DualModel", "default_mean_block"]

COPY_QUANTILE = 0.05
NUM_REFERENCE_DRAWS = 1000
CANDIDATES = 8


def default_mean_block(length: int) -> float:
    """Mean stay with a donor: a twelfth of the window, at least 4 steps."""
    return max(4.0, length / 12)


@dataclass(frozen=True)
class DualModel:
    """A fitted path from independent pixels to the law of the data.

    Attributes
    ----------
    marginals
        Map between original units and normal scores.
    train
        Training series in normal scores, ``(N, T, C)``, float32.
    gaussian
        The Gaussian leg.
    features
        Statistics that the learned legs are linear in.
    legs
        The learned legs in path order.
    mean_block
        Mean stay with a donor, time steps.
    copy_distance
        Euclidean distance in normal scores under which a series counts as a copy: 5 %
        of the training series have a nearer neighbour.
    """

    marginals: MarginalMap
    train: Tensor
    gaussian: CausalGaussian
    features: StatisticsFeatures
    legs: tuple[PathLeg, ...]
    mean_block: float
    copy_distance: float

    @classmethod
    def fit(
        cls,
        values: np.ndarray,
        generator: torch.Generator,
        mean_block: float | None = None,
        max_rounds: int = 16,
        step_size: float = 0.7,
        num_walkers: int = 600,
        num_steps: int = 10,
    ) -> DualModel:
        """Fit to ``values`` ``(N, T, C)``, finite, no channel constant."""
        device = generator.device
        marginals = MarginalMap.fit(values).to(device)
        z = marginals.to_normal(torch.as_tensor(values, device=device))
        gaussian = CausalGaussian.select(z, generator)
        features = StatisticsFeatures.fit(marginals, z)
        block = mean_block or default_mean_block(z.shape[1])
        reference = Recombination(z, gaussian, block)
        copy_distance = _copy_distance(z)

        def walk(law: Reference, guard: CopyGuard | None = None) -> TiltedWalkers:
            return TiltedWalkers(law, features, num_walkers, generator, guard)

        rounds = (max_rounds, step_size, num_steps, generator)
        draws = features(reference.start(NUM_REFERENCE_DRAWS, generator).z)
        between = boost(draws, walk(GaussianReference(gaussian)), *rounds)
        recombined = walk(reference, CopyGuard(z, copy_distance))
        recombined.move(num_steps)
        above = boost(features(z), recombined, *rounds)
        walkers = walk(GaussianReference(gaussian))
        legs = (
            follow(walkers, "recombination", between, num_steps),
            follow(walkers, "data", above, num_steps),
        )
        return cls(marginals, z, gaussian, features, legs, block, copy_distance)

    @cached_property
    def reference(self) -> Recombination:
        """The recombination reference that the sampler walks on."""
        return Recombination(self.train, self.gaussian, self.mean_block)

    @cached_property
    def guard(self) -> CopyGuard:
        """The penalty on near copies that is part of the sampler's law."""
        return CopyGuard(self.train, self.copy_distance)

    def log_ratio(self, values: np.ndarray) -> dict[str, Tensor]:
        """Normalised dual functions of series ``(n, T, C)`` by leg, ``(n,)``, nats."""
        x = torch.as_tensor(values, device=self.train.device)
        return self.log_ratio_of_scores(self.marginals.to_normal(x))

    def log_ratio_of_scores(self, z: Tensor) -> dict[str, Tensor]:
        """The same of normal scores ``z``."""
        phi = self.features(z)
        ratios = {"gaussian": self.gaussian.log_ratio(z)}
        for leg in self.legs:
            ratios[leg.name] = (phi @ leg.weights).double() - leg.log_normaliser
        return ratios

    def log_tilt(self, z: Tensor) -> Tensor:
        """Log-tilt of the sampler on the recombination reference, guard included."""
        return self.features(z) @ self.legs[-1].weights + self.guard(z)

    def count_near_copies(self, z: Tensor) -> int:
        """Series of ``z`` ``(n, T, C)`` nearer to training than the guard allows."""
        return int((self.guard.nearest(z) < self.copy_distance).sum())

    def draw(
        self, num_samples: int, num_steps: int, generator: torch.Generator
    ) -> DonorPaths:
        """Independent chains: the best of a few recombinations by weight, then a walk.

        Of ``CANDIDATES`` draws of the reference a row keeps one with probability
        proportional to ``exp(tilt)``; ``num_steps`` Metropolis moves follow.
        """
        state = self.reference.start(CANDIDATES * num_samples, generator)
        tilt = self.log_tilt(state.z).reshape(CANDIDATES, num_samples)
        picked = torch.multinomial(
            torch.softmax(tilt, 0).T, 1, generator=generator
        ).ravel()
        rows = picked * num_samples + torch.arange(num_samples, device=picked.device)
        state, _, _ = metropolis(
            self.reference, self.log_tilt, state[rows], num_steps, generator
        )
        return state

    def walk(
        self, num_steps: int, generator: torch.Generator
    ) -> tuple[DonorPaths, np.ndarray]:
        """One chain from a reference draw: its distinct states and when it came there.

        Returns
        -------
        States, ``S`` rows, and the number of the move that led to each, ``(S,)``.
        """
        state = self.reference.start(1, generator)
        states, steps = [state], [0]
        for step in range(1, num_steps + 1):
            new, _, info = metropolis(
                self.reference, self.log_tilt, state, 1, generator
            )
            if info.acceptance:
                state = new
                states.append(new)
                steps.append(step)
        return DonorPaths.cat(states), np.array(steps)


class CopyGuard:
    """A steep penalty on series nearer to a training series than ``distance``."""

    def __init__(self, train: Tensor, distance: float) -> None:
        self.train, self.distance = train.reshape(len(train), -1), distance

    def nearest(self, z: Tensor) -> Tensor:
        """Distance to the nearest training series, ``(n,)``."""
        return torch.cdist(z.reshape(len(z), -1), self.train).amin(1)

    def __call__(self, z: Tensor) -> Tensor:
        short = (1 - self.nearest(z) / self.distance).clamp(min=0)
        return torch.where(short > 0, -50 - 1e3 * short, 0.0)


def _copy_distance(z: Tensor) -> float:
    flat = z.reshape(len(z), -1)
    distance = torch.cdist(flat, flat).fill_diagonal_(torch.inf)
    return float(distance.amin(1).quantile(COPY_QUANTILE))
