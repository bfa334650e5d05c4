"""The noise path behind the interface of all fitted paths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from gluonts_dualkl.laws.gaussian import CausalGaussian
from gluonts_dualkl.laws.marginals import MarginalMap
from gluonts_dualkl.laws.noise import NoisePath
from gluonts_dualkl.models.base import Draws, PathModel
from gluonts_dualkl.walks.copies import CopyGuard, ValueSpace
from gluonts_dualkl.walks.reverse_diffusion import reverse_diffusion

__all__ = ["NoiseModel"]

HELD_OUT = 0.2
DIFFUSION_STEPS = 60


@dataclass(frozen=True)
class NoiseModel(PathModel):
    """A scalar potential on the path of growing noise.

    Attributes
    ----------
    noise
        The fitted potential; see :mod:`gluonts_dualkl.laws.noise`.
    """

    kind: ClassVar[str] = "noise"

    noise: NoisePath

    @classmethod
    def fit(
        cls,
        values: np.ndarray,
        generator: torch.Generator,
        max_steps: int = 1500,
        marginals: str = "auto",
    ) -> NoiseModel:
        """Fit to ``values`` ``(N, T, C)``, finite, no channel constant.

        The base of the potential is the Gaussian leg. A fifth of the series, at random,
        stops the training.
        """
        device = generator.device
        maps = MarginalMap.fit(values, marginals).to(device)
        z = maps.to_normal(torch.as_tensor(values, device=device))
        gaussian = CausalGaussian.select(z, generator)
        order = torch.randperm(len(z), generator=generator, device=device)
        held = max(4, round(HELD_OUT * len(z)))
        noise = NoisePath.fit(
            z[order[held:]],
            z[order[:held]],
            gaussian.covariance(),
            generator,
            max_steps=max_steps,
        )
        limits = CopyGuard.fit(z, ValueSpace(maps, z)).limits
        return cls(maps, z, gaussian, limits, noise)

    def log_ratio_of_scores(self, z: Tensor) -> dict[str, Tensor]:
        """Dual functions of normal scores ``z`` by interval of noise, ``(n,)``, nats.

        From much noise to little.
        """
        by_scale = self.noise.log_ratio_by_scale(z)
        return {name: nats.double() for name, nats in by_scale.items()}

    @property
    def integrated_shift(self) -> float:
        """Zero: the normaliser is integrated along the noise already."""
        return 0.0

    @property
    def losses(self) -> dict[str, float]:
        """Empty: the legs are trained by denoising, which has no log-loss."""
        return {}

    def draw(
        self, num_samples: int, num_steps: int, generator: torch.Generator
    ) -> Draws:
        """Series by reverse diffusion with ``num_steps`` Langevin moves at the end."""
        z = reverse_diffusion(
            self.noise, num_samples, DIFFUSION_STEPS, generator, final_steps=num_steps
        )
        return self.with_nearest(z)

    def walk(
        self, num_steps: int, generator: torch.Generator
    ) -> tuple[Draws, np.ndarray]:
        """States of one reverse diffusion are not kept: its end, see :meth:`draw`."""
        return self.draw(1, num_steps, generator), np.array([num_steps])

    def facts(self) -> dict[str, Any]:
        """Nothing beside the tensors."""
        return {}

    def tensors(self) -> dict[str, Any]:
        """The potential."""
        return {"noise": self.noise.state()}

    @classmethod
    def restore(
        cls, shared: dict[str, Any], facts: dict[str, Any], tensors: dict[str, Any]
    ) -> NoiseModel:
        """The model again, see :meth:`PathModel.restore`."""
        return cls(**shared, noise=NoisePath.from_state(tensors["noise"]))
