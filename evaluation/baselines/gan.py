r"""Wasserstein GANs of windows: a recurrent one, and one that draws ranges first.

A generator maps noise to windows, critics ``D`` tell them from real ones. With the
gradient penalty of Gulrajani et al. (2017), "Improved training of Wasserstein GANs", a
critic ascends and the generator descends

.. math:: E\,D(x) - E\,D(\hat x) - \lambda E (\|\nabla D(u x + (1-u) \hat x)\|_2 - 1)^2

with ``u`` uniform in [0, 1], one for a window.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from gluonts_dualkl.evaluation.baselines.deep import (
    DeepBaseline,
    Phase,
    moment_distance,
)

__all__ = [
    "RCGAN",
    "DoppelGANger",
    "Recurrent",
    "descend",
    "gradient_penalty",
    "held_out_distance",
    "require",
]

_FEWEST = 256
_EPS = 1e-6
_BETAS = 0.5, 0.9


def require(name: str, value: Any, good: bool, expected: str) -> None:
    """Raise ``ValueError`` that names a hyperparameter unless it is good."""
    if not good:
        raise ValueError(f"{name}: {value}, expected {expected}")


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step of an optimiser down a loss."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def held_out_distance(baseline: DeepBaseline, network: Any, held: Tensor) -> Any:
    """MMD^2 of levels plus MMD^2 of increments, held-out windows against drawn ones.

    At least 256 windows are drawn, so that few held-out ones do not add their noise
    twice. Increments are in it because levels hardly see roughness; our choice.
    """
    drawn = baseline._generate(network, max(len(held), _FEWEST))
    levels = moment_distance(held, drawn)
    return levels + moment_distance(held.diff(dim=1), drawn.diff(dim=1))


class Recurrent(nn.Module):
    """Recurrent layers and a linear head at every step: ``(B, T, in) -> (B, T, out)``.

    ``bounded`` ends it in a sigmoid.
    """

    def __init__(
        self,
        num_inputs: int,
        num_outputs: int,
        width: int,
        num_layers: int = 1,
        bounded: bool = False,
        cell: type[nn.GRU] | type[nn.LSTM] = nn.LSTM,
    ) -> None:
        super().__init__()
        self.cells = cell(num_inputs, width, num_layers, batch_first=True)
        self.head = nn.Linear(width, num_outputs)
        self.bounded = bounded

    def forward(self, x: Tensor) -> Tensor:
        """Outputs ``(B, T, out)``, each from the inputs up to its step."""
        out = self.head(self.cells(x)[0])
        return out.sigmoid() if self.bounded else out


class _Players(nn.Module):
    """A generator, the running mean of its weights, and the critics."""

    def __init__(self, generator: nn.Module, critics: Sequence[nn.Module]) -> None:
        super().__init__()
        self.generator = generator
        self.critics = nn.ModuleList(critics)
        self.average: AveragedModel | nn.Module = nn.Identity()

    def start_average(self, decay: float) -> _Players:
        """Begin the mean at the present weights."""
        self.average = AveragedModel(
            self.generator, multi_avg_fn=get_ema_multi_avg_fn(decay)
        )
        return self


@dataclass(eq=False)
class _WassersteinGAN(DeepBaseline):
    """What both GANs share: critic and generator updates, choice of the weights.

    A step is one update of the critics; the generator follows at every
    ``num_critic``-th. Draws come from an exponential mean of the generator's weights
    (Yazici et al. 2019), and of 40 such means the one with the lowest held-out kernel
    distance is kept; neither is in the papers, both help at few windows.

    Parameters
    ----------
    width
        Units of a layer.
    num_noise
        Noise values of a step, or of a block of steps.
    num_critic
        Updates of the critics for one of the generator.
    penalty
        Weight of the gradient penalty.
    decay
        Of the mean of the generator's weights, in generator updates.
    """

    learning_rate: float = 1e-3
    patience: int = 40
    width: int = 64
    num_noise: int = 8
    num_critic: int = 3
    penalty: float = 10.0
    decay: float = 0.99

    def __post_init__(self) -> None:
        for name in ("width", "num_noise", "num_critic"):
            value = getattr(self, name)
            require(name, value, value >= 1, "1 or more")
        require("penalty", self.penalty, self.penalty >= 0, "0 or more")
        require("decay", self.decay, 0 <= self.decay < 1, "a value in [0, 1)")

    @abstractmethod
    def _encode(self, network: Any, windows: Tensor) -> Tensor:
        """Windows ``(B, T, C)`` as the critics see them."""

    @abstractmethod
    def _decode(self, network: Any, coded: Tensor) -> Tensor:
        """Windows ``(B, T, C)`` from what the generator draws."""

    def _phases(self, network: Any) -> Sequence[Phase]:
        critics, generator = (
            torch.optim.Adam(part.parameters(), lr=self.learning_rate, betas=_BETAS)
            for part in (network.critics, network.generator)
        )
        steps = count(1)

        def step(windows: Tensor) -> None:
            real = self._encode(network, windows)
            with torch.no_grad():
                drawn = network.generator(len(real))
            descend(critics, self._critic_loss(network, real, drawn))
            if next(steps) % self.num_critic == 0:
                drawn = network.generator(len(real))
                scores = [critic(drawn).mean() for critic in network.critics]
                descend(generator, -torch.stack(scores).sum())
                network.average.update_parameters(network.generator)

        def held_out(held: Tensor) -> Tensor:
            return held_out_distance(self, network, held)

        return [Phase("adversarial", 1.0, step, held_out)]

    def _critic_loss(self, network: Any, real: Tensor, drawn: Tensor) -> Tensor:
        losses = [
            critic(drawn).mean()
            - critic(real).mean()
            + self.penalty * gradient_penalty(critic, real, drawn)
            for critic in network.critics
        ]
        return torch.stack(losses).sum()

    def _generate(self, network: Any, num_samples: int) -> Tensor:
        return self._decode(network, network.average(num_samples))


def gradient_penalty(critic: nn.Module, real: Tensor, drawn: Tensor) -> Tensor:
    """Mean squared excess of the critic's gradient norm over 1, between pairs, ``()``.

    cuDNN has no second derivative of recurrent layers, so it is off for the pass.
    """
    mix = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device)
    between = (drawn + mix * (real - drawn)).requires_grad_()
    with torch.backends.cudnn.flags(enabled=False):
        (slope,) = torch.autograd.grad(
            critic(between).sum(), between, create_graph=True
        )
    norm = (slope.flatten(1).square().sum(1) + _EPS**2).sqrt()
    return (norm - 1).square().mean()


def _perceptron(num_inputs: int, num_outputs: int, width: int, depth: int) -> nn.Module:
    """Fully connected layers with ReLU between."""
    sizes = [num_inputs, *[width] * depth]
    layers: list[nn.Module] = []
    for inputs, outputs in zip(sizes[:-1], sizes[1:]):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, num_outputs))


class _StepwiseGenerator(nn.Module):
    """Windows ``(B, T, C)`` from normal noise, half of it the same at every step."""

    def __init__(self, length: int, channels: int, num_noise: int, width: int) -> None:
        super().__init__()
        self.shape = length, num_noise
        self.recurrent = Recurrent(num_noise, channels, width)

    def forward(self, num: int) -> Tensor:
        device = self.recurrent.head.weight.device
        noise = torch.randn(num, *self.shape, device=device)
        kept = noise.shape[2] // 2
        once = noise[:, :1, :kept].expand(-1, noise.shape[1], -1)
        return self.recurrent(torch.cat([once, noise[:, :, kept:]], dim=2))


class _StepwiseCritic(nn.Module):
    """Mean over time of a score of past and present: ``(B, T, C) -> (B,)``.

    The score is a perceptron of the recurrent state and of the values, so that it
    bends from the start: an LSTM alone is nearly linear for long, and a linear critic
    does not see that draws are too narrow.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.cells = nn.LSTM(channels, width, batch_first=True)
        self.head = _perceptron(width + channels, 1, width, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.cat([self.cells(x)[0], x], dim=2)).mean((1, 2))


@dataclass(eq=False)
class RCGAN(_WassersteinGAN):
    """Recurrent GAN with a gradient penalty, unconditional.

    Esteban, Hyland & Raetsch (2017), "Real-valued (medical) time series generation with
    recurrent conditional GANs": an LSTM turns independent noise of every step into the
    window, and a second LSTM scores every step of a window. Written from the paper; the
    reference code is MIT, none of it was used.

    Deviations: no labels to condition on, so it is what the paper calls RGAN; the
    Wasserstein loss with gradient penalty in place of cross-entropy, which is steadier
    at few windows; half of the noise is drawn once a window, as series that differ in
    level come out far too rough from independent noise alone; a perceptron of state
    and values for the critic's linear head; linear outputs on standardised channels in
    place of tanh on [-1, 1]; the running mean of the weights, and their choice by a
    held-out kernel distance.
    """

    grid: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {},
        {"num_critic": 5},
        {"learning_rate": 3e-4},
    )

    max_steps: int = 1200

    def _build(self, length: int, channels: int) -> nn.Module:
        generator = _StepwiseGenerator(length, channels, self.num_noise, self.width)
        critic = _StepwiseCritic(channels, self.width)
        return _Players(generator, [critic]).start_average(self.decay)

    def _encode(self, network: Any, windows: Tensor) -> Tensor:
        return windows

    def _decode(self, network: Any, coded: Tensor) -> Tensor:
        return coded


class _RangeGenerator(nn.Module):
    """Rows ``(B, 2C + TC)``: centre and half-range of a channel, then the shape.

    A perceptron draws the ranges; an LSTM that is given them draws ``block`` steps of
    the shape at a time, in [-1, 1].
    """

    def __init__(
        self, length: int, channels: int, num_noise: int, width: int, block: int
    ) -> None:
        super().__init__()
        self.length, self.channels, self.num_noise = length, channels, num_noise
        self.blocks = -(-length // block)
        self.ranges = _perceptron(num_noise, 2 * channels, width, 2)
        inputs = num_noise + 2 * channels
        self.recurrent = Recurrent(inputs, block * channels, width)

    def forward(self, num: int) -> Tensor:
        device = self.recurrent.head.weight.device
        noise = torch.randn(num, 1 + self.blocks, self.num_noise, device=device)
        ranges = self.ranges(noise[:, 0]).sigmoid()
        told = ranges[:, None].expand(-1, self.blocks, -1)
        shape = self.recurrent(torch.cat([noise[:, 1:], told], dim=2)).tanh()
        shape = shape.reshape(num, -1, self.channels)[:, : self.length]
        return torch.cat([ranges, shape.flatten(1)], dim=1)


class _RowCritic(nn.Module):
    """Score of the first ``num_inputs`` entries of a row: ``(B, d) -> (B,)``."""

    def __init__(self, num_inputs: int, width: int) -> None:
        super().__init__()
        self.num_inputs = num_inputs
        self.layers = _perceptron(num_inputs, 1, width, 4)

    def forward(self, rows: Tensor) -> Tensor:
        return self.layers(rows[:, : self.num_inputs])[:, 0]


@dataclass(eq=False)
class DoppelGANger(_WassersteinGAN):
    """GAN that draws each window's ranges first and then its shape, in blocks of steps.

    Lin, Jain, Wang, Fanti & Sekar (2020), "Using GANs for sharing networked time series
    data": a perceptron draws the centre ``m`` and half-range ``h`` of every channel of
    a window, an LSTM that sees them draws the shape ``f`` in [-1, 1], and the window is
    ``m + h f``. So windows of very different sizes do not collapse onto one. One critic
    judges ranges and shape, an auxiliary one the ranges alone; both are perceptrons of
    four layers. Written from the paper; the reference code is under the Clear BSD
    licence, none of it was used.

    Deviations: there are no attributes but the ranges, and no flag for the end of a
    series, as windows have one length; the weight of the auxiliary critic is 1; ranges
    are brought to [0, 1] by those of the training windows; the running mean of the
    weights, and their choice by a held-out kernel distance.

    Parameters
    ----------
    block
        Steps that one pass of the LSTM draws.
    """

    grid: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {},
        {"block": 1},
        {"num_critic": 5},
    )

    max_steps: int = 2500
    width: int = 100
    block: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        require("block", self.block, self.block >= 1, "1 or more steps")

    def _build(self, length: int, channels: int) -> nn.Module:
        generator = _RangeGenerator(
            length, channels, self.num_noise, self.width, self.block
        )
        sizes = 2 * channels + length * channels, 2 * channels
        critics = [_RowCritic(size, 2 * self.width) for size in sizes]
        network = _Players(generator, critics).start_average(self.decay)
        ranges = _ranges(self._scaled(self._train))
        network.register_buffer("low", ranges.amin(0))
        network.register_buffer("high", ranges.amax(0))
        return network

    def _encode(self, network: Any, windows: Tensor) -> Tensor:
        ranges = _ranges(windows)
        centre, half = ranges.unflatten(1, (2, -1)).unsqueeze(2).unbind(1)
        shape = torch.where(half > _EPS, (windows - centre) / half.clamp(min=_EPS), 0.0)
        unit = (ranges - network.low) / (network.high - network.low).clamp(min=_EPS)
        return torch.cat([unit, shape.flatten(1)], dim=1)

    def _decode(self, network: Any, coded: Tensor) -> Tensor:
        size = len(network.low)
        ranges = network.low + coded[:, :size] * (network.high - network.low)
        centre, half = ranges.unflatten(1, (2, -1)).unsqueeze(2).unbind(1)
        return centre + half * coded[:, size:].unflatten(1, (-1, size // 2))


def _ranges(windows: Tensor) -> Tensor:
    """Centres and then half-ranges of the channels, ``(B, 2C)``."""
    low, high = windows.amin(1), windows.amax(1)
    return torch.cat([high + low, high - low], dim=1) / 2
