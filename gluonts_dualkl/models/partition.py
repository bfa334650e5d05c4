"""Paths over partitions of the pixels, with a convolutional critic for all legs.

The single step, the line over blocks and the tree over time scales of
:mod:`gluonts_dualkl.laws.partitions`. The Gaussian part of every leg is known in closed
form and the network learns what is left, so that with legs ``f_k`` and the Gaussian law
``g``

    log p/q = log g/q + sum_k f_k.

Series are drawn by walks on ``log g + sum_k f_k``; see :data:`SAMPLERS`. The library's
default path is :class:`~gluonts_dualkl.models.recombination.DualModel`: it generates
better from few series. These paths say at which scale the dependency lives, and serve
as its rivals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from gluonts_dualkl.critics.networks import (
    ConvCritic,
    CriticFit,
    MLPCritic,
    QuadraticCritic,
)
from gluonts_dualkl.critics.objectives import LocalTerm, log_mean_exp
from gluonts_dualkl.critics.training import WalkedNegatives, fit_critic
from gluonts_dualkl.laws.gaussian import CausalGaussian
from gluonts_dualkl.laws.marginals import MarginalMap
from gluonts_dualkl.laws.partitions import (
    GaussianOffsets,
    PartitionPath,
    gaussian_offsets,
    line_path,
    single_step,
    tree_path,
)
from gluonts_dualkl.models.base import Draws, PathModel
from gluonts_dualkl.walks.annealing import (
    AnnealResult,
    anneal,
    resample_along_path,
    tempered,
)
from gluonts_dualkl.walks.copies import CopyGuard, ValueSpace
from gluonts_dualkl.walks.gradient_walk import GradientWalk
from gluonts_dualkl.walks.langevin import (
    MALA,
    GaussianPreconditioner,
    Langevin,
    advance,
)

__all__ = ["CRITICS", "PARTITIONS", "SAMPLERS", "CriticModel"]

PARTITIONS: dict[str, Callable[[int, int], PartitionPath]] = {
    "single": single_step,
    "line": lambda length, channels: line_path(length, channels, min(4, length)),
    "tree": tree_path,
}
CRITICS: dict[str, Callable[[int, int, int], nn.Module]] = {
    "convolution": lambda length, channels, legs: ConvCritic(
        channels, legs, length=length
    ),
    "perceptron": MLPCritic,
    "quadratic": QuadraticCritic,
}
SAMPLERS = ("mala", "langevin", "resampling", "gradient")

HELD_OUT = 0.2
STAGES = 8
STEPS_A_STAGE = 5
WALKERS = 400
CALIBRATION_DRAWS = 2000
MAX_SLOPE, SLOPES = 1.5, 30


@dataclass(frozen=True)
class CriticModel(PathModel):
    """Fitted dual functions along a partition path.

    Attributes
    ----------
    path
        Name in :data:`PARTITIONS`.
    critic
        Name in :data:`CRITICS`.
    fit_of_legs
        Network and normalisers.
    slope
        What the network's scores are multiplied by: the one in [0, 1.5] with the best
        log-likelihood, relative to the Gaussian, of the series that stopped training.
    sampler
        Name in :data:`SAMPLERS`: ``"mala"`` and ``"langevin"`` anneal draws of the
        Gaussian leg to the whole tilt by Metropolis-adjusted walks and go on with the
        sampler of the name; ``"resampling"`` is importance resampling of recombined
        groups along the path with a short walk; ``"gradient"`` walks from independent
        pixels up the gradient to levels of training series, the faithful walk.
    log_normaliser_integrated
        ``log E_G[exp(sum_k f_k)]`` by thermodynamic integration, nats; zero if the
        normalisers of the legs are right.
    """

    kind: ClassVar[str] = "partition"

    path: str
    critic: str
    fit_of_legs: CriticFit
    slope: float
    sampler: str
    log_normaliser_integrated: float

    @classmethod
    def fit(
        cls,
        values: np.ndarray,
        generator: torch.Generator,
        path: str = "tree",
        critic: str = "convolution",
        objective: str = "logistic",
        orientation: str = "data||marginals",
        local_neighbours: int | None = None,
        walked_negatives: bool = False,
        sampler: str = "mala",
        max_steps: int = 300,
        marginals: str = "auto",
    ) -> CriticModel:
        """Fit to ``values`` ``(N, T, C)``, finite, no channel constant.

        A fifth of the series, at random, stops the training.
        """
        for name, given, known in (
            ("path", path, PARTITIONS),
            ("critic", critic, CRITICS),
            ("sampler", sampler, SAMPLERS),
        ):
            if given not in known:
                raise ValueError(f"{name} is {given!r}; choose from {', '.join(known)}")
        device = generator.device
        maps = MarginalMap.fit(values, marginals).to(device)
        z = maps.to_normal(torch.as_tensor(values, device=device))
        gaussian = CausalGaussian.select(z, generator)
        length, channels = z.shape[1:]
        partition = PARTITIONS[path](length, channels)
        order = torch.randperm(len(z), generator=generator, device=device)
        held_out, train = z[order].tensor_split([max(4, round(HELD_OUT * len(z)))])
        legs = fit_critic(
            CRITICS[critic](length, channels, partition.num_legs).to(device),
            partition,
            train,
            held_out,
            generator,
            objective="donsker_varadhan" if walked_negatives else objective,
            orientation=orientation,
            offset=_offsets(gaussian, partition),
            local=local_neighbours and LocalTerm(local_neighbours) or None,
            walked=_walked(walked_negatives, partition),
            max_steps=max_steps,
        )
        base = gaussian.sample(CALIBRATION_DRAWS, generator).to(z.dtype)
        slope = _calibrated(legs.network, held_out, base)
        legs = replace(legs, log_normalisers=_normalisers(legs.network, slope, base))
        limits = CopyGuard.fit(z, ValueSpace(maps, z)).limits
        model = cls(maps, z, gaussian, limits, path, critic, legs, slope, sampler, 0.0)
        walkers = model._population(WALKERS, generator)
        return replace(
            model, log_normaliser_integrated=walkers.log_normaliser_integrated
        )

    @cached_property
    def partition(self) -> PartitionPath:
        """The path of laws."""
        return PARTITIONS[self.path](*self.train.shape[1:])

    @cached_property
    def preconditioner(self) -> GaussianPreconditioner:
        """Steps with the covariance of the Gaussian leg."""
        return GaussianPreconditioner(self.gaussian.factor().float())

    def corrections(self, z: Tensor) -> Tensor:
        """What each leg says beyond its Gaussian part, ``(n, K)``, nats."""
        legs = self.fit_of_legs
        return self.slope * legs.network(z) - legs.log_normalisers

    def tilt(self, z: Tensor) -> Tensor:
        """What the legs say beyond the Gaussian, ``sum_k f_k(z)``, ``(n,)``, nats."""
        return self.corrections(z).sum(1)

    def log_legs(self, z: Tensor) -> Tensor:
        """Normalised dual functions, their Gaussian part included, ``(n, K)``, nats."""
        assert self.fit_of_legs.offset is not None
        return self.corrections(z) + self.fit_of_legs.offset(z)

    def log_gaussian(self, z: Tensor) -> Tensor:
        """Log-density of the Gaussian leg up to a constant, ``(n,)``, nats."""
        own = z.double().square() / self.gaussian.variances
        return (self.gaussian.log_ratio(z) - 0.5 * own.sum((1, 2))).to(z.dtype)

    def log_density(self, z: Tensor) -> Tensor:
        """Log-density that is walked on, up to a constant, ``(n,)``, nats."""
        return self.log_gaussian(z) + self.tilt(z)

    def log_ratio_of_scores(self, z: Tensor) -> dict[str, Tensor]:
        """Normalised dual functions of normal scores ``z`` by leg, ``(n,)``, nats.

        ``"gaussian"`` is the closed form of all legs together; the others are what the
        critic adds on each.
        """
        scores = self.corrections(z).double()
        return {
            "gaussian": self.gaussian.log_ratio(z),
            **dict(zip(self.partition.names, scores.T)),
        }

    @property
    def integrated_shift(self) -> float:
        """What normalisers by thermodynamic integration add to a log-ratio, nats."""
        return -self.log_normaliser_integrated

    @property
    def losses(self) -> dict[str, float]:
        """Held-out log-loss that each leg ended with, nats."""
        losses = self.fit_of_legs.held_out_losses.tolist()
        return dict(zip(self.partition.names, losses))

    def draw(
        self, num_samples: int, num_steps: int, generator: torch.Generator
    ) -> Draws:
        """Independent series by the model's sampler."""
        if self.sampler == "gradient":
            z = self._climb(num_samples, generator)
        elif self.sampler == "resampling":
            z = self._resample(num_samples, num_steps, generator)
        else:
            z = self._anneal(num_samples, num_steps, generator)
        return self.with_nearest(z)

    def walk(
        self, num_steps: int, generator: torch.Generator
    ) -> tuple[Draws, np.ndarray]:
        """One chain from a draw of the Gaussian leg, see :meth:`PathModel.walk`."""
        start = self.gaussian.sample(1, generator).to(self.train.dtype)
        result = advance(
            self._walker(MALA), start, num_steps, generator, record_every=1
        )
        assert result.trajectory is not None
        z = result.trajectory[:, 0]
        moved = (z[1:] != z[:-1]).flatten(1).any(1)
        steps = np.concatenate([[0], 1 + np.flatnonzero(moved.cpu().numpy())])
        return self.with_nearest(z[torch.as_tensor(steps, device=z.device)]), steps

    def facts(self) -> dict[str, Any]:
        """Names of path, critic and sampler, and the integrated normaliser."""
        return {
            "path": self.path,
            "critic": self.critic,
            "slope": self.slope,
            "sampler": self.sampler,
            "log_normaliser_integrated": self.log_normaliser_integrated,
        }

    def tensors(self) -> dict[str, Any]:
        """Weights and normalisers of the legs."""
        return {"legs": self.fit_of_legs.state()}

    @classmethod
    def restore(
        cls, shared: dict[str, Any], facts: dict[str, Any], tensors: dict[str, Any]
    ) -> CriticModel:
        """The model again, see :meth:`PathModel.restore`."""
        length, channels = shared["train"].shape[1:]
        partition = PARTITIONS[facts["path"]](length, channels)
        network = CRITICS[facts["critic"]](length, channels, partition.num_legs)
        legs = CriticFit.from_state(
            network.to(shared["train"].device),
            tensors["legs"],
            _offsets(shared["gaussian"], partition),
        )
        return cls(**shared, **facts, fit_of_legs=legs)

    def _walker(self, kind: type[Langevin]) -> Langevin:
        size = 1.5 * self.train[0].numel() ** (-1 / 3)
        return kind(self.log_density, size, self.preconditioner, self._allowed)

    def _allowed(self, z: Tensor) -> Tensor:
        return ~self.guard.near_copies(z)

    def _population(self, num: int, generator: torch.Generator) -> AnnealResult:
        """Draws of the Gaussian leg annealed to the whole tilt, and ``log Z``."""
        betas = np.linspace(0, 1, STAGES + 1).tolist()
        return anneal(
            tempered(self.log_gaussian, self.tilt, betas),
            self.gaussian.sample(num, generator).to(self.train.dtype),
            generator,
            num_steps=STEPS_A_STAGE,
            step_size=1.5 * self.train[0].numel() ** (-1 / 3),
            preconditioner=self.preconditioner,
        )

    def _anneal(self, num: int, num_steps: int, generator: torch.Generator) -> Tensor:
        start = self._population(num, generator).z
        kind = Langevin if self.sampler == "langevin" else MALA
        return advance(self._walker(kind), start, num_steps, generator).z

    def _resample(self, num: int, num_steps: int, generator: torch.Generator) -> Tensor:
        legs = [
            lambda z, k=k: self.log_legs(z)[:, k]
            for k in range(self.partition.num_legs)
        ]
        return resample_along_path(
            self.partition.draw,
            legs,
            self.train,
            num,
            generator,
            start=self.partition.num_legs - 1,
            finish=self._walker(MALA),
            finish_steps=num_steps,
        ).z

    def _climb(self, num: int, generator: torch.Generator) -> Tensor:
        levels = self._level(self.train)
        place = torch.randint(
            len(levels), (num,), generator=generator, device=levels.device
        )
        start = self.partition.draw(self.train, 0, num, generator)
        walk = GradientWalk(self._level, guard=self._allowed)
        return walk.walk(start, levels[place]).z

    def _level(self, z: Tensor) -> Tensor:
        return self.log_legs(z).sum(1)


@torch.no_grad()
def _calibrated(network: nn.Module, held_out: Tensor, base: Tensor) -> float:
    """Slope with the largest ``b E_P[h] - log E_G[exp(b h)]``, ``h`` the scores' sum.

    That is the log-likelihood of held-out series under ``g exp(b h) / Z`` relative to
    ``g``, of which ``base`` are draws. Far laws are told apart by a critic that is much
    too steep, and the log-loss does not see it.
    """
    real, drawn = network(held_out).sum(1), network(base).sum(1)
    slopes = torch.linspace(0, MAX_SLOPE, SLOPES + 1, device=real.device)
    gains = slopes * real.mean() - log_mean_exp(slopes * drawn[:, None])
    return float(slopes[gains.argmax()])


@torch.no_grad()
def _normalisers(network: nn.Module, slope: float, base: Tensor) -> Tensor:
    """Constants that normalise each leg on the Gaussian tilted by those before it.

    ``(K,)``, nats; the means of the exponentials are over draws ``base`` of it.
    """
    total = log_mean_exp((slope * network(base)).cumsum(1))
    return torch.cat([total[:1], total.diff()])


def _offsets(gaussian: CausalGaussian, partition: PartitionPath) -> GaussianOffsets:
    return gaussian_offsets(partition, gaussian.covariance())


def _walked(wanted: bool, partition: PartitionPath) -> WalkedNegatives | None:
    if not wanted:
        return None
    return WalkedNegatives(beside_objective=partition.num_legs > 1)
