"""The elliptical leg: the causal Gaussian with another law of its radius.

Some series are stormier than others as a whole. In the whitened innovations ``e`` of
the causal Gaussian, ``Q = |e|^2`` is then spread much wider than the ``chi^2`` law with
``D = T C`` degrees that a Gaussian gives it, while the direction ``e / |e|`` may stay
uniform. The law with that radius is elliptical, and its dual function against the
Gaussian is known in closed form,

    f(z) = log p(Q) - log chi^2_D(Q),        log Q ~ N(mean, deviation^2).

Mean and deviation come from series that the Gaussian was not fitted to, and the leg is
left out where their likelihood does not gain by it. The construction is ours; radial
laws are those of Fang, Kotz & Ng (1990).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from gluonts_dualkl.laws.gaussian import FOLDS, CausalGaussian

__all__ = ["RadialLaw"]

MIN_DEVIATION = 1e-3


@dataclass(frozen=True)
class RadialLaw:
    """Law of the squared radius of whitened innovations.

    Attributes
    ----------
    mean, deviation
        Of ``log Q``, ``()`` each; a deviation of zero stands for ``chi^2_D`` itself.
    size
        ``D``, the number of pixels, ``()``.
    """

    mean: Tensor
    deviation: Tensor
    size: Tensor

    @classmethod
    def fit(
        cls, z: Tensor, law: CausalGaussian, generator: torch.Generator
    ) -> RadialLaw:
        """Fit to scores ``z`` ``(N, T, C)`` by 5-fold innovations.

        ``law`` says the order and the shrinkage of the Gaussian of every fold.
        """
        fold = torch.randperm(len(z), generator=generator, device=z.device) % FOLDS
        radius = z.new_zeros(len(z), dtype=torch.float64)
        for k in range(FOLDS):
            other = law.refitted(z[fold != k])
            radius[fold == k] = _log_square(other.innovations(z[fold == k]))
        size = torch.tensor(z[0].numel(), dtype=torch.float64, device=z.device)
        mean, spread = radius.mean(), radius.std().clamp(min=MIN_DEVIATION)
        found = cls(mean, spread, size)
        if float(found._log_ratio(radius).mean()) <= 2 / len(z):
            return cls(mean, torch.zeros_like(spread), size)
        return found

    @property
    def is_gaussian(self) -> bool:
        """Whether the leg is left out."""
        return float(self.deviation) == 0

    def state(self) -> dict[str, Tensor]:
        """The tensors of the law by attribute."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def log_ratio(self, innovations: Tensor) -> Tensor:
        """Dual function of series with whitened innovations ``(n, T, C)``, ``(n,)``."""
        if self.is_gaussian:
            return innovations.new_zeros(len(innovations), dtype=torch.float64)
        return self._log_ratio(_log_square(innovations))

    def with_own_radius(
        self, innovations: Tensor, generator: torch.Generator
    ) -> Tensor:
        """The same directions with radii drawn from the law, ``(n, T, C)``."""
        noise = _normal(innovations.shape[:1], innovations, generator)
        return _at_radius(innovations, self.mean + self.deviation * noise)

    def with_gaussian_radius(
        self, innovations: Tensor, generator: torch.Generator
    ) -> Tensor:
        """The same directions with the radii of a Gaussian, ``(n, T, C)``."""
        noise = _normal(innovations.shape, innovations, generator)
        return _at_radius(innovations, _log_square(noise))

    def moved(
        self,
        directions: Tensor,
        old: Tensor,
        step: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        """Directions at radii moved from those of ``old``, ``(n, T, C)``.

        A Crank-Nicolson move of ``log Q`` by ``step``, ``(n, 1, 1)``.
        """
        noise = _normal(old.shape[:1], old, generator)
        size = step.ravel()
        kept = (1 - size.square()).sqrt() * (_log_square(old) - self.mean)
        return _at_radius(directions, self.mean + kept + size * self.deviation * noise)

    def _log_ratio(self, log_square: Tensor) -> Tensor:
        """``log p(Q) - log chi^2_D(Q)`` at ``log Q``; the Jacobians of both cancel."""
        deviates = (log_square - self.mean) / self.deviation
        lognormal = -0.5 * deviates.square() - self.deviation.log()
        lognormal = lognormal - 0.5 * math.log(2 * math.pi)
        half = 0.5 * self.size
        chi_square = half * (log_square - math.log(2)) - 0.5 * log_square.exp()
        return lognormal - (chi_square - torch.lgamma(half))


def _log_square(innovations: Tensor) -> Tensor:
    return innovations.double().square().sum((1, 2)).clamp(min=1e-12).log()


def _at_radius(innovations: Tensor, log_square: Tensor) -> Tensor:
    factor = torch.exp(0.5 * (log_square - _log_square(innovations)))
    return innovations * factor[:, None, None]


def _normal(shape: tuple[int, ...], like: Tensor, generator: torch.Generator) -> Tensor:
    noise = torch.randn(tuple(shape), generator=generator, device=like.device)
    return noise.to(torch.float64)
