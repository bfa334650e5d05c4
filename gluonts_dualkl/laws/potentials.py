"""The network of the noise path: one energy for series at all levels of noise."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

__all__ = ["Energy"]

DILATIONS = (1, 2, 4)


class Energy(nn.Module):
    """Local energies of series summed over time, ``h(z, s)``.

    A residual dilated convolution over ``z`` and the noise that the Gaussian base
    predicts, modulated by the angle and told the place in the window, gives fields
    ``F`` and ``e``, ``(n, C + 1, T)``; ``h = sum_t (z_t . F_t + e_t)``.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.inlet = nn.Conv1d(2 * channels + 5, width, 3, padding=1)
        self.level = nn.Linear(8, width)
        self.modulation = nn.Linear(width, 2 * width * len(DILATIONS))
        self.blocks = nn.ModuleList(
            nn.Conv1d(width, width, 3, padding=d, dilation=d) for d in DILATIONS
        )
        self.outlet = nn.Conv1d(width, channels + 1, 1)

    @torch.no_grad()
    def reset(self, generator: torch.Generator) -> None:
        """Draw the weights; the outlet starts at zero, so that ``U`` is Gaussian."""
        for name, weight in self.named_parameters():
            if weight.ndim == 1 or name.startswith("outlet"):
                weight.zero_()
            else:
                weight.normal_(generator=generator).div_(weight[0].numel() ** 0.5)

    def forward(self, z: Tensor, noise: Tensor, angle: Tensor) -> Tensor:
        """``h`` of series ``(n, T, C)`` at angles ``(n,)``, ``(n,)``."""
        order = torch.arange(1, 6, device=z.device)
        turns = 2 * order[:3] * angle[:, None]
        odds = ((angle.sin() + 0.01) / (angle.cos() + 0.1)).log()[:, None] / 2
        level = torch.cat([turns.cos(), turns.sin(), odds, odds.square()], 1)
        modulation = self.modulation(silu(self.level(level)))[..., None]
        shares = (torch.arange(z.shape[1], device=z.device) + 0.5) / z.shape[1]
        place = (math.pi * order[:, None] * shares).cos().expand(len(z), -1, -1)
        rows = z.transpose(1, 2)
        hidden = self.inlet(torch.cat([rows, noise.transpose(1, 2), place], 1))
        for block, factors in zip(self.blocks, modulation.chunk(len(DILATIONS), 1)):
            scale, shift = factors.chunk(2, 1)
            hidden = hidden + block(silu(hidden * (1 + scale) + shift))
        fields = self.outlet(silu(hidden))
        return (rows * fields[:, :-1]).sum((1, 2)) + fields[:, -1].sum(1)
