"""What the diffusion baselines share: averaged weights, noise levels, descent."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from gluonts_dualkl.evaluation.baselines.deep import DeepBaseline, Phase

__all__ = [
    "Averaged",
    "DiffusionBaseline",
    "LevelEmbedding",
    "NoiseSchedule",
    "spread_uniform",
]

_WARM_UP = 50
_CLIP = 1.0

Weights = tuple[Tensor, ...] | list[Tensor]
Network = TypeVar("Network", bound=nn.Module)


class Averaged(nn.Module, Generic[Network]):
    """A network beside the moving average of its weights.

    While training it calls the network, otherwise the average; both are in the state.
    The weight of the past is ``min(decay, (1 + k) / (10 + k))`` at update ``k``, so
    that the random first weights are soon forgotten.

    Parameters
    ----------
    network
        Network to train.
    decay
        Largest weight of the past, at least 0 and below 1.
    """

    network: Network

    def __init__(self, network: Network, decay: float) -> None:
        super().__init__()

        @torch.no_grad()
        def towards(past: Weights, now: Weights, count: Tensor | int) -> None:
            k = float(count)
            torch._foreach_lerp_(past, now, 1 - min(decay, (1 + k) / (10 + k)))

        self.network = network
        self.average = AveragedModel(network, multi_avg_fn=towards)
        self.average.requires_grad_(False)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Output of the network while training, of its average afterwards."""
        return (self.network if self.training else self.average)(*inputs)


@dataclass(eq=False)
class DiffusionBaseline(DeepBaseline):
    """A baseline with one denoising network, its weights averaged.

    AdamW with gradients clipped to norm 1; the rate rises over the first 50 steps (or a
    tenth of ``max_steps``) and falls along half a cosine to a tenth. Early stopping and
    sampling use the averaged weights; the held-out loss repeats the windows until they
    are about 256 (``held_out_draws`` of the class), each with noise of its own.

    Parameters
    ----------
    dropout
        Share of the features dropped in each block of the network.
    weight_decay
        Of AdamW.
    decay
        Largest weight of the past in the average of the weights.
    num_sampling_steps
        Steps from noise to data.
    """

    held_out_draws: ClassVar[int] = 256

    dropout: float = 0.1
    weight_decay: float = 0.0
    decay: float = 0.995
    num_sampling_steps: int = 25

    @abstractmethod
    def _denoiser(self, length: int, channels: int) -> nn.Module:
        """The network, untrained."""

    @abstractmethod
    def _loss(self, network: Averaged[Any], windows: Tensor) -> Tensor:
        """Denoising loss ``()`` of windows ``(B, T, C)`` at random noise levels."""

    @abstractmethod
    def _walk(self, network: Averaged[Any], num_samples: int) -> Tensor:
        """Walk from noise to windows ``(n, T, C)`` in scaled units."""

    def _build(self, length: int, channels: int) -> nn.Module:
        for name in ("dropout", "decay"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    f"{name}: {getattr(self, name)}, expected at least 0 and below 1"
                )
        if self.num_sampling_steps < 2:
            raise ValueError(
                f"num_sampling_steps: {self.num_sampling_steps}, expected 2 or more"
            )
        return Averaged(self._denoiser(length, channels), self.decay)

    def _phases(self, network: nn.Module) -> Sequence[Phase]:
        averaged = cast("Averaged[Any]", network)

        def held_out(windows: Tensor) -> Tensor:
            repeats = -(-self.held_out_draws // len(windows))
            return self._loss(averaged, windows.repeat(repeats, 1, 1))

        return [Phase("denoiser", 1.0, self._descent(averaged), held_out)]

    def _descent(self, network: Averaged[Any]) -> Callable[[Tensor], None]:
        """One update from a batch."""
        trained = list(network.network.parameters())
        optimiser = torch.optim.AdamW(
            trained, self.learning_rate, weight_decay=self.weight_decay
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, self._rate)

        def step(batch: Tensor) -> None:
            optimiser.zero_grad(set_to_none=True)
            self._loss(network, batch).backward()
            nn.utils.clip_grad_norm_(trained, _CLIP)
            optimiser.step()
            schedule.step()
            network.average.update_parameters(network.network)

        return step

    def _rate(self, step: int) -> float:
        """Learning rate at a step, as a share of its largest."""
        rise = max(1, min(_WARM_UP, self.max_steps // 10))
        falling = 0.55 + 0.45 * math.cos(math.pi * min(1.0, step / self.max_steps))
        return min(1.0, (step + 1) / rise) * falling

    def _generate(self, network: nn.Module, num_samples: int) -> Tensor:
        return self._walk(cast("Averaged[Any]", network), num_samples)


def spread_uniform(num: int, device: torch.device) -> Tensor:
    """Uniform draws ``(n,)``, one in each of ``n`` equal cells, in random order.

    As noise levels of a batch they make its mean loss far less random (Kingma et al.
    2021, "Variational diffusion models", use a grid with a common shift).
    """
    cells = torch.randperm(num, device=device)
    return (cells + torch.rand(num, device=device)) / num


class LevelEmbedding(nn.Module):
    """Noise level ``(B,)`` to ``(B, width)``: sines and cosines, then two layers.

    Frequencies run geometrically from 1 to ``highest`` (Vaswani et al. 2017).
    """

    frequencies: Tensor

    def __init__(self, width: int, highest: float) -> None:
        super().__init__()
        frequencies = torch.logspace(0, math.log10(highest), width // 2)
        self.register_buffer("frequencies", frequencies)
        self.layers = nn.Sequential(
            nn.Linear(2 * (width // 2), width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
        )

    def forward(self, level: Tensor) -> Tensor:
        """Embed levels ``(B,)`` of order one."""
        angles = level[:, None] * self.frequencies
        return self.layers(torch.cat([angles.sin(), angles.cos()], dim=1))


class NoiseSchedule(nn.Module):
    """Noising in discrete steps, ``x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) e``.

    Parameters
    ----------
    retained
        ``a_1 > ... > a_S``, shares of the variance that is the signal, ``(S,)``.
    """

    retained: Tensor

    def __init__(self, retained: Tensor) -> None:
        super().__init__()
        self.register_buffer("retained", retained.float())

    @classmethod
    def cosine(cls, num_steps: int, offset: float = 0.008) -> NoiseSchedule:
        """``a_t = f(t) / f(0)``, ``f`` a squared cosine (Nichol & Dhariwal 2021)."""
        times = torch.linspace(0, 1, num_steps + 1, dtype=torch.double)
        curve = torch.cos((times + offset) / (1 + offset) * math.pi / 2).square()
        kept = (curve[1:] / curve[:-1]).clamp(min=1e-3)
        return cls(kept.cumprod(0))

    @classmethod
    def linear(
        cls, num_steps: int, first: float = 1e-4, last: float = 0.1
    ) -> NoiseSchedule:
        """Variances of the added noise from ``first`` to ``last`` (Ho et al. 2020)."""
        added = torch.linspace(first, last, num_steps, dtype=torch.double)
        return cls((1 - added).cumprod(0))

    def draw_steps(self, num: int) -> Tensor:
        """Steps ``(n,)`` from 0 to ``S - 1``, spread evenly over the schedule."""
        uniform = spread_uniform(num, self.retained.device)
        return (uniform * len(self.retained)).long().clamp(max=len(self.retained) - 1)

    def levels(self, steps: Tensor) -> Tensor:
        """Place of steps in the schedule, in ``(0, 1]``, for the embedding."""
        return (steps + 1) / len(self.retained)

    def shares(self, steps: Tensor, ndim: int) -> tuple[Tensor, Tensor]:
        """``sqrt(a_t)`` and ``sqrt(1 - a_t)``, ``(B, 1, ...)`` of ``ndim`` axes."""
        kept = self.retained[steps].view(-1, *[1] * (ndim - 1))
        return kept.sqrt(), (1 - kept).sqrt()

    def noised(self, clean: Tensor, steps: Tensor, noise: Tensor) -> Tensor:
        """``x_t`` from ``x_0`` and noise ``(B, ...)`` at steps ``(B,)``."""
        signal, spread = self.shares(steps, clean.ndim)
        return signal * clean + spread * noise

    def sample(
        self,
        denoise: Callable[[Tensor, Tensor], Tensor],
        start: Tensor,
        num_steps: int,
        eta: float,
    ) -> Tensor:
        """Walk noise back to data over evenly spaced steps (Song et al. 2021, DDIM).

        ``x_s = sqrt(a_s) x0 + sqrt(1 - a_s - v) e + sqrt(v) n`` with the estimates
        ``x0`` and ``e`` at ``x_t``, fresh noise ``n`` and ``v = eta^2 (1 - a_s) /
        (1 - a_t) (1 - a_t / a_s)``.

        Parameters
        ----------
        denoise
            Estimate of ``x_0`` from ``x_t`` ``(B, ...)`` and steps ``(B,)``.
        start
            Normal noise ``(B, ...)``.
        num_steps
            Evaluations of the network, at most the steps of the schedule.
        eta
            0 for a deterministic walk, 1 for the ancestral one.
        """
        last = len(self.retained) - 1
        visited = torch.linspace(last, 0, min(num_steps, last + 1)).round().long()
        x = start
        for k, step in enumerate(visited.tolist()):
            kept = self.retained[step]
            clean = denoise(x, torch.full((len(x),), step, device=x.device))
            if k + 1 == len(visited):
                return clean
            noise = (x - kept.sqrt() * clean) / (1 - kept).sqrt()
            after = self.retained[visited[k + 1]]
            fresh = eta**2 * (1 - after) / (1 - kept) * (1 - kept / after)
            x = after.sqrt() * clean + (1 - after - fresh).clamp(min=0).sqrt() * noise
            if eta:
                x = x + fresh.sqrt() * torch.randn_like(x)
        return x
