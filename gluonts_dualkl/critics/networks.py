"""Networks of dual functions: plain torch modules from series to one score a leg.

A network maps series in normal scores ``z`` ``(n, T, C)`` to scores ``(n, K)``, one for
each leg of a path; a trunk is shared by the legs, since separate networks starve on a
few hundred series. What a score means is decided by the objective it is trained with.
All are smooth (SiLU), so that ``grad_z`` and its derivatives exist for Langevin walks,
and none holds batch statistics, so that a score depends on its own series only.
Weights are drawn small from a local generator: scores start near zero and the global
random state is not touched.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, silu
from torch.nn.utils import skip_init

from gluonts_dualkl.critics.objectives import ORIENTATIONS

__all__ = ["ConvCritic", "CriticFit", "MLPCritic", "QuadraticCritic", "check_scores"]

HEAD_SCALE = 0.1


def _at_least(minimum: int, **sizes: int) -> None:
    """Refuse sizes below a minimum."""
    for name, size in sizes.items():
        if size < minimum:
            raise ValueError(
                f"{name} is {size}; a network needs at least {minimum}, so give a "
                "larger number"
            )


def _initialise(
    module: nn.Conv1d | nn.Linear, generator: torch.Generator, scale: float = 1.0
) -> None:
    """Weights ``N(0, scale^2 / fan_in)``, biases zero."""
    fan_in = module.weight[0].numel()
    nn.init.normal_(module.weight, 0.0, scale / math.sqrt(fan_in), generator)
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def _linear(
    size_in: int, size_out: int, generator: torch.Generator, scale: float = 1.0
) -> nn.Linear:
    layer = skip_init(nn.Linear, size_in, size_out)
    _initialise(layer, generator, scale)
    return layer


def _conv(
    size_in: int, size_out: int, kernel: int, generator: torch.Generator
) -> nn.Conv1d:
    layer = skip_init(nn.Conv1d, size_in, size_out, kernel, padding="same")
    _initialise(layer, generator)
    return layer


def _own_generator(generator: torch.Generator | None) -> torch.Generator:
    return torch.Generator().manual_seed(0) if generator is None else generator


class ConvCritic(nn.Module):
    """Local energies of a 1-D convolution, summed over time.

    With ``u_t = [z_t, z_t - z_{t-1}]``, a convolution, residual blocks
    ``h <- h + conv(silu(h))`` and one linear head a leg,

        score_k(z) = sum_t (1 + g_kt) w_k . silu(h_t) + b_k.

    Weights are shared over time and local energies add up, as those of a Markov field
    do, so ``N`` series teach as ``N T`` pieces would; zeros beyond both ends let
    steps near an end differ. A local energy sees ``1 + depth (kernel - 1)`` steps.
    The gains ``g_kt`` exist when ``length`` is given: legs of a path over blocks of
    time differ by *where* they act, which shared weights alone cannot say. (AR(1)
    with coefficient 0.8, ``T = 16``, ``C = 2``, 160 series, blocks of 1, 2, 4, 16
    steps: cosine with the true gradient by leg .65, .45, .40 without gains and .97,
    .81, .84 with them; a modulation of the trunk by leg instead of linear heads
    changed nothing.)

    Parameters
    ----------
    num_channels, num_legs
        Channels ``C`` of a series and legs ``K`` of the path.
    width
        Features of the trunk.
    depth
        Convolutions, the first one included.
    kernel
        Steps a convolution spans; odd.
    length
        Steps ``T`` of a series, for gains by time; any length without gains when None.
    generator
        Source of the first weights (CPU); a fixed one when None.

    Raises
    ------
    ValueError
        If a size is below one, or for series of another length than ``length``.
    """

    def __init__(
        self,
        num_channels: int,
        num_legs: int,
        width: int = 32,
        depth: int = 2,
        kernel: int = 3,
        length: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        _at_least(
            1,
            num_channels=num_channels,
            num_legs=num_legs,
            width=width,
            depth=depth,
            kernel=kernel,
            length=1 if length is None else length,
        )
        generator = _own_generator(generator)
        sizes = [2 * num_channels] + [width] * depth
        self.convolutions = nn.ModuleList(
            _conv(size_in, width, kernel, generator) for size_in in sizes[:-1]
        )
        self.head = _linear(width, num_legs, generator, HEAD_SCALE)
        self.gains = (
            None if length is None else nn.Parameter(torch.zeros(num_legs, length))
        )

    def forward(self, z: Tensor) -> Tensor:
        """Scores ``(n, K)`` of series ``(n, T, C)``."""
        if self.gains is not None and z.shape[1] != self.gains.shape[1]:
            raise ValueError(
                f"series have {z.shape[1]} steps, the network's gains "
                f"{self.gains.shape[1]}; give series of that length or length=None"
            )
        steps = pad(z.diff(dim=1), (0, 0, 1, 0))
        first, *others = self.convolutions
        h = first(torch.cat([z, steps], 2).transpose(1, 2))
        for convolution in others:
            h = h + convolution(silu(h))
        if self.gains is None:
            return silu(h).sum(2) @ self.head.weight.T + self.head.bias
        pooled = torch.einsum("nwt,kt->nkw", silu(h), 1 + self.gains)
        return (pooled * self.head.weight).sum(2) + self.head.bias


class MLPCritic(nn.Module):
    """A multilayer perceptron on all pixels of a series.

    Knows no order of time, so it needs far more series than :class:`ConvCritic`; for
    short series without a common texture.

    Parameters
    ----------
    length, num_channels, num_legs
        Steps ``T`` and channels ``C`` of a series, legs ``K`` of the path.
    width, depth
        Units of a hidden layer and number of hidden layers.
    generator
        Source of the first weights (CPU); a fixed one when None.

    Raises
    ------
    ValueError
        If a size is below one.
    """

    def __init__(
        self,
        length: int,
        num_channels: int,
        num_legs: int,
        width: int = 64,
        depth: int = 2,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        _at_least(
            1,
            length=length,
            num_channels=num_channels,
            num_legs=num_legs,
            width=width,
            depth=depth,
        )
        generator = _own_generator(generator)
        sizes = [length * num_channels] + [width] * depth
        self.layers = nn.ModuleList(
            _linear(size_in, width, generator) for size_in in sizes[:-1]
        )
        self.head = _linear(width, num_legs, generator, HEAD_SCALE)

    def forward(self, z: Tensor) -> Tensor:
        """Scores ``(n, K)`` of series ``(n, T, C)``."""
        h = z.flatten(1)
        for layer in self.layers:
            h = silu(layer(h))
        return self.head(h)


class QuadraticCritic(nn.Module):
    """Quadratic forms ``z' A_k z + b_k . z + c_k``, the log-ratios of Gaussian laws.

    Parameters
    ----------
    length, num_channels, num_legs
        Steps ``T`` and channels ``C`` of a series, legs ``K`` of the path.
    rank
        ``A_k = U_k diag(d_k) U_k'`` with ``rank`` columns and signs of either kind; a
        full matrix when None.
    generator
        Source of the first weights (CPU); a fixed one when None.

    Raises
    ------
    ValueError
        If a size is below one.
    """

    def __init__(
        self,
        length: int,
        num_channels: int,
        num_legs: int,
        rank: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        _at_least(1, length=length, num_channels=num_channels, num_legs=num_legs)
        _at_least(1, rank=1 if rank is None else rank)
        generator = _own_generator(generator)
        pixels = length * num_channels
        columns = pixels if rank is None else rank
        scale = HEAD_SCALE / pixels if rank is None else 1 / math.sqrt(pixels)

        def weights(*shape: int, scale: float) -> nn.Parameter:
            return nn.Parameter(scale * torch.randn(shape, generator=generator))

        self.matrix = weights(num_legs, pixels, columns, scale=scale)
        self.signs = (
            None
            if rank is None
            else weights(num_legs, rank, scale=HEAD_SCALE / math.sqrt(rank))
        )
        self.linear = weights(num_legs, pixels, scale=HEAD_SCALE / math.sqrt(pixels))
        self.constant = nn.Parameter(torch.zeros(num_legs))

    def forward(self, z: Tensor) -> Tensor:
        """Scores ``(n, K)`` of series ``(n, T, C)``."""
        flat = z.flatten(1)
        product = torch.einsum("ni,kij->nkj", flat, self.matrix)
        if self.signs is None:
            quadratic = (product * flat[:, None]).sum(2)
        else:
            quadratic = (product.square() * self.signs).sum(2)
        return quadratic + flat @ self.linear.T + self.constant


@dataclass(frozen=True, eq=False)
class CriticFit:
    """Trained dual functions of a path and their normalisation.

    Attributes
    ----------
    network
        The network with its best weights, in evaluation mode and frozen.
    offset
        Known scores ``(n, T, C) -> (n, K)`` added to those of the network, or None.
    orientation
        Orientation it was trained and is normalised with.
    log_normalisers
        Constant subtracted from the scores of each leg, ``(K,)``, nats, from fresh
        draws made from the training series. A mean exponential of ``n`` draws misses
        rare large terms: on a leg above about ``ln n`` nats (8 for the 4096 draws of
        training) it is too low and the levels too high. An exact log-ratio of 15 nats
        read 19. Gradients in ``z`` do not depend on it.
    held_out_losses
        Held-out logistic loss of each leg at the best weights, ``(K,)``, nats; ``ln 2``
        says that held-out draws of the two laws could not be told apart.
    history
        Step and mean held-out loss over the legs of every check.
    steps
        Training step of the best weights; 0 for an untrained network.
    """

    network: nn.Module
    offset: Callable[[Tensor], Tensor] | None
    orientation: str
    log_normalisers: Tensor
    held_out_losses: Tensor
    history: tuple[tuple[int, float], ...]
    steps: int

    def scores(self, z: Tensor) -> Tensor:
        """Normalised log-ratios by leg of series ``(n, T, C)``, ``(n, K)``, nats."""
        scores = self.network(z) - self.log_normalisers
        return scores if self.offset is None else scores + self.offset(z)

    def log_ratio(self, z: Tensor) -> Tensor:
        """``log p/q``, the sum of the legs, of series ``(n, T, C)``: ``(n,)``, nats."""
        return self.scores(z).sum(1)

    def state(self) -> dict[str, Tensor]:
        """All learned numbers as tensors, for ``torch.save``; the offset is not in."""
        return {
            **{f"network.{k}": v for k, v in self.network.state_dict().items()},
            "orientation": torch.tensor(ORIENTATIONS.index(self.orientation)),
            "log_normalisers": self.log_normalisers,
            "held_out_losses": self.held_out_losses,
            "history": torch.tensor(self.history, dtype=torch.float64),
            "steps": torch.tensor(self.steps),
        }

    @classmethod
    def from_state(
        cls,
        network: nn.Module,
        state: dict[str, Tensor],
        offset: Callable[[Tensor], Tensor] | None = None,
    ) -> CriticFit:
        """The fit whose :meth:`state` this is; ``network`` is one of the same shape."""
        prefix = "network."
        network = copy.deepcopy(network)
        network.load_state_dict(
            {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}
        )
        return cls(
            network=network.eval().requires_grad_(False),
            offset=offset,
            orientation=ORIENTATIONS[int(state["orientation"])],
            log_normalisers=state["log_normalisers"],
            held_out_losses=state["held_out_losses"],
            history=tuple((int(k), v) for k, v in state["history"].tolist()),
            steps=int(state["steps"]),
        )


def check_scores(
    network: nn.Module,
    offset: Callable[[Tensor], Tensor] | None,
    z: Tensor,
    num_legs: int,
) -> None:
    """Raise ValueError unless network and offset give ``(n, K)`` for ``(n, T, C)``."""
    for name, score in (("network", network), ("offset", offset)):
        shape = None if score is None else tuple(score(z).shape)
        if shape not in (None, (len(z), num_legs)):
            raise ValueError(
                f"{name} gives shape {shape} for {len(z)} series; it must give one "
                f"score for each of the {num_legs} legs, ({len(z)}, {num_legs})"
            )
