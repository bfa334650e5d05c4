"""Training of a network as the dual functions of a path of laws.

Leg ``k`` of a path ``P_0, ..., P_K`` is learned from draws of ``P_{k+1}`` (positive)
and ``P_k`` (negative); the legs share a network and each step trains all of them. The
series are split before anything is permuted: draws made from ``train`` give gradients,
draws made from ``held_out`` stop the training. The criterion is the held-out logistic
loss whatever the objective, since held-out Donsker-Varadhan bounds overshoot on small
samples. That split has been looked at: report a divergence on a third one.

Of the two additions, localised estimation (:class:`LocalTerm`) is an idea of arXiv
2404.07377 in our reading; :class:`WalkedNegatives` are our construction after
persistent contrastive divergence (Tieleman 2008).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from gluonts_dualkl.critics.networks import CriticFit, check_scores
from gluonts_dualkl.critics.objectives import (
    OBJECTIVES,
    ORIENTATIONS,
    LocalTerm,
    RunningNormaliser,
    donsker_varadhan,
    normaliser,
    orient,
    profiled_log_loss,
)

__all__ = ["CriticFit", "LegPath", "LocalTerm", "WalkedNegatives", "fit_critic"]

Score = Callable[[Tensor], Tensor]

HELD_OUT_DRAWS = 1024
NORMALISER_DRAWS = 4096
CHUNK = 2048
LARGEST_GRADIENT = 5.0
GOOD_ACCEPTANCE = 0.6
ESCAPE = 1.3


class LegPath(Protocol):
    """A path of laws ``P_0, ..., P_K`` that are drawn from series."""

    @property
    def num_legs(self) -> int:
        """Number of legs ``K``."""

    def draw(
        self, z: Tensor, law: int, num_samples: int, generator: torch.Generator
    ) -> Tensor:
        """Draws of ``P_law``, ``law = 0..K``, made from ``z``: ``(n, T, C)``."""


def _positive(settings: dict[str, float], least: float = 1e-12) -> None:
    for name, value in settings.items():
        if not value >= least:
            raise ValueError(f"{name} is {value}; give a larger number, above 0")


@dataclass(frozen=True)
class WalkedNegatives:
    """Donsker-Varadhan with negatives that walk to the tilted law.

    Chains on ``-|z|^2 / 2 + s(z)``, ``s`` the total score with the offset, are kept
    between training steps and moved by Metropolis-adjusted Langevin steps. The loss is

        -(E_P[s] - E_chains[s]) + decay E[(s - offset)^2],

    whose gradient is that of Donsker-Varadhan with the exact mean under the tilted
    law. The lower end of the path must be independent pixels, ``N(0, I)`` in ``z``.
    The step size follows the acceptance; it is halved, and the chains concerned start
    anew from ``N(0, I)``, when chains go further out than 1.3 times any series.

    Attributes
    ----------
    num_chains, num_steps
        Chains, and Langevin steps of each in a training step.
    step_size
        First step size ``h`` of ``z + h/2 grad + sqrt(h) noise``.
    decay
        Weight of the squared network scores, which otherwise drift by a constant.
    beside_objective
        Add the walked term to the objective instead of replacing it; needed with
        several legs, which the total score alone does not tell apart.
    """

    num_chains: int = 256
    num_steps: int = 5
    step_size: float = 0.1
    decay: float = 1e-3
    beside_objective: bool = False

    def __post_init__(self) -> None:
        settings = ("num_chains", "num_steps", "step_size", "decay")
        _positive({name: getattr(self, name) for name in settings})


class _Chains:
    """Persistent Langevin chains on ``-|z|^2 / 2 + s(z)``."""

    def __init__(
        self, settings: WalkedNegatives, train: Tensor, generator: torch.Generator
    ) -> None:
        self.num_steps, self.step_size = settings.num_steps, settings.step_size
        self.generator = generator
        self.radius = ESCAPE * float(train.flatten(1).norm(dim=1).max())
        self.z = self._noise(train.new_empty(settings.num_chains, *train.shape[1:]))

    def _noise(self, like: Tensor) -> Tensor:
        return torch.empty_like(like).normal_(generator=self.generator)

    def walk(self, total: Score) -> Tensor:
        """The chains after the steps of one training step, ``(n, T, C)``."""
        level, slope = _level_and_slope(total, self.z)
        for _ in range(self.num_steps):
            h = self.step_size
            drifted = self.z + 0.5 * h * slope
            proposal = drifted + math.sqrt(h) * self._noise(self.z)
            new_level, new_slope = _level_and_slope(total, proposal)
            back = proposal + 0.5 * h * new_slope
            forward = _square(proposal - drifted)
            ratio = new_level - level + (forward - _square(self.z - back)) / (2 * h)
            uniform = torch.empty_like(level).uniform_(generator=self.generator)
            rows = uniform.log() < ratio
            level = torch.where(rows, new_level, level)
            rows = rows[:, None, None]
            self.z = torch.where(rows, proposal, self.z)
            slope = torch.where(rows, new_slope, slope)
            acceptance = float(rows.float().mean())
            self.step_size *= math.exp(0.05 * (acceptance - GOOD_ACCEPTANCE))
        inside = self.z.flatten(1).norm(dim=1) < self.radius
        if not inside.all():
            self.step_size /= 2
            fresh = self._noise(self.z)
            self.z = torch.where(inside[:, None, None], self.z, fresh)
        return self.z


def _square(z: Tensor) -> Tensor:
    return z.square().sum((1, 2))


def _level_and_slope(total: Score, z: Tensor) -> tuple[Tensor, Tensor]:
    """``-|z|^2 / 2 + s(z)`` and its gradient, detached."""
    z = z.detach().requires_grad_()
    level = total(z) - 0.5 * _square(z)
    (slope,) = torch.autograd.grad(level.sum(), z)
    return level.detach(), slope


def _leg_scores(score: Score, draws: Tensor) -> tuple[Tensor, Tensor]:
    """Each leg on its two laws, ``(m, K)`` twice, of ``(K + 1, m, T, C)`` draws."""
    flat = torch.cat([score(part) for part in draws.flatten(0, 1).split(CHUNK)])
    scores = flat.unflatten(0, draws.shape[:2])
    upper, lower = scores[1:], scores[:-1]
    return upper.diagonal(dim1=0, dim2=2), lower.diagonal(dim1=0, dim2=2)


def _draw_laws(
    path: LegPath, z: Tensor, num_samples: int, generator: torch.Generator
) -> Tensor:
    """Draws of all laws of the path, ``(K + 1, m, T, C)``."""
    laws = range(path.num_legs + 1)
    return torch.stack([path.draw(z, law, num_samples, generator) for law in laws])


@dataclass(eq=False)
class _Trainer:
    """The loss of one training step and what it carries from step to step."""

    network: nn.Module
    offset: Score | None
    path: LegPath
    train: Tensor
    generator: torch.Generator
    objective: str
    orientation: str
    local: LocalTerm | None
    walked: WalkedNegatives | None
    batch_size: int
    input_noise: float

    def __post_init__(self) -> None:
        self.running = RunningNormaliser()
        if self.local is not None:
            self.rows = self.local.neighbourhoods(self.train)
        if self.walked is not None:
            self.chains = _Chains(self.walked, self.train, self.generator)

    def score(self, z: Tensor, mixed: Tensor | None = None) -> Tensor:
        """Scores of all legs with the offset, before normalisation, ``(n, K)``."""
        scores = self.network(z if mixed is None else mixed)
        return scores if self.offset is None else scores + self.offset(z)

    def loss(self) -> Tensor:
        """What one step lowers, nats."""
        draws = _draw_laws(self.path, self.train, self.batch_size, self.generator)
        loss = draws.new_zeros(())
        if self.walked is None or self.walked.beside_objective:
            loss = loss - self.bound(*_leg_scores(self.noisy_score, draws)).sum()
        if self.walked is not None:
            loss = loss + self.walked_loss(draws[-1], self.walked.decay)
        if self.local is not None:
            loss = loss - self.local.weight * self.local_bound(self.local)
        return loss

    def noisy_score(self, z: Tensor) -> Tensor:
        """Scores with noise mixed into the network's input; normal pixels stay so."""
        noise = torch.empty_like(z).normal_(generator=self.generator)
        mixed = (z + self.input_noise * noise) / math.sqrt(1 + self.input_noise**2)
        return self.score(z, mixed)

    def bound(self, positive: Tensor, negative: Tensor) -> Tensor:
        """The objective in its orientation, ``(K,)``."""
        positive, negative = orient(positive, negative, self.orientation)
        if self.objective == "donsker_varadhan":
            running = self.running.update(negative)
            return donsker_varadhan(positive, negative, running)
        return OBJECTIVES[self.objective](positive, negative)

    def local_bound(self, local: LocalTerm) -> Tensor:
        """The objective inside neighbourhoods, their mean."""
        members, marginal = local.draw(self.train, self.rows, self.generator)
        scores = [
            self.noisy_score(z.flatten(0, 1)).sum(1).unflatten(0, z.shape[:2])
            for z in (members, marginal)
        ]
        centre = torch.cat(scores).mean(0)
        pair = orient(scores[0] - centre, scores[1] - centre, self.orientation)
        return OBJECTIVES[self.objective](*pair).mean()

    def walked_loss(self, data: Tensor, decay: float) -> Tensor:
        """The contrast of the total score between series and chains."""
        chains = self.chains.walk(lambda z: self.score(z).sum(1))
        on_chains, on_data = (self.noisy_score(z).sum(1).mean() for z in (chains, data))
        size = self.network(torch.cat([chains, data])).sum(1).square().mean()
        return on_chains - on_data + decay * size

    @torch.no_grad()
    def held_out_losses(self, unseen: Tensor) -> Tensor:
        """Logistic loss of every leg on held-out draws of all laws, ``(K,)``, nats."""
        self.network.eval()
        pair = _leg_scores(self.score, unseen)
        self.network.train()
        return profiled_log_loss(*pair)

    @torch.no_grad()
    def log_normalisers(self) -> Tensor:
        """Constants of the legs from fresh draws made from ``train``, ``(K,)``."""
        draws = _draw_laws(self.path, self.train, NORMALISER_DRAWS, self.generator)
        return normaliser(*_leg_scores(self.score, draws), self.orientation)


def fit_critic(
    network: nn.Module,
    path: LegPath,
    train: Tensor,
    held_out: Tensor,
    generator: torch.Generator,
    *,
    objective: str = "logistic",
    orientation: str = "data||marginals",
    offset: Score | None = None,
    local: LocalTerm | None = None,
    walked: WalkedNegatives | None = None,
    max_steps: int = 1000,
    batch_size: int = 128,
    learning_rate: float = 2e-3,
    weight_decay: float = 0.3,
    input_noise: float = 0.2,
    check_every: int = 25,
    patience: int = 12,
    progress: Callable[[int, int, float], None] | None = None,
) -> CriticFit:
    """Train a copy of ``network`` as the dual functions of all legs of a path.

    Each step draws a batch of every law and takes an AdamW step (Loshchilov & Hutter
    2019) on the summed objectives of the legs; ``network`` itself is never changed.

    Parameters
    ----------
    network
        ``(n, T, C) -> (n, K)``, a score a leg.
    path
        Path of ``K`` legs.
    train, held_out
        Series in normal scores, ``(N, T, C)`` and ``(M, T, C)``, on the device of
        ``network`` and ``generator``.
    generator
        Source of all randomness.
    objective
        Name in :data:`~gluonts_dualkl.critics.objectives.OBJECTIVES`.
    orientation
        Name in :data:`~gluonts_dualkl.critics.objectives.ORIENTATIONS`.
    offset
        Known scores ``(n, T, C) -> (n, K)`` added to those of the network, such as the
        closed form of a Gaussian leg; not trained.
    local, walked
        Additional hard negatives; see :class:`LocalTerm`, :class:`WalkedNegatives`.
    max_steps, batch_size, learning_rate, weight_decay
        Most training steps, draws of each law in a step, settings of AdamW.
    input_noise
        Standard deviation of the noise in the input of the network in training.
    check_every, patience
        Steps between held-out checks, and checks without improvement that end it.
    progress
        Called with ``(step, max_steps, held_out_loss)`` at every check.

    Raises
    ------
    ValueError
        If an argument is outside its range, if shapes do not agree, or if ``walked``
        is combined with settings that it replaces.
    """
    _positive({"max_steps": max_steps, "batch_size": batch_size, "patience": patience})
    _positive({"learning_rate": learning_rate, "check_every": check_every})
    _positive({"weight_decay": weight_decay, "input_noise": input_noise}, least=0)
    _choice("objective", objective, OBJECTIVES)
    _choice("orientation", orientation, ORIENTATIONS)
    if walked is not None:
        _check_walked(walked, objective, orientation, path.num_legs)
    _check_series(train, held_out)
    network = copy.deepcopy(network).requires_grad_(True)
    check_scores(network, offset, train[:2], path.num_legs)
    trainer = _Trainer(
        network, offset, path, train, generator, objective, orientation,
        local, walked, batch_size, input_noise,
    )  # fmt: skip
    unseen = _draw_laws(path, held_out, HELD_OUT_DRAWS, generator)
    best = trainer.held_out_losses(unseen)
    best_step, best_state = 0, copy.deepcopy(network.state_dict())
    history = [(0, float(best.mean()))]
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=learning_rate, weight_decay=weight_decay
    )
    for step in range(1, max_steps + 1):
        optimizer.zero_grad()
        trainer.loss().backward()
        nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
        optimizer.step()
        if step % check_every and step < max_steps:
            continue
        losses = trainer.held_out_losses(unseen)
        history.append((step, float(losses.mean())))
        if progress is not None:
            progress(step, max_steps, history[-1][1])
        if losses.mean() < best.mean():
            best, best_step = losses, step
            best_state = copy.deepcopy(network.state_dict())
        elif step - best_step >= patience * check_every:
            break
    network.load_state_dict(best_state)
    network.eval().requires_grad_(False)
    constants = trainer.log_normalisers()
    return CriticFit(
        network, offset, orientation, constants, best, tuple(history), best_step
    )


def _choice(name: str, value: str, options: Collection[str]) -> None:
    if value not in options:
        raise ValueError(f"{name} is {value!r}; choose one of {list(options)}")


def _check_walked(
    walked: WalkedNegatives, objective: str, orientation: str, num_legs: int
) -> None:
    if orientation != ORIENTATIONS[0]:
        raise ValueError(
            f"orientation is {orientation!r}, but walked negatives replace the "
            f"exponential term on the marginals; use {ORIENTATIONS[0]!r}"
        )
    alone = num_legs == 1 and objective == "donsker_varadhan"
    if not (walked.beside_objective or alone):
        raise ValueError(
            f"walked negatives alone train donsker_varadhan on one leg, not "
            f"{objective} on {num_legs}; set beside_objective=True to add them"
        )


def _check_series(train: Tensor, held_out: Tensor) -> None:
    for name, z in (("train", train), ("held_out", held_out)):
        if z.ndim != 3 or len(z) < 2 or z.shape[1:] != train.shape[1:]:
            raise ValueError(
                f"{name} has shape {tuple(z.shape)}; train and held_out are (N, T, C) "
                "with the same T and C and at least two series each"
            )
        if not torch.isfinite(z).all():
            raise ValueError(f"{name} has values that are not finite; fill them first")
