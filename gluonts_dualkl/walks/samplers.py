"""Walks on tilted reference laws ``R exp(f) / Z``.

A sampler knows a reference (draws and invariant moves) and one callable, the log-tilt
``f``: nothing of models or data.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gluonts_dualkl.laws.references import Reference, draw_in_blocks
from gluonts_dualkl.walks.resampling import effective_sample_share, systematic

__all__ = ["TiltedWalkers", "draw_candidates", "metropolis"]

MIN_EFFECTIVE_SHARE = 0.8
MAX_STAGES = 100
BLOCK_PIXELS = 4_000_000


@dataclass(frozen=True)
class WalkInfo:
    """What a walk reports: the share of accepted moves."""

    acceptance: float


def metropolis(
    reference: Reference,
    log_tilt: Callable[[Tensor], Tensor],
    state: Any,
    num_steps: int,
    generator: torch.Generator,
    guard: Callable[[Tensor], Tensor] | None = None,
    level: Tensor | None = None,
) -> tuple[Any, Tensor, WalkInfo]:
    """Metropolis-Hastings on ``R exp(log_tilt + guard)``, all rows at once.

    Proposals come from the reference, so a move to ``x'`` is accepted with probability
    ``min(1, exp(f(x') - f(x) + factor))``, ``factor`` as :mod:`.references` defines it.
    A ``guard`` is a costly part of the tilt that is never positive: it is looked at
    only where a move would be accepted without it, which leaves the law as it is. A
    walk that goes on from another is given the log-tilt that one returned, ``level``.
    Rows walk by blocks of at most ``BLOCK_PIXELS`` pixels, so that little more than the
    state itself is in memory.

    Returns
    -------
    The state after ``num_steps`` moves of every row, its log-tilt ``(n,)`` and a
    :class:`WalkInfo`.
    """
    rows = max(1, BLOCK_PIXELS // max(1, state.z[:1].numel()))
    if len(state) <= rows:
        return _walked(reference, log_tilt, state, num_steps, generator, guard, level)
    parts = []
    for block in torch.arange(len(state), device=state.z.device).split(rows):
        known = None if level is None else level[block]
        walk = (reference, log_tilt, state[block], num_steps, generator, guard, known)
        parts.append(_walked(*walk))
    states, levels, infos = zip(*parts)
    accepted = sum(info.acceptance * len(s) for s, info in zip(states, infos))
    return (
        type(state).cat(states),
        torch.cat(levels),
        WalkInfo(accepted / len(state)),
    )


def _walked(
    reference: Reference,
    log_tilt: Callable[[Tensor], Tensor],
    state: Any,
    num_steps: int,
    generator: torch.Generator,
    guard: Callable[[Tensor], Tensor] | None,
    level: Tensor | None,
) -> tuple[Any, Tensor, WalkInfo]:
    """One block of :func:`metropolis`."""
    if level is None:
        level = log_tilt(state.z)
        level = level if guard is None else level + guard(state.z)
    accepted = 0.0
    for _ in range(num_steps):
        proposal, factor = reference.propose(state, generator)
        proposed = log_tilt(proposal.z)
        uniform = torch.rand(len(state), generator=generator, device=level.device)
        rows = uniform.log() < proposed - level + factor
        if guard is not None and rows.any():
            proposed[rows] += guard(proposal.z[rows])
            rows = uniform.log() < proposed - level + factor
        state = state.merge(proposal, rows)
        level = torch.where(rows, proposed, level)
        accepted += float(rows.float().mean())
    return state, level, WalkInfo(accepted / max(1, num_steps))


def draw_candidates(
    reference: Reference,
    log_tilt: Callable[[Tensor], Tensor],
    num_samples: int,
    candidates: int,
    num_pixels: int,
    generator: torch.Generator,
) -> Any:
    """Draws of a reference, each the pick of a few by weight.

    Of ``candidates`` draws a row keeps one with probability proportional to
    ``exp(log_tilt)``. Series have ``num_pixels`` pixels; where all candidates together
    are many, they are drawn in blocks, see
    :func:`~gluonts_dualkl.laws.references.draw_in_blocks`.

    Returns
    -------
    A state of ``num_samples`` rows.
    """

    def draw(count: int, generator: torch.Generator) -> Any:
        state = reference.start(candidates * count, generator)
        tilt = log_tilt(state.z).reshape(candidates, count)
        shares = torch.softmax(tilt, 0).T
        picked = torch.multinomial(shares, 1, generator=generator).ravel()
        return state[picked * count + torch.arange(count, device=picked.device)]

    return draw_in_blocks(draw, num_samples, candidates * num_pixels, generator)


class TiltedWalkers:
    """A population that walks from a reference to its tilted laws, stage by stage.

    Sequential Monte Carlo (Del Moral, Doucet & Jasra 2006): a tilt is laid on in stages
    small enough that most walkers stay effective; at each stage the walkers are
    reweighted, resampled and moved. The mean weights give the log-normaliser of the
    tilt, and the means and variances of the tilt at the ends of the stages give it a
    second time, by thermodynamic integration with the corrected trapezoidal rule

        sum_j h_j (m_j + m_{j+1}) / 2 - h_j^2 (v_{j+1} - v_j) / 12.

    Parameters
    ----------
    reference
        The law to start from.
    features
        Statistics ``phi`` of series, ``(n, T, C) -> (n, K)``.
    num_walkers
        Number of walkers.
    generator
        Source of randomness.
    guard
        Log-penalty of series that must not be, ``(n, T, C) -> (n,)``; part of every
        tilted law.
    """

    def __init__(
        self,
        reference: Reference,
        features: Callable[[Tensor], Tensor],
        num_walkers: int,
        generator: torch.Generator,
        guard: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.reference, self.features, self.guard = reference, features, guard
        self.generator = generator
        self.state = reference.start(num_walkers, generator)
        self.phi = features(self.state.z)
        self.weights = torch.zeros_like(self.phi[0])
        self.acceptance = 1.0

    def log_tilt(self, z: Tensor) -> Tensor:
        """Log-tilt of series ``(n, T, C)`` before guard and normalisation, ``(n,)``."""
        return self.features(z) @ self.weights

    def move(self, num_steps: int) -> None:
        """Walk at the present tilt."""
        self.state, _, info = metropolis(
            self.reference,
            self.log_tilt,
            self.state,
            num_steps,
            self.generator,
            self.guard,
        )
        self.phi = self.features(self.state.z)
        self.acceptance = info.acceptance

    def tilt(self, direction: Tensor, num_steps: int) -> tuple[float, float]:
        """Tilt further by ``direction . phi`` and walk.

        Parameters
        ----------
        direction
            Weights to add, ``(K,)``.
        num_steps
            Moves of every walker at each stage.

        Returns
        -------
        The log-normaliser of the tilt, ``log E[exp(direction . phi)]`` under the law
        before it, by weights and by thermodynamic integration, nats.
        """
        done, by_weights, by_integration = 0.0, 0.0, 0.0
        for _ in range(MAX_STAGES):
            score = self.phi @ direction
            step = _largest_step(score, 1.0 - done)
            log_weights = step * score
            by_weights += float(log_weights.logsumexp(0)) - math.log(len(score))
            rows = systematic(log_weights, self.generator)
            self.state = self.state[rows]
            self.weights = self.weights + step * direction
            self.move(num_steps)
            after = self.phi @ direction
            means = float(score.mean() + after.mean())
            growth = float(after.var() - score.var())
            by_integration += step * means / 2 - step**2 * growth / 12
            done += step
            if done >= 1.0:
                break
        return by_weights, by_integration


def _largest_step(score: Tensor, most: float) -> float:
    """Largest step up to ``most`` that keeps most walkers effective."""
    if effective_sample_share(most * score) >= MIN_EFFECTIVE_SHARE:
        return most
    low, high = 0.0, most
    for _ in range(20):
        middle = 0.5 * (low + high)
        if effective_sample_share(middle * score) >= MIN_EFFECTIVE_SHARE:
            low = middle
        else:
            high = middle
    return max(low, most / MAX_STAGES)
