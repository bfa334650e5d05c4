"""The path of laws from independent pixels to the data, and its dual functions.

    Q, independent pixels  ->  G, Gaussian  ->  E, elliptical  ->  R, recombined series
    ->  P, the data

The first two legs are known in closed form. The others are boosted: each round learns a
dual function between draws of the upper law and the present walkers of the lower one
tilted by the rounds before, and the walkers follow it. A round that cross-fitted data
do not support ends the leg; the log-loss it ended with, near ``ln 2``, says that held-
out series can no longer be told from the walkers by this critic. ``R`` can be drawn
without limit, so its leg costs no real data; only the last leg is learned from the
``N`` series.

All learned legs are linear in the same statistics, so they add up, and

    log p(z)/q(z) = log e(z)/q(z) + sum_k (w_k . phi(z) - log Z_k)

with ``Z_k`` estimated by walkers of the elliptical law that follow every leg in turn.
The path is our construction after the path-based estimation of arXiv 2404.07377.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gluonts_dualkl.critics.linear import Leg, fit_leg
from gluonts_dualkl.walks.samplers import TiltedWalkers

__all__ = ["PathLeg", "boost", "follow", "unnormalised"]

MIN_SLOPE = 0.1
MIN_GAIN = 1e-3
LN2 = 0.6931471805599453


@dataclass(frozen=True)
class PathLeg:
    """A normalised dual function of the path, ``weights . phi - log_normaliser``.

    Attributes
    ----------
    name
        The law the leg leads to: ``"recombination"`` or ``"data"``.
    weights
        ``(K,)``.
    log_normaliser, log_normaliser_integrated
        ``log Z`` by weights and by thermodynamic integration, nats.
    held_out_losses
        Cross-fitted log-loss of every boosting round, nats.
    """

    name: str
    weights: Tensor
    log_normaliser: float
    log_normaliser_integrated: float
    held_out_losses: tuple[float, ...]


def boost(
    positive: Tensor,
    walkers: TiltedWalkers,
    max_rounds: int,
    step_size: float,
    num_steps: int,
    generator: torch.Generator,
) -> list[Leg]:
    """Boost dual functions until the walkers cannot be told from ``positive``.

    Parameters
    ----------
    positive
        Statistics of draws of the upper law, ``(n, K)``.
    walkers
        Walkers of the lower law; they end at the tilted law.
    max_rounds
        Most rounds.
    step_size
        Share of each learned dual function that is laid on.
    num_steps
        Moves of every walker at each stage.

    Returns
    -------
    The legs of all rounds, the unsupported last one included with zero weights.
    """
    legs: list[Leg] = []
    for _ in range(max_rounds):
        leg = fit_leg(positive, walkers.phi, generator)
        if leg.slope < MIN_SLOPE or leg.held_out_loss > LN2 - MIN_GAIN:
            zero = torch.zeros_like(leg.weights)
            legs.append(Leg(zero, leg.held_out_loss, 0.0, leg.penalty))
            break
        scaled = step_size * leg.weights
        legs.append(Leg(scaled, leg.held_out_loss, leg.slope, leg.penalty))
        walkers.tilt(scaled, num_steps)
    return legs


def follow(
    walkers: TiltedWalkers, name: str, legs: list[Leg], num_steps: int
) -> PathLeg:
    """Sum boosted rounds to one normalised leg by walking ``walkers`` along it."""
    leg = unnormalised(name, legs)
    weighted, integrated = walkers.tilt(leg.weights, num_steps)
    return replace(leg, log_normaliser=weighted, log_normaliser_integrated=integrated)


def unnormalised(name: str, legs: list[Leg]) -> PathLeg:
    """Sum boosted rounds to one leg whose normalisers are NaN."""
    direction = torch.stack([leg.weights for leg in legs]).sum(0)
    losses = tuple(leg.held_out_loss for leg in legs)
    return PathLeg(name, direction, math.nan, math.nan, losses)
