"""TimeVAE: a convolutional variational autoencoder with interpretable blocks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from gluonts_dualkl.evaluation.baselines.deep import DeepBaseline, Phase

__all__ = [
    "Autoencoder",
    "TimeVAE",
    "check_least",
    "check_weight",
    "gaussian_kl",
    "misfit",
]

_CLIP = 5.0
_LEAST = 1e-5
_MEMORY = 0.02


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Divergence ``KL(N(mean, variance) || N(0, 1))`` by element, nats."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)


def check_weight(weight: float | None) -> None:
    """``ValueError`` if a reconstruction weight is neither positive nor None."""
    if weight is not None and not weight > 0:
        raise ValueError(
            f"reconstruction_weight: {weight}, expected above 0, or None to fit it"
        )


def check_least(name: str, value: float, least: float) -> None:
    """``ValueError`` if a setting is smaller than it may be."""
    if not value >= least:
        raise ValueError(f"{name}: {value}, expected {least} or more")


def misfit(x: Tensor, decoded: Tensor, weight: float | None) -> Tensor:
    """Reconstruction loss of a window, ``()``, mean over windows ``(B, T, C)``.

    ``w |x - decoded|^2``; without a weight ``T / 2 sum_c log v_c``, where ``v_c`` is
    the mean squared error of channel ``c``: the Gaussian likelihood at the variance
    that suits it best, Rybkin, Daniilidis & Levine (2021), "Simple and effective VAE
    training with calibrated decoders".
    """
    error = (x - decoded).square()
    if weight is not None:
        return weight * error.sum((1, 2)).mean()
    return 0.5 * x.shape[1] * (error.mean((0, 1)) + _LEAST).log().sum()


@dataclass(eq=False)
class Autoencoder(DeepBaseline):
    """A baseline trained on one loss by AdamW.

    Parameters
    ----------
    weight_decay
        Of AdamW.
    """

    weight_decay: float = 0.01

    def _phases(self, network: Any) -> Sequence[Phase]:
        optimiser = torch.optim.AdamW(
            network.parameters(), self.learning_rate, weight_decay=self.weight_decay
        )

        def step(batch: Tensor) -> None:
            optimiser.zero_grad()
            self._loss(network, batch).backward()
            nn.utils.clip_grad_norm_(network.parameters(), _CLIP)
            optimiser.step()
            network.track(batch)

        def held_out(held: Tensor) -> Tensor:
            return self._loss(network, held)

        return [Phase("elbo", 1.0, step, held_out)]

    @abstractmethod
    def _loss(self, network: Any, x: Tensor) -> Tensor:
        """Loss of a batch ``(B, T, C)``, ``()``."""


@dataclass(eq=False)
class TimeVAE(Autoencoder):
    """Convolutional VAE of whole windows, after Desai et al. (2021).

    The encoder is a stack of convolutions of stride 2, then linear maps to the mean and
    the log variance of ``z``, ``(latent,)``. The decoder is a sum of blocks, each from
    ``z``: a convolutional residual, a level with a polynomial trend, and seasonal
    tables. With ``w`` the reconstruction weight the loss of a window is

        ``w |x - decoder(z)|^2 + KL(q(z | x) || N(0, I))``,

    in units of the channels' deviations; ``1 / (2 w)`` is the variance of the decoder
    in a Gaussian model. Draws decode ``z ~ N(0, I)``.

    Desai, Freeman, Wang & Beaver (2021), "TimeVAE: A variational auto-encoder for
    multivariate time series generation", arXiv:2111.08095.

    Written from the paper; none of its code was used. Deviations: windows of mean zero
    and variance one in place of [0, 1]; fewer filters, for few windows; the residual
    block ends in one linear map for every step, where the paper's dense layer over all
    steps has ``(T C)^2`` weights; early stopping on held-out windows. Ours are also the
    fitted weight, :func:`misfit`, one a channel, and ``noise``: a VAE that sums squared
    errors is a model of ``decoder(z)`` plus noise, and without it draws are too smooth.

    Parameters
    ----------
    max_steps, batch_size, learning_rate, patience, seed, device, progress
        See :class:`~gluonts_dualkl.evaluation.baselines.deep.DeepBaseline`.
    latent
        Dimensions of ``z``.
    filters
        Channels of the convolutions; each halves the length.
    reconstruction_weight
        ``w``; None fits it, see :func:`misfit`, which at few windows does worse.
    trend_order
        Degree of the polynomial trend; 0 for none.
    seasons
        Periods in steps of the seasonal tables, none by default; step 0 of a window is
        taken to be of the same phase in all.
    noise
        Whether a draw has white noise of the variance that the decoder leaves
        unexplained, by channel.
    weight_decay
        Of AdamW.
    """

    grid: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"reconstruction_weight": 0.2, "noise": True},
        {"reconstruction_weight": 0.5},
        {"reconstruction_weight": 0.5, "noise": True},
        {"reconstruction_weight": 2.0},
    )

    latent: int = 8
    filters: Sequence[int] = (32, 64, 128)
    reconstruction_weight: float | None = 2.0
    trend_order: int = 1
    seasons: Sequence[int] = ()
    noise: bool = False

    def _build(self, length: int, channels: int) -> nn.Module:
        check_weight(self.reconstruction_weight)
        check_least("latent", self.latent, 1)
        check_least("trend_order", self.trend_order, 0)
        for period in self.seasons:
            check_least("seasons", period, 2)
        if not self.filters:
            raise ValueError("filters: none given, expected one or more widths")
        return _Network(self, length, channels)

    def _loss(self, network: Any, x: Tensor) -> Tensor:
        mean, log_variance = network.encode(x)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        error = misfit(x, network.decode(z), self.reconstruction_weight)
        return error + gaussian_kl(mean, log_variance).sum(1).mean()

    def _generate(self, network: Any, num_samples: int) -> Tensor:
        z = torch.randn(num_samples, self.latent, device=self._device)
        x = network.decode(z)
        if self.noise:
            x = x + network.unexplained.sqrt() * torch.randn_like(x)
        return x


class _Network(nn.Module):
    """Encoder and the decoder's blocks."""

    unexplained: Tensor

    def __init__(self, model: TimeVAE, length: int, channels: int) -> None:
        super().__init__()
        widths = [channels, *model.filters]
        layers: list[nn.Module] = []
        for before, after in zip(widths, widths[1:]):
            layers += [nn.Conv1d(before, after, 3, stride=2, padding=1), nn.ReLU()]
            length_out = -(-length // 2 ** (len(layers) // 2))
        self.encoder = nn.Sequential(*layers, nn.Flatten())
        self.head = nn.Linear(length_out * widths[-1], 2 * model.latent)
        self.blocks = nn.ModuleList([_Residual(model, length, channels)])
        self.blocks.append(_Trend(model.latent, length, channels, model.trend_order))
        self.blocks.extend(
            _Season(model.latent, length, channels, period) for period in model.seasons
        )
        self.register_buffer("unexplained", torch.ones(channels))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of ``z``, ``(B, latent)`` each."""
        mean, log_variance = self.head(self.encoder(x.mT)).chunk(2, dim=1)
        return mean, log_variance.clamp(-12, 6)

    def decode(self, z: Tensor) -> Tensor:
        """Windows ``(B, T, C)``."""
        return torch.stack([block(z) for block in self.blocks]).sum(0)

    def track(self, x: Tensor) -> None:
        """Running variance ``(C,)`` that the reconstruction leaves unexplained."""
        with torch.no_grad():
            left = (x - self.decode(self.encode(x)[0])).square().mean((0, 1))
            self.unexplained.lerp_(left, _MEMORY)


class _Residual(nn.Module):
    """Transposed convolutions of stride 2, cut to the length, then one map a step."""

    def __init__(self, model: TimeVAE, length: int, channels: int) -> None:
        super().__init__()
        widths = list(reversed(model.filters))
        self.shape = (widths[0], -(-length // 2 ** len(widths)))
        self.length = length
        self.first = nn.Linear(model.latent, self.shape[0] * self.shape[1])
        layers: list[nn.Module] = []
        for before, after in zip(widths, [*widths[1:], widths[-1]]):
            layers += [
                nn.ReLU(),
                nn.ConvTranspose1d(before, after, 3, 2, padding=1, output_padding=1),
            ]
        self.up = nn.Sequential(*layers, nn.ReLU())
        self.last = nn.Linear(widths[-1], channels)

    def forward(self, z: Tensor) -> Tensor:
        hidden = self.first(z).unflatten(1, self.shape)
        return self.last(self.up(hidden)[..., : self.length].mT)


class _Trend(nn.Module):
    """Level and polynomial, ``sum_p theta_cp(z) (t / T)^p``."""

    powers: Tensor

    def __init__(self, latent: int, length: int, channels: int, order: int) -> None:
        super().__init__()
        self.shape = (channels, order + 1)
        self.theta = _perceptron(latent, channels * (order + 1))
        time = torch.arange(length) / length
        self.register_buffer("powers", time ** torch.arange(order + 1)[:, None])

    def forward(self, z: Tensor) -> Tensor:
        return (self.theta(z).unflatten(1, self.shape) @ self.powers).mT


class _Season(nn.Module):
    """One value a channel and phase, ``theta_cs(z)`` with ``s = t mod period``."""

    phase: Tensor

    def __init__(self, latent: int, length: int, channels: int, period: int) -> None:
        super().__init__()
        self.shape = (period, channels)
        self.theta = _perceptron(latent, period * channels)
        self.register_buffer("phase", torch.arange(length) % period)

    def forward(self, z: Tensor) -> Tensor:
        return self.theta(z).unflatten(1, self.shape)[:, self.phase]


def _perceptron(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(inputs, outputs), nn.ReLU(), nn.Linear(outputs, outputs)
    )
