r"""The noise path: from the data to independent pixels by adding noise.

In normal scores the path of laws is that of

    z_s = a_s x + b_s n,    a_s = cos(pi s / 2),  b_s = sin(pi s / 2),  n ~ N(0, I),

``s`` in [0, 1], so that ``p_1 = Q = N(0, I)`` exactly and ``p_s -> P`` as ``s -> 0``.
One *scalar* network holds all legs. Without the constant ``D/2 log 2 pi``, ``D = T C``,

    -log p_s(z) = U(z, s) + log Z(s),     score(z, s) = -grad U(z, s),
    U(z, s) = 1/2 z' S_s^-1 z + 1/2 log det S_s + a_s / (b_s + m) h(z, s),

with ``S_s = a_s^2 S + b_s^2 I`` for a given covariance ``S``: the first part is exact
for Gaussian data, and ``h`` is a small convolutional network whose local energies are
summed over time. At ``s = 1`` it is switched off and ``U(z, 1) = |z|^2 / 2``, so

    log p_s(z) / q(z) = |z|^2 / 2 - U(z, s) - log Z(s).

``U`` is trained by dual score matching (Guth, Kadkhodaie & Simoncelli 2025): denoising
of the space score, whose target given ``x`` is ``-n / b_s`` (Vincent 2011), and of the
time score, whose target with the angle ``t = pi s / 2`` is (Choi et al. 2022)

    d/dt log p_s(z | x) = cot(t) (|n|^2 - D) - x . n.

The time score makes ``U`` agree across levels. Score matching says nothing of places
far from the data, where the network digs wells that hold nearly all of ``Z``; so ``h``
is limited softly to be no deeper than it is at noised training series. Walkers that
join the training (maximum likelihood by persistent chains) were tried: more honest
nats on one set, divergence on another; they are left out.

``log Z`` is found by annealed chains (Neal 2001) from ``Q`` downwards, in coordinates
that whiten the Gaussian part at each level, so that only ``h`` is weighed: ``Z`` is
that of the model, exactly 1 for a Gaussian. Noised data in place of the chains
(``d log Z/ds = -E[dU/ds]``) would take the misfit of the model into its normaliser and
overstate the log-ratio. Wells that are left lower it, mostly at the smallest levels:
on few real series the held-out log-ratio may end below that of the Gaussian base,
although denoising is better. Then trust the score, not the nats.

The Gaussian base, the weight and limit of ``h`` and the whitened chains are our
construction.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn.functional import elu

from gluonts_dualkl.laws.potentials import Energy
from gluonts_dualkl.walks.annealing import anneal
from gluonts_dualkl.walks.langevin import LogDensity

__all__ = ["NoisePath"]

SMALLEST = 0.03
LARGEST = 1 - 1e-3
MARGIN = 0.1
FLOOR_ROWS, FLOOR_MARGIN = 256, 3.0
DECAY = 0.98
STAGES, LEVELS = 8, 8
CHAINS, MOVES = 128, 2
STEP_SIZE = 2.0
EVALUATION_ROWS = 512
CHECK_EVERY = 50


class NoisePath(nn.Module):
    """A fitted noise path; see the module for the formulas.

    Made by :meth:`fit` or :meth:`from_state`. Series are ``(n, T, C)`` in normal
    scores; a noise level ``s`` is a number or a tensor ``(n,)``.

    Attributes
    ----------
    smallest
        Smallest noise level ``s``: the model's law of the data is ``p_smallest``.
    losses
        Held-out denoising loss at every check of the training, ``(K,)``.
    log_normalisers
        ``log Z`` at 8 equal steps of ``s`` from 1 to ``smallest``, nats, ``(9,)``.
    log_normalisers_integrated
        The same by thermodynamic integration; where the two part, ``log Z`` is unsure.
    """

    losses: Tensor
    floors: Tensor
    log_normalisers: Tensor
    log_normalisers_integrated: Tensor
    values: Tensor
    vectors: Tensor

    def __init__(self, length: int, channels: int, width: int, smallest: float) -> None:
        super().__init__()
        self.length, self.channels, self.smallest = length, channels, smallest
        with torch.random.fork_rng(devices=[]):
            self.energy = Energy(channels, width)
        self.register_buffer("values", torch.ones(length * channels))
        self.register_buffer("vectors", torch.eye(length * channels))
        self.register_buffer("losses", torch.zeros(0))
        self.register_buffer("floors", torch.zeros(STAGES * LEVELS + 1))
        self.is_limited = False
        self.register_buffer("log_normalisers", torch.zeros(STAGES + 1))
        self.register_buffer("log_normalisers_integrated", torch.zeros(STAGES + 1))

    @classmethod
    def fit(
        cls,
        train: Tensor,
        held_out: Tensor,
        covariance: Tensor | None,
        generator: torch.Generator,
        *,
        max_steps: int = 2000,
        batch_size: int = 64,
        learning_rate: float = 2e-3,
        width: int = 48,
        time_weight: float = 0.1,
        patience: int = 8,
        smallest: float = SMALLEST,
    ) -> NoisePath:
        """Train the potential on series ``train`` and stop by ``held_out``.

        Parameters
        ----------
        train, held_out
            Series in normal scores, ``(N, T, C)`` and ``(M, T, C)``.
        covariance
            Covariance ``(T C, T C)`` of the Gaussian base; the identity if None.
        generator
            Source of the weights, batches and noise.
        max_steps, batch_size, learning_rate
            Most steps of Adam; series in a step, each with its own noise level.
        width
            Hidden channels of the network.
        time_weight
            Weight of the time score against the space score, both scaled to about 1.
        patience
            Checks, one in 50 steps, without a better held-out loss before the end.
        smallest
            Smallest noise level ``s``.

        Raises
        ------
        ValueError
            For series or a covariance of other shapes or not finite, and settings out
            of range.
        """
        _check_fit(train, held_out, covariance, max_steps, batch_size, smallest)
        train, held_out = train.float(), held_out.float()
        path = cls(train.shape[1], train.shape[2], width, smallest).to(train.device)
        path.energy.reset(generator)
        if covariance is not None:
            values, vectors = torch.linalg.eigh(covariance.double())
            path.values, path.vectors = values.clamp(min=0).float(), vectors.float()
        optimizer = torch.optim.Adam(path.energy.parameters(), lr=learning_rate)
        mean, best, waited = copy.deepcopy(path), copy.deepcopy(path), 0
        losses: list[float] = []
        fixed = path._noised(held_out, EVALUATION_ROWS, generator)
        for step in range(max_steps + 1):
            if step % CHECK_EVERY == 0 or step == max_steps:
                losses.append(float(mean._residuals(*fixed)[0].mean()))
                waited = 0 if losses[-1] <= min(losses) else waited + 1
                if waited == 0:
                    best.load_state_dict(mean.state_dict())
                if waited >= patience or step == max_steps:
                    break
            batch = path._noised(train, batch_size, generator)
            space, time = path._residuals(*batch, create_graph=True)
            loss = space.mean() + time_weight * time.mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(path.energy.parameters(), 1.0)
            optimizer.step()
            pull = 1 - min(DECAY, (step + 1) / (step + 10))
            with torch.no_grad():
                for slow, weight in zip(mean.parameters(), path.parameters()):
                    slow.lerp_(weight, pull)
        best.losses = torch.tensor(losses, device=train.device)
        best.requires_grad_(False)._limit(train, generator)
        best._normalise(generator)
        return best

    def potential(self, z: Tensor, s: float | Tensor) -> Tensor:
        """``U(z, s)``, ``(n,)``, nats: ``-log p_s`` up to ``D/2 log 2 pi + log Z``."""
        return self._potential(z, self._angle(z, s))

    def score(self, z: Tensor, s: float | Tensor) -> Tensor:
        """``-grad U(z, s)``, the score of ``p_s``, ``(n, T, C)``."""
        return -self.gradients(z, self._angle(z, s))[1]

    def log_ratio(self, z: Tensor, s: float | None = None) -> Tensor:
        """``log p_s(z)/q(z)``, at the smallest ``s`` by default, ``(n,)``, nats.

        ``log Z`` is interpolated between its levels.
        """
        s = self.smallest if s is None else s
        potential = self.potential(z, s)
        place = (1 - s) / (1 - self.smallest) * STAGES
        level = min(int(place), STAGES - 1)
        low, high = self.log_normalisers[level : level + 2]
        half_square = 0.5 * z.float().square().sum((1, 2))
        return half_square - potential - torch.lerp(low, high, place - level)

    def log_ratio_by_scale(self, z: Tensor, edges: int = 4) -> dict[str, Tensor]:
        """Dual functions of the legs across ``edges`` equal intervals of ``s``.

        ``log p_s(z) / p_s'(z)`` for neighbouring levels ``s < s'``, at the same ``z``:
        ``(n,)`` nats by interval, from much noise to little, that sum to
        :meth:`log_ratio`. High levels are read at series with less noise than the
        network saw there, so single legs are less certain than their sum, and their
        means over data are no divergences of single legs.
        """
        if not 1 <= edges <= STAGES:
            raise ValueError(f"edges is {edges}; give 1 to {STAGES} intervals")
        levels = torch.linspace(1.0, self.smallest, edges + 1).tolist()
        ratios = [self.log_ratio(z, s) for s in levels]
        noise = [math.sin(math.pi * s / 2) for s in levels]
        return {
            f"noise {noise[k]:.2f} to {noise[k + 1]:.2f}": ratios[k + 1] - ratios[k]
            for k in range(edges)
        }

    def denoising_loss(self, z: Tensor, generator: torch.Generator) -> float:
        """Mean squared error of the predicted noise per pixel, levels uniform in ``s``.

        Over 512 rows at stratified levels. 1 for a predictor that always says zero,
        about 1/2 for ``Q`` itself, whatever the predictor.
        """
        batch = self._noised(z.float(), EVALUATION_ROWS, generator)
        return float(self._residuals(*batch)[0].mean())

    def state(self) -> dict[str, Tensor]:
        """All that the path consists of, as tensors by name."""
        settings = torch.tensor([self.length, self.smallest], dtype=torch.float64)
        return {**self.state_dict(), "settings": settings}

    @classmethod
    def from_state(cls, state: dict[str, Tensor]) -> NoisePath:
        """The path of a :meth:`state`."""
        weights = dict(state)
        length, smallest = weights.pop("settings").tolist()
        values, width = weights["values"], len(weights["energy.inlet.bias"])
        path = cls(int(length), len(values) // int(length), width, smallest)
        path = path.to(values.device)
        path.losses = torch.zeros_like(weights["losses"])
        path.load_state_dict(weights)
        path.is_limited = True
        return path.requires_grad_(False)

    def _angle(self, z: Tensor, s: float | Tensor) -> Tensor:
        """Angles of levels ``s`` for the rows of ``z``, ``(n,)``, checked."""
        if z.ndim != 3 or z.shape[1:] != (self.length, self.channels):
            raise ValueError(
                f"z has shape {tuple(z.shape)}; give (n, {self.length}, "
                f"{self.channels}), as in training"
            )
        level = torch.as_tensor(s, dtype=torch.float32, device=z.device)
        if level.ndim and level.shape != (len(z),):
            raise ValueError(
                f"s has shape {tuple(level.shape)}; give a number or one level a row"
            )
        if not bool(((level > self.smallest - 1e-6) & (level <= 1)).all()):
            raise ValueError(
                f"s must lie in [{self.smallest}, 1], from the data to pure noise"
            )
        return (math.pi / 2) * level.expand(len(z))

    def spread(self, angle: Tensor) -> Tensor:
        """Eigenvalues of ``S_s`` at angles ``(n,)``, ``(n, D)``."""
        a, b = angle.cos()[:, None], angle.sin()[:, None]
        return a.square() * self.values + b.square()

    def _potential(self, z: Tensor, angle: Tensor) -> Tensor:
        """``U`` at angles ``(n,)``, differentiable in both."""
        base, energy = self._parts(z, angle)
        return base + (self._limited(energy, angle) if self.is_limited else energy)

    def _parts(self, z: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
        """Gaussian part of ``U`` and weighted ``h`` before its limit, ``(n,)`` each."""
        z, spread = z.float(), self.spread(angle)
        a, b = angle.cos(), angle.sin()
        y = z.flatten(1) @ self.vectors
        base = 0.5 * (y.square() / spread + spread.log()).sum(1)
        noise = (b[:, None] * y / spread) @ self.vectors.T
        return base, a / (b + MARGIN) * self.energy(z, noise.view_as(z), angle)

    def _limited(self, energy: Tensor, angle: Tensor) -> Tensor:
        """No deeper than ``floors``, interpolated between their levels."""
        place = (math.pi / 2 - angle) / (math.pi / 2 * (1 - self.smallest))
        place = (place * (len(self.floors) - 1)).clamp(0, len(self.floors) - 1 - 1e-4)
        level = place.detach().long()
        share = place - level
        floor = torch.lerp(self.floors[level], self.floors[level + 1], share)
        return floor + 1 + elu(energy - floor - 1)

    def _limit(self, x: Tensor, generator: torch.Generator) -> None:
        """Set ``floors`` to the least correction of noised series, less a margin."""
        levels = torch.linspace(1.0, self.smallest, len(self.floors)) * (math.pi / 2)
        for k, angle in enumerate(levels.tolist()):
            clean, noise, _ = self._noised(x, FLOOR_ROWS, generator)
            z = math.cos(angle) * clean + math.sin(angle) * noise
            rows = torch.full((len(z),), angle, device=z.device)
            self.floors[k] = self._parts(z, rows)[1].min() - FLOOR_MARGIN
        self.is_limited = True

    def gradients(
        self, z: Tensor, angle: Tensor, create_graph: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """``U``, its gradient in ``z`` and its derivative in the angle."""
        with torch.enable_grad():
            z = z.detach().float().requires_grad_()
            angle = angle.detach().clone().requires_grad_()
            potential = self._potential(z, angle)
            by_z, by_angle = torch.autograd.grad(
                potential.sum(), (z, angle), create_graph=create_graph
            )
        return potential.detach(), by_z, by_angle

    def _noised(
        self, x: Tensor, rows: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Random series, noise and angles at stratified levels, ``rows`` of each."""
        device = x.device
        pick = torch.randint(len(x), (rows,), generator=generator, device=device)
        noise = torch.randn((rows, *x.shape[1:]), generator=generator, device=device)
        place = torch.rand(rows, generator=generator, device=device)
        share = (torch.arange(rows, device=device) + place) / rows
        s = self.smallest + (LARGEST - self.smallest) * share
        return x[pick], noise, (math.pi / 2) * s

    def _residuals(
        self, x: Tensor, noise: Tensor, angle: Tensor, create_graph: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Squared residuals of space and time score, ``(n,)`` each, both about 1.

        The time target has the variance ``D (2 cot(t)^2 + 1)`` for white data.
        """
        a, b = angle.cos()[:, None, None], angle.sin()[:, None, None]
        _, by_z, by_angle = self.gradients(a * x + b * noise, angle, create_graph)
        cotangent, size = angle.cos() / angle.sin(), x[0].numel()
        excess = noise.square().sum((1, 2)) - size
        target = cotangent * excess - (x * noise).sum((1, 2))
        variance = size * (2 * cotangent.square() + 1)
        space = (b * by_z - noise).square().mean((1, 2))
        return space, (by_angle + target).square() / variance

    def _normalise(self, generator: torch.Generator) -> None:
        """Set ``log Z`` by chains in whitened coordinates, from ``Q`` downwards."""
        shape = (CHAINS, self.length, self.channels)
        y = torch.randn(shape, generator=generator, device=self.values.device)
        levels = torch.linspace(1.0, self.smallest, STAGES * LEVELS + 1)
        laws = [self.whitened(angle) for angle in (math.pi / 2 * levels).tolist()]
        size = STEP_SIZE * len(self.values) ** (-1 / 3)
        for stage in range(STAGES):
            path = laws[stage * LEVELS : (stage + 1) * LEVELS + 1]
            result = anneal(path, y, generator, MOVES, size, resample_below=1.0)
            y = result.z
            self.log_normalisers[stage + 1 :] += result.log_normaliser
            integrated = result.log_normaliser_integrated
            self.log_normalisers_integrated[stage + 1 :] += integrated

    def whitened(self, angle: float | Tensor) -> LogDensity:
        """Log-density of ``y = S_s^-1/2 V' z`` at an angle; of ``N(0, I)`` if h = 0."""
        at = torch.as_tensor(angle, device=self.values.device).float().reshape(-1)
        spread = self.spread(at)
        shift = 0.5 * spread.log().sum(1)

        def log_density(y: Tensor) -> Tensor:
            z = (y.flatten(1) * spread.sqrt()) @ self.vectors.T
            return shift - self._potential(z.view_as(y), at.expand(len(y)))

        return log_density


def _check_fit(
    train: Tensor,
    held_out: Tensor,
    covariance: Tensor | None,
    max_steps: int,
    batch_size: int,
    smallest: float,
) -> None:
    for name, z in (("train", train), ("held_out", held_out)):
        if z.ndim != 3 or len(z) == 0 or z.shape[1:] != train.shape[1:]:
            raise ValueError(
                f"{name} has shape {tuple(z.shape)}; give series (N, T, C), N > 0, of "
                "one length and number of channels"
            )
        if not bool(z.isfinite().all()):
            raise ValueError(f"{name} has values that are not finite; fill them first")
    size = train[0].numel()
    if covariance is not None and (
        covariance.shape != (size, size) or not bool(covariance.isfinite().all())
    ):
        raise ValueError(
            f"covariance has shape {tuple(covariance.shape)}; give ({size}, {size}), "
            "finite, pixels in the order of z[0].ravel()"
        )
    if max_steps < 0 or batch_size < 1 or not 0 < smallest < 0.5:
        raise ValueError(
            f"max_steps is {max_steps}, batch_size {batch_size} and smallest "
            f"{smallest}; give at least 0, at least 1 and a level in (0, 0.5)"
        )
