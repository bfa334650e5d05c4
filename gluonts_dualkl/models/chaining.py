"""Series longer than the training windows: windows chained through their overlap.

A window of ``T`` steps begins with the last ``h`` steps of the series so far, its head
``a``, and adds a rest drawn from the model's law of the rest given the head,

    (a_1, r_1) ~ p,        a_{k+1} = tail(a_k, r_k),      r_{k+1} ~ p(r | a_{k+1}).

The tail is read in channel scores and scored again at the head positions of a window.
Where the law of a window does not depend on where it begins, every such window has that
law, and only what reaches back further than the overlap is forgotten. The rest is drawn
in one of two ways, both our construction:

:class:`RecombinedRest`
    For :class:`~gluonts_dualkl.models.recombination.DualModel`. Recombination is causal
    and its law given a prefix is drawn exactly, so the rest is made of real innovations
    under the model's own tilt, copy guard included.
:class:`KrigedRest`
    For every other path. A draw of the model is moved onto the head by kriging
    (Matheron's rule; Journel & Huijbregts 1978), exact for a Gaussian law, and weighted
    by what the law has beyond.

What chaining cannot mend: a fitted law differs a little between the two ends of its
windows, and a chain settles where its tails are; the Gaussian law knows no clock, so a
daily cycle strays by some hours even with known phases; a slow cycle or a trend over
several windows is not carried on; and a series whose law changes with its age (a storm)
has no stationary law to chain.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from gluonts_dualkl.laws.marginals import MarginalMap
from gluonts_dualkl.laws.recombination import DonorPaths, Recombination
from gluonts_dualkl.models.base import Draws, PathModel, sum_legs
from gluonts_dualkl.models.phases import Phases, default_overlap
from gluonts_dualkl.models.recombination import DualModel

__all__ = ["KrigedRest", "Phases", "RecombinedRest", "chain", "default_overlap"]

BLOCK = 512
STARTS = 16
CANDIDATES = 8
POOL_FACTOR, MIN_POOL = 4, 256
NEIGHBOUR = 5
MAX_USES = 4.0
MAX_TILT = 50.0
FAR = 1e4


class RecombinedRest(Recombination):
    """Recombination given the first ``overlap`` steps of every series.

    The donor at the end of the head is drawn by the kernel that draws any next donor;
    from there on the law is that of
    :class:`~gluonts_dualkl.laws.recombination.Recombination` given the head, and
    :meth:`propose` redraws steps after the head only.

    Parameters
    ----------
    model
        The fitted model.
    overlap
        Steps ``h`` of a head, ``1 <= h < T``.
    phases
        Where training windows begin: donors then pass on to donors of like phase only.
    """

    def __init__(
        self, model: DualModel, overlap: int, phases: Phases | None = None
    ) -> None:
        vars(self).update(vars(model.reference))  # the law itself, prepared once
        self.model, self.overlap = model, overlap
        if phases is not None:
            starts = phases.starts if model.rows is None else phases.starts[model.rows]
            starts = starts[self.donors.series] + self.donors.shifts
            phases = replace(phases, starts=starts % phases.season)
        self.phases = phases
        self._unlike = None if phases is None else ~phases.like(phases.starts)

    def draw(
        self,
        heads: Tensor,
        num_steps: int,
        generator: torch.Generator,
        phase: Tensor | None = None,
    ) -> Draws:
        """Windows that begin with ``heads`` ``(n, h, C)`` at ``phase`` ``(n,)``.

        Of ``STARTS`` draws of the reference a chain keeps one with probability
        proportional to ``exp(tilt)``; ``num_steps`` Metropolis moves follow. Of what
        the chains of a head visit, as many as the model's ``balance``, a row takes the
        state that shares fewest donors with other rows.
        """
        starts = STARTS * self.model.balance
        phase = None if phase is None else phase.repeat_interleave(starts)
        states = self.given(heads.repeat_interleave(starts, 0), generator, phase)
        tilt = self.model.log_tilt(states.z).reshape(-1, STARTS)
        picked = _pick(tilt, generator)
        best = torch.arange(len(tilt), device=picked.device) * STARTS + picked
        return self.model.walked(self, states[best], num_steps, generator, owned=True)

    def given(
        self,
        heads: Tensor,
        generator: torch.Generator,
        phase: Tensor | None = None,
    ) -> DonorPaths:
        """Draws of the reference given ``heads`` ``(n, h, C)``, one a row.

        One donor at random stands aside at the end of each head, as the present donor
        does on any change.
        """
        n, h, channels = heads.shape
        num_donors, length = len(self.donors), self.train.shape[1]
        z = heads.new_zeros(n, length, channels)
        z[:, :h] = heads
        fit = torch.ones(n, num_donors, device=heads.device)
        if self.phases is not None and phase is not None:
            fit = self.phases.like(phase).float()
        aside = torch.multinomial(fit, 1, generator=generator)[:, 0]
        weights = self._log_weights(z, aside, h)
        donor = torch.multinomial(weights.exp(), 1, generator=generator)
        blank = DonorPaths(
            z,
            donor.repeat(1, length),
            z.new_zeros(n, length),
            z.new_zeros(n, channels),
        )
        first = torch.full((n,), h, device=heads.device)
        return self._regrow(blank, first, torch.full_like(first, length), generator)[0]

    def _first(self, uniform: Tensor, length: int) -> Tensor:
        """Where stretches begin, never in the head, ``(n,)``."""
        first = self.overlap + (uniform**1.5 * (length - self.overlap)).long()
        return first.clamp(max=length - 1)

    def _log_weights(
        self, z: Tensor, current: Tensor, t: int, home: Tensor | None = None
    ) -> Tensor:
        weights = super()._log_weights(z, current, t, home)
        if self._unlike is None:
            return weights
        return torch.log_softmax(weights - FAR * self._unlike[current], 1)


class KrigedRest:
    """Draws of any model moved onto given heads by kriging.

    A draw ``(h_c, r_c)`` becomes ``r_c + S_rh S_hh^{-1} (a - h_c)``, ``S`` the
    covariance of the Gaussian leg, which is to keep its innovations under the new past.
    From a pool of draws the kernel weight of a candidate falls with

        |k(a) - k(h_c)|^2 = 2 KL(g(r | a) || g(r | h_c)),

    ``k(a)`` the whitened innovations that bring a series from the head ``a`` to zero,
    so that little is changed; the ``NEIGHBOUR``-th smallest is the squared bandwidth,
    and candidates near to many heads are weighted down. Of ``CANDIDATES`` one is kept
    with probability proportional to ``exp(f(z') - f(z_c))``, ``f`` the dual function
    without its Gaussian leg: importance weights of the conditional law, the candidate's
    head being an auxiliary variable.

    Parameters
    ----------
    model
        The fitted model.
    overlap
        Steps ``h`` of a head, ``1 <= h < T``.
    phases
        Where training windows begin: candidates are then those whose nearest training
        window is of like phase.
    """

    def __init__(
        self, model: PathModel, overlap: int, phases: Phases | None = None
    ) -> None:
        self.model, self.overlap, self.phases = model, overlap, phases

    def draw(
        self,
        heads: Tensor,
        num_steps: int,
        generator: torch.Generator,
        phase: Tensor | None = None,
    ) -> Draws:
        """Windows that begin with ``heads`` ``(n, h, C)``, from a fresh pool."""
        size = max(MIN_POOL, POOL_FACTOR * len(heads))
        pool = self.model.draw(size, num_steps, generator)
        unfit = None
        if self.phases is not None and phase is not None:
            unfit = ~self.phases.like(phase)[:, pool.donors[:, 0]]
        among = self._candidates(heads, pool.z[:, : self.overlap], generator, unfit)
        own = heads.repeat_interleave(CANDIDATES, 0)
        moved = self.moved(pool.z[among.ravel()], own)
        gain = self._beyond_gaussian(moved) + self.model.guard(moved)
        gain = gain.reshape(among.shape) - self._beyond_gaussian(pool.z)[among]
        picked = _pick(gain.clamp(-MAX_TILT, MAX_TILT), generator)
        rows = torch.arange(len(heads), device=picked.device)
        z = moved.reshape(*among.shape, *moved.shape[1:])[rows, picked]
        chosen = among[rows, picked]
        return Draws(z, pool.donors[chosen], pool.shifts[chosen])

    def moved(self, z: Tensor, heads: Tensor) -> Tensor:
        """Windows ``z`` ``(n, T, C)`` on other heads, innovations of the rest kept."""
        law, shift = self.model.gaussian, torch.zeros_like(z)
        shift[:, : self.overlap] = heads - z[:, : self.overlap]
        for t in range(self.overlap, z.shape[1]):
            shift[:, t] = law.context(shift, t) @ law.coefficients[t].to(z.dtype)
        moved = z + shift
        moved[:, : self.overlap] = heads
        return moved

    def _candidates(
        self,
        heads: Tensor,
        pool: Tensor,
        generator: torch.Generator,
        unfit: Tensor | None = None,
    ) -> Tensor:
        """Rows of the pool for every head, without repetition, ``(n, CANDIDATES)``."""
        distance = torch.cdist(self._key(heads), self._key(pool)).square()
        if unfit is not None:
            distance = distance + FAR * unfit
        bandwidth = distance.topk(NEIGHBOUR, 1, largest=False).values[:, -1:]
        weights = torch.softmax(-0.5 * distance / (bandwidth + 1e-12), 1)
        uses = CANDIDATES * weights.sum(0)
        weights = weights / (uses / MAX_USES).clamp(min=1)
        uniform = torch.rand(weights.shape, generator=generator, device=heads.device)
        race = -torch.log1p(-uniform) / weights.clamp(min=1e-30)
        return race.topk(CANDIDATES, 1, largest=False).indices

    def _key(self, heads: Tensor) -> Tensor:
        """``k`` of heads ``(n, h, C)``, flat, ``(n, K)``."""
        law = self.model.gaussian
        length, channels = law.factors.shape[:2]
        z = heads.new_zeros(len(heads), length, channels)
        z[:, : self.overlap] = heads
        last = self.overlap + law.order
        return law.innovations(z)[:, self.overlap : last].flatten(1).float()

    def _beyond_gaussian(self, z: Tensor) -> Tensor:
        """The dual function of all legs but the Gaussian one, ``(n,)``, nats."""
        ratio = sum_legs(self.model.log_ratio_of_scores(z))
        return (ratio - self.model.gaussian.log_ratio(z)).float()


def chain(
    model: PathModel,
    num_samples: int,
    length: int,
    num_steps: int,
    generator: torch.Generator,
    overlap: int | None = None,
    phases: Phases | None = None,
) -> tuple[Tensor, Tensor]:
    """Series of any length from a model of windows, ``BLOCK`` at a time in memory.

    Parameters
    ----------
    model
        The fitted model of windows of ``T`` steps.
    num_samples
        Number of series ``n``.
    length
        Time steps of a series, shorter or longer than ``T``.
    num_steps
        Moves of the walk behind every window.
    generator
        Source of randomness, on the model's device.
    overlap
        Steps that a window shares with the one before, ``T // 2`` by default. Windows
        move on by ``T - overlap`` steps, which should keep to phases that windows in
        training began at: :func:`default_overlap`.
    phases
        Where in the season training windows begin, :meth:`Phases.of`. Each next window
        is then made of training windows at the phase it is due at, which bounds how
        far a season strays from its phase; without, the phase wanders.

    Returns
    -------
    Series in the model's original units, ``(n, length, C)``, float32, and the training
    window behind every step, ``(n, length)``.

    Raises
    ------
    ValueError
        If a number is out of range.
    """
    size, channels = model.train.shape[1:]
    overlap = size // 2 if overlap is None else overlap
    _check(model, num_samples, length, num_steps, overlap)
    if not num_samples:
        empty = model.train.new_empty(0, length, channels)
        return empty, empty[:, :, 0].long()
    law: RecombinedRest | KrigedRest
    if isinstance(model, DualModel):
        law = RecombinedRest(model, overlap, phases)
    else:
        law = KrigedRest(model, overlap, phases)
    drawn = []
    for done in range(0, num_samples, BLOCK):
        rows = min(BLOCK, num_samples - done)
        first = model.draw(rows, num_steps, generator)
        drawn.append(_chained(law, first, length, num_steps, generator, phases))
    values, donors = (torch.cat(parts) for parts in zip(*drawn, strict=True))
    return values, donors


def _chained(
    law: RecombinedRest | KrigedRest,
    state: Any,
    length: int,
    num_steps: int,
    generator: torch.Generator,
    phases: Phases | None,
) -> tuple[Tensor, Tensor]:
    """Values and donors of chains that begin with the windows of ``state``."""
    maps, h = law.model.marginals, law.overlap
    values, donors = [maps.from_normal(state.z)], [state.donors]
    size = state.z.shape[1]
    phase = None
    if phases is not None:
        phase = phases.starts[state.donors[:, -1]] + state.shifts[:, -1]
    for _ in range(size, length, size - h):
        if phases is not None and phase is not None:
            phase = (phase + size - h) % phases.season
        heads = _heads(state.z, maps, h)
        state = law.draw(heads, num_steps, generator, phase)
        values.append(maps.from_normal(state.z)[:, h:])
        donors.append(state.donors[:, h:])
    return torch.cat(values, 1)[:, :length], torch.cat(donors, 1)[:, :length]


def _heads(z: Tensor, maps: MarginalMap, overlap: int) -> Tensor:
    """Last steps of windows ``z`` as scores at the head positions, ``(n, h, C)``."""
    scores = z[:, -overlap:] * maps.scale[-overlap:] + maps.location[-overlap:]
    return (scores - maps.location[:overlap]) / maps.scale[:overlap]


def _pick(log_weights: Tensor, generator: torch.Generator) -> Tensor:
    """One column a row with probability proportional to ``exp``, ``(n,)``."""
    shares = torch.softmax(log_weights, 1)
    return torch.multinomial(shares, 1, generator=generator)[:, 0]


def _check(
    model: PathModel,
    num_samples: int,
    length: int,
    num_steps: int,
    overlap: int,
) -> None:
    given = {"num_samples": num_samples, "length": length, "num_steps": num_steps}
    for name, value in given.items():
        least = int(name == "length")
        if value < least:
            raise ValueError(f"{name} is {value}; it must be at least {least}.")
    size = model.train.shape[1]
    if not 1 <= overlap < size:
        raise ValueError(
            f"overlap is {overlap} and windows have {size} steps; give 1 to {size - 1} "
            "steps, or None for half of a window."
        )
