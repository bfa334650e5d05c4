"""Koopman VAE: a sequential autoencoder whose prior is pulled to a linear map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from gluonts_dualkl.evaluation.baselines.vae import (
    Autoencoder,
    check_least,
    check_weight,
    misfit,
)

__all__ = ["KoopmanVAE", "linear_map", "normal_kl"]

_MEMORY = 0.02
_RIDGE = 1e-4
_LOG_VARIANCE = (-10.0, 4.0)

Normal = tuple[Tensor, Tensor]


def normal_kl(first: Normal, second: Normal) -> Tensor:
    """Divergence ``KL(first || second)`` of normals by element, nats.

    Each is a pair of mean and log variance.
    """
    (mean, log_variance), (other, log_other) = first, second
    gap = (mean - other).square() + log_variance.exp()
    return 0.5 * (log_other - log_variance + gap / log_other.exp() - 1)


def linear_map(z: Tensor) -> Tensor:
    """Matrix ``A`` of ``z_t = z_{t-1} A`` by least squares over a batch.

    A ridge of 1e-4 of the mean square keeps the solution, and its gradient, finite.

    Parameters
    ----------
    z
        Latent paths ``(B, T, k)``.

    Returns
    -------
    Tensor
        ``(k, k)``; acts on rows.
    """
    past, now = z[:, :-1].flatten(0, 1), z[:, 1:].flatten(0, 1)
    gram = past.T @ past / len(past)
    ridge = _RIDGE * gram.diagonal().mean() + 1e-8
    eye = torch.eye(len(gram), dtype=z.dtype, device=z.device)
    return torch.linalg.solve(gram + ridge * eye, past.T @ now / len(past))


@dataclass(eq=False)
class KoopmanVAE(Autoencoder):
    """Sequential VAE with a Koopman prior, after Naiman et al. (2024).

    A GRU over the window gives the posterior ``q(z_t | x)`` of each step; a GRU over
    earlier latents gives the prior ``p(z_t | z_{<t})``, normal both; a GRU over the
    latents decodes. ``A`` solves ``z_t = z_{t-1} A`` by least squares on the latent
    paths of a batch, and deviations from that linear flow are penalised. The loss of a
    window is

        ``w |x - decoder(z)|^2 + sum_t KL(q(z_t | x) || p(z_t | z_{<t}))
        + consistency * |z_t - z_{t-1} A|^2 + stability * sum (|eig A| - 1)_+^2``

    in units of the channels' deviations, ``z`` a draw of the posterior, the consistency
    term for posterior draws and for draws of the prior alike. Draws follow the prior
    step by step and are decoded.

    Naiman, Erichson, Ren, Mahoney & Azencot (2024), "Generative modeling of regular and
    irregular time series data via Koopman VAEs", ICLR.

    Written from the paper; its reference code has no licence and none was used.
    Deviations: regular steps only; the prior sees earlier latents of the posterior,
    which makes the loss a bound on the likelihood, where the paper's prior follows its
    own draws; ``A`` has a small ridge; the eigenvalues, on the unit circle in the
    paper's constraint, are here only kept from growing beyond it; channels have mean
    zero and variance one in place of [0, 1]; early stopping on held-out windows.
    The fitted weight and ``noise`` are as in
    :class:`~gluonts_dualkl.evaluation.baselines.vae.TimeVAE`.

    Parameters
    ----------
    max_steps, batch_size, learning_rate, patience, seed, device, progress
        See :class:`~gluonts_dualkl.evaluation.baselines.deep.DeepBaseline`.
    latent
        Dimensions of ``z_t``.
    hidden
        Units of the recurrent networks.
    reconstruction_weight
        ``w``; by default fitted, see
        :func:`~gluonts_dualkl.evaluation.baselines.vae.misfit`.
    consistency
        Weight of the linear prediction.
    stability
        Weight of the eigenvalue constraint; 0 for none.
    noise
        Whether a draw has white noise of the variance that the decoder leaves
        unexplained, by channel.
    weight_decay
        Of AdamW.
    """

    grid: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"noise": False},
        {"noise": True},
        {"reconstruction_weight": 1.0, "noise": True},
    )

    max_steps: int = 1500
    learning_rate: float = 2e-3
    latent: int = 8
    hidden: int = 32
    reconstruction_weight: float | None = None
    consistency: float = 0.1
    stability: float = 0.0
    noise: bool = False

    def _build(self, length: int, channels: int) -> nn.Module:
        check_weight(self.reconstruction_weight)
        for name in ("latent", "hidden"):
            check_least(name, getattr(self, name), 1)
        for name in ("consistency", "stability"):
            check_least(name, getattr(self, name), 0)
        return _Network(channels, self.latent, self.hidden, length)

    def _loss(self, network: Any, x: Tensor) -> Tensor:
        posterior = network.encode(x)
        z = _draw(posterior)
        prior = network.prior(z)
        error = misfit(x, network.decode(z), self.reconstruction_weight)
        loss = error + normal_kl(posterior, prior).sum((1, 2)).mean()
        return loss + self._koopman(z) + self._koopman(_draw(prior))

    def _koopman(self, z: Tensor) -> Tensor:
        """Penalties of the linear flow of latent paths ``(B, T, k)``."""
        flow = linear_map(z)
        left = (z[:, 1:] - z[:, :-1] @ flow).square().sum((1, 2)).mean()
        if not self.stability:
            return self.consistency * left
        outside = (torch.linalg.eigvals(flow).abs() - 1).clamp(min=0)
        return self.consistency * left + self.stability * outside.square().sum()

    def _generate(self, network: Any, num_samples: int) -> Tensor:
        x = network.decode(network.draw(num_samples))
        if self.noise:
            x = x + network.unexplained.sqrt() * torch.randn_like(x)
        return x


class _Network(nn.Module):
    """Posterior, prior and decoder."""

    unexplained: Tensor

    def __init__(self, channels: int, latent: int, hidden: int, length: int) -> None:
        super().__init__()
        self.length = length
        self.encoder = nn.GRU(channels, hidden, batch_first=True, bidirectional=True)
        self.posterior_head = nn.Linear(2 * hidden, 2 * latent)
        self.flow = nn.GRU(latent, hidden, batch_first=True)
        self.prior_head = nn.Linear(hidden, 2 * latent)
        self.decoder = nn.GRU(latent, hidden, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * hidden, channels)
        self.register_buffer("unexplained", torch.ones(channels))

    def encode(self, x: Tensor) -> Normal:
        """Posterior of the latents, ``(B, T, k)`` each."""
        return _normal(self.posterior_head(self.encoder(x)[0]))

    def prior(self, z: Tensor) -> Normal:
        """Prior of every step given the latents before it, ``(B, T, k)`` each."""
        earlier = torch.cat([torch.zeros_like(z[:, :1]), z[:, :-1]], dim=1)
        return _normal(self.prior_head(self.flow(earlier)[0]))

    def decode(self, z: Tensor) -> Tensor:
        """Windows ``(B, T, C)``."""
        return self.out(self.decoder(z)[0])

    def draw(self, num_samples: int) -> Tensor:
        """Latent paths of the prior, ``(n, T, k)``."""
        weight = self.prior_head.weight
        z = weight.new_zeros(num_samples, 1, weight.shape[0] // 2)
        state, path = None, []
        for _ in range(self.length):
            hidden, state = self.flow(z, state)
            z = _draw(_normal(self.prior_head(hidden)))
            path.append(z)
        return torch.cat(path, dim=1)

    def track(self, x: Tensor) -> None:
        """Running variance ``(C,)`` that the reconstruction leaves unexplained."""
        with torch.no_grad():
            left = (x - self.decode(self.encode(x)[0])).square().mean((0, 1))
            self.unexplained.lerp_(left, _MEMORY)


def _normal(parameters: Tensor) -> Normal:
    mean, log_variance = parameters.chunk(2, dim=2)
    return mean, log_variance.clamp(*_LOG_VARIANCE)


def _draw(law: Normal) -> Tensor:
    mean, log_variance = law
    return mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
