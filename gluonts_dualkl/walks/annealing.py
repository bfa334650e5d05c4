"""Populations annealed along a path of laws, and their log-normalisers.

Annealed importance weights are of Neal (2001), thermodynamic integration of Gelman &
Meng (1998); :func:`resample_along_path` is our construction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gluonts_dualkl.walks.langevin import (
    MALA,
    TARGET_ACCEPTANCE,
    Langevin,
    LogDensity,
    Map,
    State,
    advance,
    check_count,
)
from gluonts_dualkl.walks.resampling import effective_sample_share, systematic

__all__ = [
    "AnnealResult",
    "PathDraws",
    "anneal",
    "resample_along_path",
    "tempered",
]


def tempered(
    log_base: LogDensity, log_tilt: LogDensity, betas: Sequence[float]
) -> list[LogDensity]:
    """The laws ``q exp(beta_j s)`` as log-densities, for :func:`anneal`.

    ``betas`` rise, from 0 for draws of ``q`` to 1 for the whole tilt.
    """
    if any(b <= a for a, b in zip(betas, betas[1:])):
        raise ValueError(f"betas are {list(betas)}; give rising numbers.")

    def law(beta: float) -> LogDensity:
        return lambda z: log_base(z) + beta * log_tilt(z)

    return [law(float(beta)) for beta in betas]


@dataclass(frozen=True)
class AnnealResult:
    """A population annealed along a path of laws.

    Attributes
    ----------
    state
        The population at the last law.
    log_weights
        Log-weights of its rows, ``(n,)``; all zero after a resampling.
    log_normaliser
        ``log Z_K / Z_0`` by the mean weights, nats.
    log_normaliser_integrated
        The same by thermodynamic integration, nats.
    effective_shares, acceptance
        Effective sample share before resampling and share of accepted moves, by law.
    resamplings
        How often the population was resampled.
    """

    state: State
    log_weights: Tensor
    log_normaliser: float
    log_normaliser_integrated: float
    effective_shares: tuple[float, ...]
    acceptance: tuple[float, ...]
    resamplings: int

    @property
    def z(self) -> Tensor:
        """The last positions, ``(n, T, C)``."""
        return self.state.z


def anneal(
    path: Sequence[LogDensity],
    z: Tensor,
    generator: torch.Generator,
    num_steps: int = 10,
    step_size: float = 0.1,
    preconditioner: Map | None = None,
    resample_below: float = 0.5,
) -> AnnealResult:
    """Walk a population along a path of laws and measure its log-normaliser twice.

    With ``U_j = log pi_{j+1} - log pi_j`` the rows gain the weight ``exp(U_j)`` (Neal
    2001) before they walk at ``pi_{j+1}``. The corrected trapezoidal rule integrates
    the mean of ``U_j`` along the laws that join the two (Gelman & Meng 1998),

        sum_j (m_j + m'_j) / 2 - (v'_j - v_j) / 12,

    with mean and variance of ``U_j`` at ``pi_j`` and, primed, at ``pi_{j+1}``. The two
    answers part when laws lie too far apart or the walk mixes too slowly. After each
    law the step size moves with the acceptance there.

    Parameters
    ----------
    path
        Log-densities ``pi_0, ..., pi_K`` up to constants: legs added one by one, or
        :func:`tempered`.
    z
        Draws of ``pi_0``, ``(n, T, C)``.
    num_steps
        Moves of :class:`MALA` at each law.
    step_size, preconditioner
        As there; the step size is that of the first law.
    resample_below
        Effective share of the rows below which they are resampled: 0 for never, 1 for
        after every law, which leaves draws of equal weight.
    """
    if len(path) < 2:
        raise ValueError(f"path has {len(path)} laws; give at least two.")
    if not 0 <= resample_below <= 1:
        raise ValueError(f"resample_below is {resample_below}; give a share in [0, 1].")
    check_count("num_steps", num_steps, 1)
    state = MALA(path[0], step_size, preconditioner).init(z)
    weights = torch.zeros_like(state.log_density)
    total, integrated, resamplings = 0.0, 0.0, 0
    shares, accepted = [], []
    for lower, upper in zip(path, path[1:]):
        sampler = MALA(upper, step_size, preconditioner)
        after = sampler.init(state.z)
        gain = after.log_density - state.log_density
        mean, variance = _moments(gain, weights)
        weights = weights + gain
        shares.append(effective_sample_share(weights))
        if shares[-1] < resample_below or resample_below == 1:
            total += _log_mean_exp(weights)
            after = after[systematic(weights, generator)]
            weights, resamplings = torch.zeros_like(weights), resamplings + 1
        result = advance(sampler, after, num_steps, generator)
        state = result.state
        with torch.no_grad():
            gain = state.log_density - lower(state.z)
        later_mean, later_variance = _moments(gain, weights)
        integrated += (mean + later_mean) / 2 - (later_variance - variance) / 12
        accepted.append(float(result.acceptance.mean()))
        step_size *= math.exp(2 * (accepted[-1] - TARGET_ACCEPTANCE))
    total += _log_mean_exp(weights)
    return AnnealResult(
        state, weights, total, integrated, tuple(shares), tuple(accepted), resamplings
    )


@dataclass(frozen=True)
class PathDraws:
    """Draws by importance resampling along a path.

    Attributes
    ----------
    z
        Series, ``(n, T, C)``.
    effective_sizes
        Effective number of proposals on each leg, of ``oversample * n``.
    distinct
        Number of distinct proposals among the draws, before the walk that ends it.
    acceptance
        Share of accepted moves of that walk; NaN without one.
    """

    z: Tensor
    effective_sizes: tuple[float, ...]
    distinct: int
    acceptance: float


def resample_along_path(
    draw: Callable[[Tensor, int, int, torch.Generator], Tensor],
    legs: Sequence[LogDensity],
    z: Tensor,
    num_samples: int,
    generator: torch.Generator,
    oversample: int = 8,
    start: int = 0,
    finish: Langevin | None = None,
    finish_steps: int = 10,
) -> PathDraws:
    """Importance resampling, leg after leg, from recombined groups to the last law.

    Draws of law ``k`` are weighted by ``exp(f_k)`` and resampled, which makes them
    draws of law ``k + 1``; recombining the groups of that law among them makes fresh
    ones.
    Few distinct series are left where the effective size of a leg is small, and what
    is off in the pieces is carried on and enlarged: a Gaussian path multiplies an error
    in the means of independent pixels by the correlation matrix.

    Parameters
    ----------
    draw
        ``draw(z, law, n, generator)``: ``n`` draws of a law ``0, 1, ...`` of the path
        made from series ``z`` of that law or of a later one, ``(n, T, C)``.
    legs
        Dual functions ``f_k = log p_{k+1} / p_k`` from law ``k`` to the next, nats.
    z
        Real series, ``(N, T, C)``.
    num_samples
        Number of series ``n``.
    oversample
        Proposals per series.
    start
        The law first drawn from the real series; later laws are made of longer pieces.
    finish, finish_steps
        A sampler of the last law, whose walk removes seams, and its number of steps.
    """
    check_count("num_samples", num_samples, 1)
    check_count("oversample", oversample, 1)
    if not 0 <= start < len(legs):
        raise ValueError(
            f"start is {start} on a path of {len(legs)} legs; give a law from 0 to "
            f"{len(legs) - 1}."
        )
    size = oversample * num_samples
    sizes = []
    for law in range(start, len(legs)):
        z = draw(z, law, size, generator)
        with torch.no_grad():
            weights = legs[law](z)
        rows = systematic(weights, generator)
        sizes.append(effective_sample_share(weights) * size)
        z = z[rows]
    chosen = torch.randperm(size, generator=generator, device=z.device)[:num_samples]
    z, distinct, acceptance = z[chosen], len(rows[chosen].unique()), math.nan
    if finish is not None:
        walked = advance(finish, z, finish_steps, generator)
        z, acceptance = walked.z, float(walked.acceptance.mean())
    return PathDraws(z, tuple(sizes), distinct, acceptance)


def _moments(value: Tensor, log_weights: Tensor) -> tuple[float, float]:
    """Weighted mean and variance."""
    share = torch.softmax(log_weights, 0)
    mean = (share * value).sum()
    return float(mean), float((share * (value - mean).square()).sum())


def _log_mean_exp(values: Tensor) -> float:
    return float(values.logsumexp(0)) - math.log(len(values))
