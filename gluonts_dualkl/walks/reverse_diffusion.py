"""Series drawn along the noise path, from pure noise back to the data."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from gluonts_dualkl.laws.noise import LARGEST, STEP_SIZE, NoisePath
from gluonts_dualkl.walks.langevin import MALA, TARGET_ACCEPTANCE

__all__ = ["reverse_diffusion"]


def reverse_diffusion(
    path: NoisePath,
    num_samples: int,
    num_steps: int,
    generator: torch.Generator,
    *,
    corrector_steps: int = 0,
    final_steps: int = 0,
) -> Tensor:
    """Draw series by ancestral reverse diffusion, ``(n, T, C)``.

    Parameters
    ----------
    path
        A fitted noise path.
    num_samples, num_steps
        Series, and steps of the noise level, equal in ``s``.
    corrector_steps
        Metropolis-adjusted Langevin moves on ``exp(-U(z, s))`` at every level,
        preconditioned by ``S_s`` (predictor-corrector, Song et al. 2021; that the
        score has a potential is what allows the acceptance).
    final_steps
        Further moves at the smallest level.

    Returns
    -------
    ``E[x | z]`` at the smallest level, so without the noise left there.
    """
    if min(num_samples, num_steps) < 1:
        raise ValueError(
            f"num_samples is {num_samples} and num_steps {num_steps}; give at "
            "least 1 of each"
        )
    shape = (num_samples, path.length, path.channels)
    z = torch.randn(shape, generator=generator, device=path.values.device)
    start, end = math.pi * LARGEST / 2, math.pi * path.smallest / 2
    angles = torch.linspace(start, end, num_steps + 1).tolist()
    size = STEP_SIZE * len(path.values) ** (-1 / 3)
    for k, (old, new) in enumerate(zip(angles[:-1], angles[1:])):
        z = _ancestor(path, z, old, new, generator)
        moves = corrector_steps + (final_steps if k == num_steps - 1 else 0)
        z, size = _correct(path, z, new, moves, size, generator)
    return _denoise(path, z, end)[0]


def _denoise(path: NoisePath, z: Tensor, angle: float) -> tuple[Tensor, Tensor]:
    """``E[x | z]`` and ``E[n | z]`` at one angle."""
    rows = torch.full((len(z),), angle, device=z.device)
    noise = math.sin(angle) * path.gradients(z, rows)[1]
    return (z - math.sin(angle) * noise) / math.cos(angle), noise


def _ancestor(
    path: NoisePath, z: Tensor, old: float, new: float, generator: torch.Generator
) -> Tensor:
    """A draw of ``p(z_new | z_old, x = E[x | z_old])`` (Ho, Jain & Abbeel 2020)."""
    clean, noise = _denoise(path, z, old)
    shrink = 1 - (math.cos(old) / math.cos(new)) ** 2
    fresh = math.sin(new) / math.sin(old) * math.sqrt(shrink)
    kept = math.sqrt(math.sin(new) ** 2 - fresh**2)
    draw = torch.randn(z.shape, generator=generator, device=z.device)
    return math.cos(new) * clean + kept * noise + fresh * draw


def _correct(
    path: NoisePath,
    z: Tensor,
    angle: float,
    num_steps: int,
    size: float,
    generator: torch.Generator,
) -> tuple[Tensor, float]:
    """Metropolis moves at one angle; the step size drifts to a good acceptance."""
    if num_steps == 0:
        return z, size
    scale = path.spread(z.new_tensor([angle])).sqrt()
    sampler = MALA(path.whitened(angle), size)
    state = sampler.init(((z.flatten(1) @ path.vectors) / scale).view_as(z))
    for _ in range(num_steps):
        state, info = sampler.step(state, generator)
        drift = 0.5 * (float(info.probability.mean()) - TARGET_ACCEPTANCE)
        sampler = replace(sampler, step_size=sampler.step_size * math.exp(drift))
    z = ((state.z.flatten(1) * scale) @ path.vectors.T).view_as(z)
    return z, sampler.step_size
