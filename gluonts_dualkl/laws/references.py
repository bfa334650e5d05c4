"""Reference laws: where a path starts, and the moves that leave them invariant.

A reference offers ``start(n, generator)``, independent draws as a state, and
``propose(state, generator)``, a move with the log of its Metropolis-Hastings factor

    log R(new) k(new, old) - log R(old) k(old, new),

so that a sampler may tilt the law by any dual function without knowing it. A state has
the series as ``.z`` ``(n, T, C)`` and can be indexed and merged by row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from gluonts_dualkl.laws.elliptical import RadialLaw
from gluonts_dualkl.laws.gaussian import CausalGaussian

__all__ = [
    "GaussianReference",
    "Reference",
    "State",
    "draw_in_blocks",
]

S = TypeVar("S", bound="State")

BLOCK_NUMBERS = 16_000_000


@dataclass(frozen=True)
class State:
    """Series of a law in normal scores, ``z`` of shape ``(n, T, C)``."""

    z: Tensor

    def __len__(self) -> int:
        return len(self.z)

    def __getitem__(self: S, rows: Tensor | slice) -> S:
        return type(self)(*(getattr(self, f.name)[rows] for f in fields(self)))

    @classmethod
    def cat(cls: type[S], states: Sequence[S]) -> S:
        """The rows of several states, one after the other."""
        return cls(
            *(torch.cat([getattr(s, f.name) for s in states]) for f in fields(cls))
        )

    def merge(self: S, other: S, rows: Tensor) -> S:
        """``other`` where the mask ``rows`` ``(n,)`` holds, else this state."""
        merged = []
        for field in fields(self):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            mask = rows.reshape(-1, *(1,) * (mine.ndim - 1))
            merged.append(torch.where(mask, theirs, mine))
        return type(self)(*merged)


class Reference(Protocol):
    """What a sampler knows of a reference law."""

    def start(self, num_samples: int, generator: torch.Generator) -> Any:
        """Independent draws of the law as a state."""

    def propose(self, state: Any, generator: torch.Generator) -> tuple[Any, Tensor]:
        """A move of every row and the log of its Metropolis-Hastings factor."""


def draw_in_blocks(
    draw: Callable[[int, torch.Generator], S],
    num_samples: int,
    num_pixels: int,
    generator: torch.Generator,
) -> S:
    """``num_samples`` rows of ``draw(n, generator)``, in blocks where they are large.

    A block has at most ``BLOCK_NUMBERS`` pixels where a row needs ``num_pixels``.
    """
    rows = max(1, BLOCK_NUMBERS // num_pixels)
    if num_samples <= rows:
        return draw(num_samples, generator)
    parts = [
        draw(min(rows, num_samples - done), generator)
        for done in range(0, num_samples, rows)
    ]
    return type(parts[0]).cat(parts)


@dataclass(frozen=True)
class GaussianState(State):
    """Draws of the Gaussian leg with their whitened innovations, ``(n, T, C)``."""

    innovations: Tensor


class GaussianReference:
    """The Gaussian or elliptical leg as a reference, moved in its innovations.

    The preconditioned Crank-Nicolson move ``e' = sqrt(1 - b^2) e + b n`` leaves the law
    invariant, so its factor is 1 (Cotter et al. 2013). ``b`` is drawn log-uniformly for
    every row, which spares a step size. With another law of the radius the move is made
    by the direction, at a fresh Gaussian radius, and by the log-radius, each in its own
    law.
    """

    def __init__(self, law: CausalGaussian, radial: RadialLaw | None = None) -> None:
        self.law = law
        self.radial = None if radial is None or radial.is_gaussian else radial

    def start(self, num_samples: int, generator: torch.Generator) -> GaussianState:
        """Independent draws of the law, ``num_samples`` rows."""
        pixels = self.law.variances.numel()
        return draw_in_blocks(self._start, num_samples, pixels, generator)

    def _start(self, num_samples: int, generator: torch.Generator) -> GaussianState:
        length, channels = self.law.factors.shape[:2]
        noise = self._noise((num_samples, length, channels), generator)
        if self.radial is not None:
            noise = self.radial.with_own_radius(noise, generator)
        return self._state(noise)

    def propose(
        self, state: GaussianState, generator: torch.Generator
    ) -> tuple[GaussianState, Tensor]:
        """A Crank-Nicolson move of every row; its factor is zero."""
        shape = state.innovations.shape
        uniform = torch.rand(shape[0], 1, 1, generator=generator, device=state.z.device)
        step = torch.exp(uniform * math.log(0.05)).double()
        noise = self._noise(shape, generator)
        old = state.innovations
        if self.radial is not None:
            old = self.radial.with_gaussian_radius(old, generator)
        moved = (1 - step.square()).sqrt() * old + step * noise
        if self.radial is not None:
            moved = self.radial.moved(moved, state.innovations, step, generator)
        return self._state(moved), state.z.new_zeros(shape[0])

    def _noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        device = self.law.factors.device
        noise = torch.randn(shape, generator=generator, device=device)
        return noise.double()

    def _state(self, innovations: Tensor) -> GaussianState:
        return GaussianState(
            self.law.from_innovations(innovations).float(), innovations
        )
