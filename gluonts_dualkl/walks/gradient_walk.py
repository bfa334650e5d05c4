"""The walk of the paper: along the gradient of the dual function to a target level.

As summaries of Garg et al. (arXiv 2404.07377) tell it; the step rule is our
construction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gluonts_dualkl.walks.langevin import (
    LogDensity,
    State,
    check_count,
    check_positive,
    value_and_gradient,
)

__all__ = ["REASONS", "GradientWalk", "GradientWalkResult", "clipped_newton"]

StepRule = Callable[[Tensor, Tensor], Tensor]

TINY = 1e-12
REASONS = ("converged", "max steps", "zero gradient", "guard", "not finite")
CONVERGED, MAX_STEPS, ZERO_GRADIENT, GUARD, NOT_FINITE = range(5)


def clipped_newton(gap: Tensor, square: Tensor) -> Tensor:
    """Multiple of the gradient to step by: ``clip(gap / |grad|^2, -1, 1)``, ``(n,)``.

    ``gap`` is target minus level and ``square`` is ``|grad|^2``.
    """
    return (gap / square).clamp(-1, 1)


@dataclass(frozen=True)
class GradientWalkResult:
    """Where a walk on levels led.

    Attributes
    ----------
    z, levels
        Last positions ``(n, T, C)`` and their levels ``(n,)``.
    reasons
        Why each row stopped, ``(n,)``: an index into :data:`REASONS`.
    steps
        Steps each row made, ``(n,)``.
    trajectory, trajectory_levels
        Positions ``(S, n, T, C)`` and levels ``(S, n)`` from the start on, where they
        were recorded.
    """

    z: Tensor
    levels: Tensor
    reasons: Tensor
    steps: Tensor
    trajectory: Tensor | None = None
    trajectory_levels: Tensor | None = None

    @property
    def converged(self) -> Tensor:
        """Whether each row reached its target, ``(n,)``."""
        return self.reasons == CONVERGED

    @property
    def counts(self) -> dict[str, int]:
        """Rows by reason for stopping; the counts sum to ``n``."""
        found = Counter(self.reasons.tolist())
        return {name: found[k] for k, name in enumerate(REASONS)}


@dataclass(frozen=True)
class GradientWalk:
    """The walk of the paper: up or down the gradient of the level to a target.

        z += eta clip((t - f) / |grad f|^2, -1, 1) grad f    until |t - f| < tolerance

    It is deterministic and has no stationary law. Measured weakness: from data it
    barely moves, so that the start stays the nearest neighbour (near copies); from
    draws of the marginals it under-disperses, or leaves the support where the dual
    function is weak. :class:`MALA` is the walk that is right for a law.

    Parameters
    ----------
    level
        Dual function ``f``, ``(n, T, C) -> (n,)``, nats.
    step_size
        ``eta``.
    tolerance
        Nats within which a target counts as reached.
    max_steps
        Most steps.
    step_rule
        From ``t - f`` and ``|grad f|^2``, ``(n,)`` each, to the multiple of the
        gradient.
    guard
        Mask of allowed series, ``(n, T, C) -> (n,)``; a row stops before a series that
        it refuses.
    """

    level: LogDensity
    step_size: float = 0.5
    tolerance: float = 0.05
    max_steps: int = 500
    step_rule: StepRule = clipped_newton
    guard: Callable[[Tensor], Tensor] | None = None

    def __post_init__(self) -> None:
        check_positive("step_size", self.step_size)
        check_positive("tolerance", self.tolerance)
        check_count("max_steps", self.max_steps, 1)

    def walk(
        self, z: Tensor, target: Tensor | float, record_every: int | None = None
    ) -> GradientWalkResult:
        """Walk every row of ``z`` ``(n, T, C)`` to its ``target``, ``(n,)`` or one."""
        if record_every is not None:
            check_count("record_every", record_every, 1)
        state = self._at(z)
        goal = torch.as_tensor(target, dtype=state.log_density.dtype, device=z.device)
        if goal.shape not in (torch.Size([]), state.log_density.shape):
            raise ValueError(
                f"target has shape {tuple(goal.shape)} for {len(z)} series; give one "
                "level, or one a series."
            )
        goal = goal.expand(len(z))
        reasons = torch.full((len(z),), MAX_STEPS, device=z.device)
        steps = torch.zeros_like(reasons)
        going, seen = torch.ones_like(reasons, dtype=torch.bool), [state]
        for k in range(self.max_steps + 1):
            going = self._stop(state, goal, reasons, going)
            if not going.any() or k == self.max_steps:
                break
            rows = torch.nonzero(going).ravel()
            moved, stopped = self._move(state[rows], goal[rows])
            reasons[rows] = torch.where(stopped > 0, stopped, reasons[rows])
            going[rows] = stopped == 0
            steps += going
            state = _put(state, moved, rows[stopped == 0], stopped == 0)
            if record_every and (k + 1) % record_every == 0:
                seen.append(state)
        return GradientWalkResult(
            state.z,
            state.log_density,
            reasons,
            steps,
            torch.stack([s.z for s in seen]) if record_every else None,
            torch.stack([s.log_density for s in seen]) if record_every else None,
        )

    def _at(self, z: Tensor) -> State:
        return State(z, *value_and_gradient(self.level, z, "level"))

    def _stop(
        self, state: State, goal: Tensor, reasons: Tensor, going: Tensor
    ) -> Tensor:
        """Note rows that arrived or have no gradient; returns the rows still going."""
        arrived = going & ((goal - state.log_density).abs() < self.tolerance)
        flat = going & ~arrived & (_square(state.gradient) < TINY)
        reasons[arrived], reasons[flat] = CONVERGED, ZERO_GRADIENT
        return going & ~arrived & ~flat

    def _move(self, state: State, goal: Tensor) -> tuple[State, Tensor]:
        """One step of every row and its reason to stop instead, 0 for none."""
        factor = self.step_rule(goal - state.log_density, _square(state.gradient))
        factor = (self.step_size * factor).to(state.z.dtype)
        moved = self._at(state.z + factor[:, None, None] * state.gradient)
        finite = moved.log_density.isfinite() & _square(moved.gradient).isfinite()
        stopped = torch.where(finite, 0, NOT_FINITE)
        if self.guard is not None:
            stopped = torch.where(finite & ~self.guard(moved.z), GUARD, stopped)
        return moved, stopped


def _square(gradient: Tensor) -> Tensor:
    return gradient.square().sum((1, 2))


def _put(state: State, moved: State, rows: Tensor, chosen: Tensor) -> State:
    """The state with the ``chosen`` rows of ``moved`` in the places ``rows``."""
    new = State(state.z.clone(), state.log_density.clone(), state.gradient.clone())
    new.z[rows] = moved.z[chosen]
    new.log_density[rows] = moved.log_density[chosen]
    new.gradient[rows] = moved.gradient[chosen]
    return new
