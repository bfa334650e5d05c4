r"""TimeGAN: an adversarial generator in the latent space of an autoencoder.

Five recurrent networks: an embedder ``h = e(x)`` and a recovery ``r(h)`` of windows, a
generator ``g(z)`` of latent series from noise, a supervisor ``s(h)_t`` that foretells
``h_{t+1}``, and a discriminator ``d`` of latent series. Windows are ``r(s(g(z)))``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, count
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

from gluonts_dualkl.evaluation.baselines.deep import DeepBaseline, Phase
from gluonts_dualkl.evaluation.baselines.gan import (
    Recurrent,
    descend,
    held_out_distance,
    require,
)

__all__ = ["TimeGAN"]

_EPS = 1e-6
_gru = partial(Recurrent, cell=nn.GRU, bounded=True)


class _Networks(nn.Module):
    """Embedder, recovery, generator, supervisor and discriminator."""

    def __init__(self, length: int, channels: int, width: int, num_layers: int) -> None:
        super().__init__()
        self.shape = length, channels
        few = max(1, num_layers - 1)
        self.embedder = _gru(channels, width, width, num_layers)
        self.recovery = _gru(width, channels, width, num_layers)
        self.generator = _gru(channels, width, width, num_layers)
        self.supervisor = _gru(width, width, width, few)
        self.discriminator = _gru(width, 1, width, num_layers, bounded=False)

    def latent(self, num: int) -> Tensor:
        """Latent series ``g(z)``, ``(B, T, width)``, from uniform noise."""
        device = self.recovery.head.weight.device
        return self.generator(torch.rand(num, *self.shape, device=device))


@dataclass(eq=False)
class TimeGAN(DeepBaseline):
    r"""Time-series GAN with a supervised latent space.

    Yoon, Jarrett & van der Schaar (2019), "Time-series generative adversarial
    networks". Channels are in [0, 1], noise is uniform with one value a step and
    channel. Three phases:

    1. autoencoding: embedder and recovery descend ``L_R = |x - r(e(x))|^2``;
    2. supervised: the supervisor descends ``L_S = |h_{t+1} - s(h)_t|^2``;
    3. joint: generator and supervisor descend

       .. math:: U(s(g(z))) + U(g(z)) + 100 \sqrt{L_S} + 100 V

       with ``U`` the cross-entropy of being taken for real and ``V`` the absolute
       differences of mean and of standard deviation, pixel by pixel, between drawn
       and real windows; embedder and recovery descend ``10 sqrt(L_R) + 0.1 L_S``; at
       every second step the discriminator learns, unless its loss is below 0.15.

    Written from the paper; the reference code, from which the weights, the moment
    term, the root and the threshold of the third phase are known, has no licence file
    and none of it was used.

    Deviations: the discriminator is not bidirectional; discriminator updates take the
    batch of one generator update, not one of their own; steps are counted over all
    phases and are far fewer than the paper's 50,000 a phase, at a learning rate of
    0.003 in place of 0.001; weights are chosen by the held-out loss, in the third phase
    a kernel distance of windows and of increments.

    Parameters
    ----------
    width
        Units of a layer and size of the latent space; 24 in the paper.
    num_layers
        Recurrent layers of a network, one fewer in the supervisor; 3 in the paper.
    gamma
        Weight of ``U(g(z))`` and of the discriminator's loss on it.
    """

    scaling: ClassVar[str] = "range"
    grid: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"width": 48},
        {"width": 24},
        {"width": 24, "learning_rate": 1e-3},
    )

    max_steps: int = 800
    learning_rate: float = 3e-3
    patience: int = 40
    width: int = 48
    num_layers: int = 2
    gamma: float = 1.0

    def __post_init__(self) -> None:
        for name in ("width", "num_layers"):
            value = getattr(self, name)
            require(name, value, value >= 1, "1 or more")
        require("gamma", self.gamma, self.gamma >= 0, "0 or more")

    def _build(self, length: int, channels: int) -> nn.Module:
        return _Networks(length, channels, self.width, self.num_layers)

    def _generate(self, network: Any, num_samples: int) -> Tensor:
        return network.recovery(network.supervisor(network.latent(num_samples)))

    def _phases(self, network: Any) -> Sequence[Phase]:
        adam = self._adam
        coders = adam(network.embedder, network.recovery)
        supervisor = adam(network.supervisor)
        generators = adam(network.generator, network.supervisor)
        joint_coders = adam(network.embedder, network.recovery)
        discriminator = adam(network.discriminator)
        steps = count(1)

        def autoencoding(windows: Tensor) -> None:
            descend(coders, 10 * _root(_reconstruction(network, windows)))

        def supervised(windows: Tensor) -> None:
            descend(supervisor, _foretelling(network, windows, fixed=True))

        def joint(windows: Tensor) -> None:
            descend(generators, self._generator_loss(network, windows))
            loss = 10 * _root(_reconstruction(network, windows))
            descend(joint_coders, loss + 0.1 * _foretelling(network, windows))
            if next(steps) % 2 == 0:
                loss = self._discriminator_loss(network, windows)
                if float(loss.detach()) > 0.15:
                    descend(discriminator, loss)

        def distance(held: Tensor) -> Tensor:
            return held_out_distance(self, network, held)

        recovering = partial(_reconstruction, network)
        telling = partial(_foretelling, network)
        return [
            Phase("autoencoding", 0.25, autoencoding, recovering),
            Phase("supervised", 0.15, supervised, telling),
            Phase("joint", 0.6, joint, distance),
        ]

    def _adam(self, *networks: nn.Module) -> torch.optim.Adam:
        parameters = chain.from_iterable(x.parameters() for x in networks)
        return torch.optim.Adam(parameters, lr=self.learning_rate)

    def _generator_loss(self, network: Any, windows: Tensor) -> Tensor:
        latent = network.latent(len(windows))
        told = network.supervisor(latent)
        fooled = _verdict(network, told, 1.0) + self.gamma * _verdict(
            network, latent, 1.0
        )
        supervised = _root(_foretelling(network, windows, fixed=True))
        moments = _moment_gap(network.recovery(told), windows)
        return fooled + 100 * supervised + 100 * moments

    def _discriminator_loss(self, network: Any, windows: Tensor) -> Tensor:
        with torch.no_grad():
            real = network.embedder(windows)
            latent = network.latent(len(windows))
            told = network.supervisor(latent)
        right = _verdict(network, real, 1.0) + _verdict(network, told, 0.0)
        return right + self.gamma * _verdict(network, latent, 0.0)


def _root(loss: Tensor) -> Tensor:
    """Square root with a finite slope at zero."""
    return (loss + _EPS**2).sqrt()


def _reconstruction(network: Any, windows: Tensor) -> Tensor:
    return mse_loss(network.recovery(network.embedder(windows)), windows)


def _foretelling(network: Any, windows: Tensor, fixed: bool = False) -> Tensor:
    """Error of the next latent step; ``fixed`` keeps the embedder out of it."""
    with torch.set_grad_enabled(torch.is_grad_enabled() and not fixed):
        latent = network.embedder(windows)
    return mse_loss(network.supervisor(latent)[:, :-1], latent[:, 1:])


def _verdict(network: Any, latent: Tensor, truth: float) -> Tensor:
    """Cross-entropy of the discriminator at every step against one label."""
    scores = network.discriminator(latent)
    return binary_cross_entropy_with_logits(scores, torch.full_like(scores, truth))


def _moment_gap(drawn: Tensor, real: Tensor) -> Tensor:
    """Mean absolute difference of mean and of deviation of the pixels, summed."""
    gaps = [
        (drawn.mean(0) - real.mean(0)).abs().mean(),
        (_deviation(drawn) - _deviation(real)).abs().mean(),
    ]
    return torch.stack(gaps).sum()


def _deviation(x: Tensor) -> Tensor:
    return (x.var(0, unbiased=False) + _EPS).sqrt()
