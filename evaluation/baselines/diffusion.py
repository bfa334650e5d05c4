"""Diffusion in the design of EDM with a convolutional denoiser."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from gluonts_dualkl.evaluation.baselines.diffusion_parts import (
    Averaged,
    DiffusionBaseline,
    LevelEmbedding,
    spread_uniform,
)

__all__ = ["EDM"]

_GROUPS = 8
_RHO = 7.0
_TAIL = 1e-4
_FLOOR = 1e-3


@dataclass(eq=False)
class EDM(DiffusionBaseline):
    r"""Preconditioned denoising over log-normal noise levels, sampled by Heun's method.

    With data of variance 1, noise ``n ~ N(0, s^2)`` and a network ``F``,

    ``D(x; s) = x / (s^2 + 1) + s / sqrt(s^2 + 1) F(x / sqrt(s^2 + 1), ln(s) / 4)``

    is trained by ``(s^2 + 1) / s^2 |D(x + n; s) - x|^2``, ``ln s`` normal. Sampling
    solves ``dx / ds = (x - D(x; s)) / s`` from ``sigma_max`` to 0 in steps spaced by
    ``s^(1/7)``, second order. Karras, Aittala, Aila & Laine (NeurIPS 2022),
    "Elucidating the design space of diffusion-based generative models". Written from
    the paper; the reference code is CC BY-NC-SA 4.0 and none of it was used.

    ``F`` is a stack of dilated residual blocks, its dilations geometric from 1 to
    ``T / 3``, with a learned code of the time step in the window.

    Our deviations, besides the network for series: few steps, dropout and early
    stopping; variance 1 of the data instead of 1/4; and, with ``whiten``, noise with
    the spectrum of the data. White noise drowns the fine steps of smooth series long
    before their levels, so series are centred by pixel, each cosine (DCT) coefficient
    of each channel is brought to variance 1, and the EDM runs on the series of these
    coefficients; ``F`` sees it also with its colour put back. Crabbé et al. (ICML
    2024), "Time series diffusion in the frequency domain", diffuse standardised
    coefficients too, but leave them in the frequency domain.

    Parameters
    ----------
    width
        Channels of the network, a multiple of 8.
    num_blocks
        Residual blocks of two convolutions each.
    whiten
        Whether noise has the spectrum of the data.
    mean_log_sigma, std_log_sigma
        Law of the logarithm of the noise level in training.
    sigma_min, sigma_max
        Smallest and largest noise level of sampling, in deviations of the data.

    Raises
    ------
    ValueError
        From ``fit``, if the width is no multiple of 8 or the noise levels are not
        ``0 < sigma_min < sigma_max``.
    """

    grid: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"dropout": 0.1},
        {"dropout": 0.3},
        {"dropout": 0.1, "whiten": False},
        {"dropout": 0.3, "whiten": False},
    )

    max_steps: int = 1500
    dropout: float = 0.3
    num_sampling_steps: int = 18
    width: int = 64
    num_blocks: int = 4
    whiten: bool = True
    mean_log_sigma: float = -1.2
    std_log_sigma: float = 1.2
    sigma_min: float = 0.01
    sigma_max: float = 40.0

    def _denoiser(self, length: int, channels: int) -> nn.Module:
        if self.width < _GROUPS or self.width % _GROUPS:
            raise ValueError(f"width: {self.width}, expected a multiple of {_GROUPS}")
        if not 0 < self.sigma_min < self.sigma_max:
            raise ValueError(
                f"sigma_min: {self.sigma_min}, expected above 0 and below sigma_max "
                f"({self.sigma_max})"
            )
        coordinates = _Coordinates(length, channels)
        if self.whiten:
            coordinates.measure(self._scaled(self._train).cpu())
        inner = _Convolutions(
            length, channels, self.width, self.num_blocks, self.dropout
        )
        return _Denoiser(coordinates, inner)

    def _loss(self, network: Averaged[_Denoiser], windows: Tensor) -> Tensor:
        x = network.network.coordinates.whiten(windows)
        uniform = spread_uniform(len(x), x.device).clamp(_TAIL, 1 - _TAIL)
        normal = torch.special.ndtri(uniform)
        sigma = (self.mean_log_sigma + self.std_log_sigma * normal).exp()
        spread = sigma[:, None, None]
        found = network(x + spread * torch.randn_like(x), sigma)
        return ((1 + spread**-2) * (found - x).square()).mean()

    def _walk(self, network: Averaged[_Denoiser], num_samples: int) -> Tensor:
        coordinates = network.network.coordinates
        sigmas = self._sigmas().to(coordinates.mean.device)
        x = sigmas[0] * torch.randn(
            num_samples, *coordinates.mean.shape, device=sigmas.device
        )

        def slope(x: Tensor, sigma: Tensor) -> Tensor:
            return (x - network(x, sigma.expand(num_samples))) / sigma

        for now, after in zip(sigmas[:-1], sigmas[1:], strict=True):
            first = slope(x, now)
            moved = x + (after - now) * first
            if after > 0:
                moved = x + (after - now) * (first + slope(moved, after)) / 2
            x = moved
        return coordinates.colour(x) + coordinates.mean

    def _sigmas(self) -> Tensor:
        """Noise levels of sampling, falling to 0, ``(steps + 1,)``."""
        high, low = (s ** (1 / _RHO) for s in (self.sigma_max, self.sigma_min))
        ramp = torch.linspace(0, 1, self.num_sampling_steps)
        return torch.cat([(high + ramp * (low - high)) ** _RHO, torch.zeros(1)])


class _Coordinates(nn.Module):
    """White series from windows and back: DCT, scale of each coefficient, DCT back.

    Until :meth:`measure` is called the two are the same.
    """

    basis: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(self, length: int, channels: int) -> None:
        super().__init__()
        times, frequencies = torch.arange(length) + 0.5, torch.arange(length)
        basis = torch.cos(math.pi / length * frequencies[:, None] * times)
        basis *= math.sqrt(2 / length)
        basis[0] /= math.sqrt(2)
        self.register_buffer("basis", basis)
        self.register_buffer("mean", torch.zeros(length, channels))
        self.register_buffer("scale", torch.ones(length, channels))

    def measure(self, windows: Tensor) -> None:
        """Take mean and scale ``(T, C)`` from windows ``(N, T, C)``."""
        self.mean = windows.mean(0)
        power = (self.basis @ (windows - self.mean)).square().mean(0)
        self.scale = power.sqrt().clamp(min=_FLOOR)

    def whiten(self, windows: Tensor) -> Tensor:
        """White series ``(B, T, C)`` of windows."""
        return self.basis.T @ (self.basis @ (windows - self.mean) / self.scale)

    def colour(self, white: Tensor) -> Tensor:
        """Windows less their mean ``(B, T, C)`` of white series."""
        return self.basis.T @ (self.basis @ white * self.scale)


class _Denoiser(nn.Module):
    """``D(x; s)`` for white series ``(B, T, C)`` and noise levels ``(B,)``."""

    def __init__(self, coordinates: _Coordinates, inner: nn.Module) -> None:
        super().__init__()
        self.coordinates = coordinates
        self.inner = inner

    def forward(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        spread = sigma[:, None, None]
        total = (spread.square() + 1).sqrt()
        seen = noisy / total
        both = torch.cat([seen, self.coordinates.colour(seen)], dim=2)
        return seen / total + spread / total * self.inner(both, sigma.log() / 4)


class _Convolutions(nn.Module):
    """Dilated residual blocks, ``(B, T, 2 C)`` and levels ``(B,)`` to ``(B, T, C)``."""

    def __init__(
        self, length: int, channels: int, width: int, num_blocks: int, dropout: float
    ) -> None:
        super().__init__()
        self.level = LevelEmbedding(width, 16.0)
        self.lift = nn.Conv1d(2 * channels, width, 1)
        self.place = nn.Parameter(0.1 * torch.randn(width, length))
        reach = math.log(max(1.0, length / 3)) / max(1, num_blocks - 1)
        dilations = [round(math.exp(reach * k)) for k in range(num_blocks)]
        self.blocks = nn.ModuleList(_Block(width, d, dropout) for d in dilations)
        self.out = nn.Sequential(
            nn.GroupNorm(_GROUPS, width), nn.SiLU(), nn.Conv1d(width, channels, 1)
        )
        for values in self.out[2].parameters():
            nn.init.zeros_(values)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        told = self.level(level)
        h = self.lift(x.transpose(1, 2)) + self.place
        for block in self.blocks:
            h = block(h, told)
        return self.out(h).transpose(1, 2)


class _Block(nn.Module):
    """Two convolutions around a scale and shift that come from the noise level."""

    def __init__(self, width: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.before = nn.Sequential(
            nn.GroupNorm(_GROUPS, width),
            nn.SiLU(),
            nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation),
            nn.GroupNorm(_GROUPS, width),
        )
        self.modulate = nn.Linear(width, 2 * width)
        self.after = nn.Sequential(
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation),
        )

    def forward(self, h: Tensor, told: Tensor) -> Tensor:
        scale, shift = self.modulate(told)[..., None].chunk(2, dim=1)
        return h + self.after(self.before(h) * (1 + scale) + shift)
