"""Gradient-based walks on a log-density given as one callable.

A sampler here knows ``log_density``, ``(n, T, C) -> (n,)`` in nats and differentiable,
and nothing of models or data. All ``n`` chains advance at once and independently. What
is carried is a :class:`State`; what is reported is an :class:`Info`. With ``B B'`` the
covariance of the preconditioner, ``g`` the gradient and ``n ~ N(0, I)``, one step is

    z' = z + h/2 B B' g(z) + sqrt(h) B n.

In copula coordinates ``log pi(z) = s(z) - |z|^2 / 2``: a walk on the gradient of the
dual function ``s`` alone forgets the marginal term.

The Langevin walks are of Roberts & Tweedie (1996).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

__all__ = [
    "MALA",
    "GaussianPreconditioner",
    "Info",
    "Langevin",
    "LogDensity",
    "State",
    "WalkResult",
    "advance",
    "check_count",
    "check_positive",
    "run",
    "value_and_gradient",
]

logger = logging.getLogger(__name__)

LogDensity = Callable[[Tensor], Tensor]

TARGET_ACCEPTANCE = 0.57
# dual averaging of Hoffman & Gelman (2014)
SHRINKAGE, STABILITY, FORGETTING = 0.05, 10, 0.75


class Preconditioner(Protocol):
    """A linear map ``B`` on series and its transpose, ``(n, T, C) -> (n, T, C)``."""

    def apply(self, noise: Tensor) -> Tensor:
        """``B noise`` of every row."""

    def transpose(self, gradient: Tensor) -> Tensor:
        """``B' gradient`` of every row."""


LinearMap = Callable[[Tensor], Tensor]
Map = Preconditioner | tuple[LinearMap, LinearMap]


class GaussianPreconditioner:
    """Steps with the covariance ``B B'`` of a Gaussian law.

    Parameters
    ----------
    factor
        ``B``, ``(T C, T C)``, on series flattened step by step; for instance
        the ``factor()`` of the Gaussian leg.
    """

    def __init__(self, factor: Tensor) -> None:
        if factor.ndim != 2 or factor.shape[0] != factor.shape[1]:
            raise ValueError(
                f"factor has shape {tuple(factor.shape)}; give a square matrix over "
                "the T * C pixels."
            )
        self.factor = factor

    def apply(self, noise: Tensor) -> Tensor:
        """``B noise`` of every row, ``(n, T, C)``."""
        return self._rows(noise, self.factor.T)

    def transpose(self, gradient: Tensor) -> Tensor:
        """``B' gradient`` of every row, ``(n, T, C)``."""
        return self._rows(gradient, self.factor)

    def _rows(self, z: Tensor, matrix: Tensor) -> Tensor:
        if z[0].numel() != len(matrix):
            raise ValueError(
                f"factor is for {len(matrix)} pixels and series have shape "
                f"{tuple(z.shape[1:])}; give the factor of a law over such series."
            )
        return (z.flatten(1) @ matrix.to(z)).reshape(z.shape)


@dataclass(frozen=True)
class State:
    """What a walk carries.

    Attributes
    ----------
    z
        Positions, ``(n, T, C)``.
    log_density
        Log-density there, ``(n,)``, nats.
    gradient
        Its gradient, ``(n, T, C)``.
    """

    z: Tensor
    log_density: Tensor
    gradient: Tensor

    def __getitem__(self, rows: Tensor) -> State:
        return State(self.z[rows], self.log_density[rows], self.gradient[rows])

    def merge(self, other: State, rows: Tensor) -> State:
        """``other`` where the mask ``rows`` ``(n,)`` holds, else this state."""
        block = rows[:, None, None]
        return State(
            torch.where(block, other.z, self.z),
            torch.where(rows, other.log_density, self.log_density),
            torch.where(block, other.gradient, self.gradient),
        )


@dataclass(frozen=True)
class Info:
    """What one step reports.

    Attributes
    ----------
    accepted
        Chains that moved, ``(n,)``.
    probability
        Probability with which each move was accepted, ``(n,)``.
    step_size
        ``h``.
    refused
        Number of moves that the guard refused.
    """

    accepted: Tensor
    probability: Tensor
    step_size: float
    refused: int


@dataclass(frozen=True)
class Langevin:
    """Unadjusted Langevin walk.

    Its stationary law is off by ``O(h)``: a Gaussian of covariance ``S`` comes out with
    covariance ``(S^{-1} - h/4 S^{-1} B B' S^{-1})^{-1}``, that is ``S / (1 - h/4)``
    for ``B B' = S``. Moves to a place that is not finite, or that the guard refuses,
    are not made.

    Parameters
    ----------
    log_density
        ``(n, T, C) -> (n,)``, nats, up to a constant.
    step_size
        ``h``.
    preconditioner
        Linear map ``B``: an object with ``apply`` and ``transpose`` or a pair of such
        callables; the identity by default.
    guard
        Mask of allowed series, ``(n, T, C) -> (n,)``.
    """

    log_density: LogDensity
    step_size: float
    preconditioner: Map | None = None
    guard: Callable[[Tensor], Tensor] | None = None
    _apply: LinearMap = field(init=False, repr=False)
    _transpose: LinearMap = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_positive("step_size", self.step_size)
        apply, transpose = _pair(self.preconditioner)
        object.__setattr__(self, "_apply", apply)
        object.__setattr__(self, "_transpose", transpose)

    def init(self, z: Tensor) -> State:
        """The state at ``z``, ``(n, T, C)``."""
        if z.ndim != 3 or not len(z):
            raise ValueError(f"z has shape {tuple(z.shape)}; expected (n, T, C).")
        return State(z, *value_and_gradient(self.log_density, z))

    def step(self, state: State, generator: torch.Generator) -> tuple[State, Info]:
        """Move every chain once."""
        proposal, _, allowed, refused = self._propose(state, generator)
        info = Info(allowed, allowed.to(state.z.dtype), self.step_size, refused)
        return state.merge(proposal, allowed), info

    def _propose(
        self, state: State, generator: torch.Generator
    ) -> tuple[State, Tensor, Tensor, int]:
        """Proposal, log Metropolis-Hastings ratio, rows allowed, rows refused.

        With ``u = B' g`` the way back has noise ``-(n + sqrt(h)/2 (u + u'))``, so no
        inverse of ``B`` is needed.
        """
        z, root = state.z, math.sqrt(self.step_size)
        noise = torch.randn(
            z.shape, generator=generator, dtype=z.dtype, device=z.device
        )
        slope = self._transpose(state.gradient)
        proposal = self.init(z + self._apply(root**2 / 2 * slope + root * noise))
        back = noise + root / 2 * (slope + self._transpose(proposal.gradient))
        kinetic = 0.5 * (noise.square() - back.square()).sum((1, 2))
        allowed = proposal.log_density.isfinite()
        allowed = allowed & proposal.gradient.flatten(1).isfinite().all(1)
        refused = 0
        if self.guard is not None:
            passed = self.guard(proposal.z)
            refused = int((allowed & ~passed).sum())
            allowed = allowed & passed
        log_ratio = proposal.log_density - state.log_density + kinetic
        return proposal, log_ratio, allowed, refused


@dataclass(frozen=True)
class MALA(Langevin):
    """Metropolis-adjusted Langevin walk: exact for the law, guard included.

    Each chain accepts its own moves. At a step size that is optimal in many dimensions
    57 % are accepted (Roberts & Rosenthal 1998); :meth:`adapted` looks for it. The
    parameters are those of :class:`Langevin`.
    """

    def step(self, state: State, generator: torch.Generator) -> tuple[State, Info]:
        """Move every chain once, or leave it where it is."""
        proposal, log_ratio, allowed, refused = self._propose(state, generator)
        probability = torch.where(allowed, log_ratio, -torch.inf).clamp(max=0).exp()
        uniform = torch.rand(
            len(allowed),
            generator=generator,
            dtype=state.z.dtype,
            device=state.z.device,
        )
        rows = uniform < probability
        info = Info(rows, probability, self.step_size, refused)
        return state.merge(proposal, rows), info

    def adapted(
        self,
        state: State,
        num_steps: int,
        generator: torch.Generator,
        target: float = TARGET_ACCEPTANCE,
    ) -> tuple[MALA, State]:
        """Burn in while dual averaging moves the step size (Hoffman & Gelman 2014).

        Returns
        -------
        The same sampler with the step size found, frozen, and the state after
        ``num_steps`` steps.
        """
        check_count("num_steps", num_steps, 1)
        if not 0 < target < 1:
            raise ValueError(f"target is {target}; give an acceptance between 0 and 1.")
        sampler, error, average = self, 0.0, 0.0
        centre = math.log(10 * self.step_size)
        for k in range(1, num_steps + 1):
            state, info = sampler.step(state, generator)
            error += (target - float(info.probability.mean()) - error) / (k + STABILITY)
            log_step = centre - math.sqrt(k) / SHRINKAGE * error
            average += k**-FORGETTING * (log_step - average)
            sampler = replace(self, step_size=math.exp(log_step))
        return replace(self, step_size=math.exp(average)), state


@dataclass(frozen=True)
class WalkResult:
    """Where a walk led.

    Attributes
    ----------
    state
        The last state.
    acceptance
        Share of its moves that each chain made, ``(n,)``; 0 for one that never moved.
    step_size
        ``h``.
    refused
        Number of moves that the guard refused.
    trajectory, levels
        Positions ``(S, n, T, C)`` and log-densities ``(S, n)`` from the start on, where
        they were recorded.
    """

    state: State
    acceptance: Tensor
    step_size: float
    refused: int
    trajectory: Tensor | None = None
    levels: Tensor | None = None

    @property
    def z(self) -> Tensor:
        """The last positions, ``(n, T, C)``."""
        return self.state.z


def run(
    sampler: Langevin,
    z: Tensor | State,
    num_steps: int,
    generator: torch.Generator,
    record_every: int | None = None,
) -> WalkResult:
    """Walk from ``z`` ``(n, T, C)``, or on from a state, for ``num_steps`` steps.

    With ``record_every`` the start and every so many steps are kept. Chains that never
    moved are counted in a warning.
    """
    check_count("num_steps", num_steps, 0)
    if record_every is not None:
        check_count("record_every", record_every, 1)
    result = advance(sampler, z, num_steps, generator, record_every)
    stuck = int((result.acceptance == 0).sum())
    if num_steps and stuck:
        logger.warning(
            "%d of %d chains never moved in %d steps; walk longer or take a smaller "
            "step_size.",
            stuck,
            len(result.acceptance),
            num_steps,
        )
    return result


def advance(
    sampler: Langevin,
    z: Tensor | State,
    num_steps: int,
    generator: torch.Generator,
    record_every: int | None = None,
) -> WalkResult:
    """:func:`run` as part of a longer walk: no check and no warning."""
    state = z if isinstance(z, State) else sampler.init(z)
    made, refused, seen = torch.zeros_like(state.log_density), 0, [state]
    for k in range(1, num_steps + 1):
        state, info = sampler.step(state, generator)
        made, refused = made + info.accepted, refused + info.refused
        if record_every and k % record_every == 0:
            seen.append(state)
    trajectory = levels = None
    if record_every:
        trajectory = torch.stack([s.z for s in seen])
        levels = torch.stack([s.log_density for s in seen])
    acceptance = made / max(1, num_steps)
    return WalkResult(state, acceptance, sampler.step_size, refused, trajectory, levels)


def _pair(preconditioner: Map | None) -> tuple[LinearMap, LinearMap]:
    """``B`` and ``B'`` as callables."""
    if preconditioner is None:
        return _identity, _identity
    if isinstance(preconditioner, tuple):
        apply, transpose = preconditioner
        return apply, transpose
    if not (hasattr(preconditioner, "apply") and hasattr(preconditioner, "transpose")):
        raise ValueError(
            f"preconditioner is a {type(preconditioner).__name__}; give an object with "
            "apply and transpose, such as GaussianPreconditioner(factor), or a pair of "
            "callables."
        )
    return preconditioner.apply, preconditioner.transpose


def _identity(z: Tensor) -> Tensor:
    return z


def value_and_gradient(
    function: LogDensity, z: Tensor, name: str = "log_density"
) -> tuple[Tensor, Tensor]:
    """A function of series and its gradient, ``(n,)`` and ``(n, T, C)``."""
    with torch.enable_grad():
        at = z.detach().requires_grad_(True)
        value = function(at)
        if value.shape != at.shape[:1]:
            raise ValueError(
                f"{name} returned shape {tuple(value.shape)} for series of shape "
                f"{tuple(z.shape)}; it must return one number a series, (n,)."
            )
        if not value.requires_grad:
            raise ValueError(
                f"{name} has no gradient; compute it from z with torch operations."
            )
        (gradient,) = torch.autograd.grad(value.sum(), at)
    return value.detach(), gradient


def check_positive(name: str, value: float) -> None:
    """Raise a ``ValueError`` unless ``value`` is finite and above 0."""
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"{name} is {value}; give a finite number above 0.")


def check_count(name: str, value: int, least: int) -> None:
    """Raise a ``ValueError`` if ``value`` is below ``least``."""
    if value < least:
        raise ValueError(f"{name} is {value}; give a whole number of at least {least}.")
