"""Marginal maps: from original units to normal scores and back.

Every channel is mapped through one monotone function of its value,

    y = g_c(x),        z_t = (y_t - location_tc) / scale_tc,

with location and scale of the *channel scores* ``y`` at each time step. Where series
vary about a common level, ``g_c = Phi^{-1}(F_c)`` with ``F_c`` the empirical
distribution of the channel pooled over series and time steps. Where they differ more in
level than they vary inside (prices, head positions), ranks would stretch a step by how
crowded its level is, so ``g_c`` is affine in ``x`` or, if that is less skewed, in its
logarithm: a step, absolute or relative, is as long at every level. Pooling
over time keeps the map smooth along a series: a rank map per pixel carries its own
sampling noise at every step and breaks smooth trajectories. Total correlation does not
change under monotone maps of the pixels, so nats may be counted in ``z``, whose product
of marginals is ``Q = N(0, I)``; affine and logarithmic maps leave pixels that are not
quite normal, and what they differ by counts as nats too.

What is mapped back keeps the type and the support of the channel:

- values lie on the decimal grid of the data (winds in steps of 5 kt, counts);
- a channel with few distinct values is *discrete*: its scores have levels too, so that
  a critic sees the same ties in real and in synthetic series. The border between two
  levels divides their distance as their counts: half degrees between whole ones are as
  rare as in the data;
- a value that many steps share (zero rain) is an *atom*: all scores between the ranks
  at which it begins and ends are that value;
- a mean or deviation that all series share, since they were centred or standardised
  one by one, is imposed on every series, see :mod:`gluonts_dualkl.laws.invariants`;
- the end of the range is a bound where a noticeable share of the data sits on it (zero
  rain, 100 % humidity), and zero is a bound of non-negative channels;
- elsewhere the tails go on linearly (exponentially towards zero for positive channels),
  so they neither pile up at the extremes nor explode.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from gluonts_dualkl.data.grids import bounds, decimal_resolution
from gluonts_dualkl.laws.invariants import SeriesInvariants
from gluonts_dualkl.laws.knots import (
    KINDS,
    Tails,
    atoms_of,
    counts_of,
    levels_of,
    power_knots,
    rank_knots,
    slopes,
    takes_power,
)

__all__ = ["KINDS", "MarginalMap"]

DISCRETE_SHARE = 0.25
MIN_SCALE = 0.05
MIN_CELL = 0.02
TAIL_SCORE = 6.0
BLOCK_NUMBERS = 2**23
MAPPED = ("knots_x", "knots_z", "tails")


def _outside(distance: Tensor, start: Tensor, slope: Tensor, bound: Tensor) -> Tensor:
    """How far a tail has gone at ``distance`` of the scores beyond the last knot.

    Linear without a bound, ``room * (1 - exp(-slope * distance / room))`` towards one.
    """
    room = (bound - start).abs()
    linear = slope * distance
    finite = torch.where(room.isfinite() & (room > 0), room, torch.ones_like(room))
    bent = finite * -torch.expm1(-linear / finite)
    bent = torch.where(room > 0, bent, torch.zeros_like(bent))
    return torch.where(room.isfinite(), bent, linear)


def _inverse_outside(
    excess: Tensor, start: Tensor, slope: Tensor, bound: Tensor
) -> Tensor:
    """Inverse of :func:`_outside`, at most ``TAIL_SCORE``."""
    room = (bound - start).abs()
    linear = excess / slope
    finite = torch.where(room.isfinite() & (room > 0), room, torch.ones_like(room))
    share = (excess / finite).clamp(max=1 - 1e-9)
    bent = -torch.log1p(-share) * finite / slope
    return torch.where(room.isfinite(), bent, linear).clamp(max=TAIL_SCORE)


def _interpolate(at: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Piecewise linear map of ``at`` ``(C, M)`` between knots ``(C, K)``."""
    right = torch.searchsorted(source, at).clamp(1, source.shape[1] - 1)
    left = right - 1
    x0, x1 = source.gather(1, left), source.gather(1, right)
    share = ((at - x0) / (x1 - x0).clamp(min=1e-300)).clamp(0, 1)
    return torch.lerp(target.gather(1, left), target.gather(1, right), share)


def _pad(rows: list[np.ndarray]) -> Tensor:
    """Stack rows of unequal length, repeating each one's last value, zero for none."""
    rows = [row if len(row) else np.zeros(1) for row in rows]
    width = max(2, *map(len, rows))
    padded = [np.pad(row, (0, width - len(row)), mode="edge") for row in rows]
    return torch.tensor(np.stack(padded), dtype=torch.float64)


@dataclass(frozen=True)
class MarginalMap:
    """Monotone maps of the channels to normal scores.

    Attributes
    ----------
    knots_x, knots_z
        Breakpoints of the piecewise linear maps, rising, ``(C, K)`` each; the last
        knot is repeated in unused places.
    tails
        Slopes ``dx/dz`` below and above the knots, and bounds, ``(C, 4)``.
    levels_x, levels_z
        Values of the discrete channels and their scores, rising, ``(C, M)`` each.
    level_ends
        Scores at which one level ends and the next begins, ``(C, M - 1)``.
    num_levels
        Levels in use by channel, ``(C,)``; 0 for continuous channels.
    atoms
        Lower end, upper end and middle of the scores of the atoms of a channel, and
        their values, ``(C, A, 4)``; infinite in unused places.
    resolution
        Step of the decimal grid of the data by channel, ``(C,)``; 0 without one.
    means, deviations
        What all series share, see :class:`.SeriesInvariants`, ``(C,)``; NaN elsewhere.
    location, scale
        Mean and standard deviation of the channel scores by pixel, ``(T, C)``.
    """

    knots_x: Tensor
    knots_z: Tensor
    tails: Tensor
    levels_x: Tensor
    levels_z: Tensor
    level_ends: Tensor
    num_levels: Tensor
    atoms: Tensor
    resolution: Tensor
    means: Tensor
    deviations: Tensor
    location: Tensor
    scale: Tensor

    @classmethod
    def fit(cls, values: np.ndarray, kind: str = "auto") -> MarginalMap:
        """Fit the maps to ``values``, ``(N, T, C)``; NaN is missing and left out.

        ``kind`` is ``"auto"``, the choice that the module describes, or one map for all
        channels: ``"rank"`` or ``"power"``, the affine or logarithmic one.
        """
        knots_x, knots_z, tails, levels, steps = [], [], [], [], []
        atoms, counted = [], []
        common = SeriesInvariants.fit(values)
        for c, channel in enumerate(np.moveaxis(np.asarray(values, np.float64), 2, 0)):
            known = channel[~np.isnan(channel)]
            if not len(known) or np.isinf(known).any():
                raise ValueError(
                    f"channel {c} of values has infinite values or none at all; mend "
                    "it or leave it out"
                )
            distinct, counts = np.unique(known, return_counts=True)
            shares = counts / counts.sum()
            discrete = len(distinct) < DISCRETE_SHARE * len(known)
            discrete &= bool(common.means[c].isnan())  # levels would move the mean
            low, high = bounds(distinct, shares)
            if len(distinct) > 1 and takes_power(channel, kind):
                x, z = power_knots(known, low, high)
                atoms.append(np.empty((0, 4)))
            else:
                x, z = rank_knots(distinct, shares, discrete)
                atoms.append(atoms_of(distinct, shares))
            tail = Tails(*slopes(x, z), low, high)
            step = decimal_resolution(distinct)
            level = levels_of(distinct, tail, step) if discrete else np.empty(0)
            levels.append(level)
            counted.append(counts_of(level, distinct, counts))
            knots_x.append(x)
            knots_z.append(z)
            tails.append(tail)
            steps.append(step)
        levels_x = _pad(levels)
        bare = cls(
            _pad(knots_x),
            _pad(knots_z),
            torch.tensor(tails, dtype=torch.float64),
            levels_x,
            torch.zeros_like(levels_x),
            torch.zeros_like(levels_x[:, 1:]),
            torch.tensor([len(level) for level in levels]),
            _pad_atoms(atoms),
            torch.tensor(steps, dtype=torch.float64),
            common.means,
            common.deviations,
            *torch.zeros(2, *values.shape[1:]),
        )
        scores = bare._channel_scores(torch.as_tensor(values))
        location = _pixel_means(scores)
        spread = _pixel_means((scores - location).square())
        levels_z = bare._scores(levels_x)
        fitted = {
            "levels_z": levels_z,
            "level_ends": _level_ends(levels_z, _pad(counted)),
            "location": location,
            "scale": spread.sqrt().clamp(min=MIN_SCALE),
        }
        return replace(bare, **fitted)

    def with_season(self, season: int) -> MarginalMap:
        """The same map with one location and scale for steps ``season`` apart."""
        length = len(self.location)
        if season >= length:
            return self
        phase = torch.arange(length, device=self.location.device) % season

        def pooled(a: Tensor) -> Tensor:
            sums = a.new_zeros(season, a.shape[1]).index_add(0, phase, a)
            return (sums / torch.bincount(phase)[:, None])[phase]

        location = pooled(self.location)
        spread = pooled(self.scale.square() + (self.location - location).square())
        return replace(self, location=location, scale=spread.sqrt())

    def state(self) -> dict[str, Tensor]:
        """The tensors of the map by attribute."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def to(self, device: torch.device | str) -> MarginalMap:
        """The same maps with their tensors on ``device``."""
        return MarginalMap(**{k: v.to(device) for k, v in self.state().items()})

    def to_normal(self, x: Tensor) -> Tensor:
        """Normal scores of ``x``, shape ``(n, T, C)``, as float32; NaN stays NaN."""
        return _by_rows(self._to_normal, x)

    def _to_normal(self, x: Tensor) -> Tensor:
        return (self._channel_scores(x) - self.location) / self.scale

    def from_normal(self, z: Tensor) -> Tensor:
        """Values in original units of scores ``z``, ``(n, T, C)``, as float32."""
        return _by_rows(self._from_normal, z)

    def _from_normal(self, z: Tensor) -> Tensor:
        drawn = self._imposed(z.float() * self.scale + self.location)
        y = self._gathered(drawn)
        x = self._values(_by_channel(y))
        for c in self._discrete():
            x[c] = self.levels_x[c, self._level(y, c)]
        step = self.resolution[:, None]
        x = torch.where(step > 0, step * torch.round(x / step.clamp(min=1e-300)), x)
        values = _by_series(x, z.shape)
        values = self._with_atoms(values, drawn, 3)
        return values + 0.0  # no negative zeros

    def channel_scores(self, z: Tensor) -> Tensor:
        """Channel scores ``y`` of ``z``, atoms and discrete channels on their levels.

        ``(n, T, C)``, float32: what a critic sees, with the ties of the data.
        """
        y = self._gathered(self._imposed(z.float() * self.scale + self.location))
        for c in self._discrete():
            y[:, :, c] = self.levels_z[c, self._level(y, c)].reshape(y.shape[:2])
        return y

    def _imposed(self, y: Tensor) -> Tensor:
        """Channel scores ``(n, T, C)`` of series moved to what all series share."""
        common = SeriesInvariants(self.means, self.deviations)
        if not len(common.channels) or not len(y):
            return y
        part = {k: v[common.channels] for k, v in vars(self).items() if k in MAPPED}
        maps, own = replace(self, **part), y[:, :, common.channels]
        x = _by_series(maps._values(_by_channel(own)), own.shape)
        moved = maps._scores(_by_channel(common.imposed(x.double())))
        y = y.clone()
        y[:, :, common.channels] = _by_series(moved, own.shape)
        return y

    def _gathered(self, y: Tensor) -> Tensor:
        """Channel scores ``(n, T, C)`` with those of an atom at its middle."""
        return self._with_atoms(y, y, 2)

    def _with_atoms(self, values: Tensor, y: Tensor, column: int) -> Tensor:
        """``values`` ``(n, T, C)`` where scores ``y`` are no atom, else that column."""
        number = self.atoms.shape[1]
        if not number:
            return values
        atoms = self.atoms.float().contiguous()
        flat = y.permute(2, 0, 1).reshape(y.shape[2], -1).contiguous()
        lower, upper = atoms[:, :, 0], atoms[:, :, 1].contiguous()
        place = torch.searchsorted(upper, flat).clamp(max=number - 1)
        inside = (lower.gather(1, place) < flat) & (flat <= upper.gather(1, place))
        found = atoms[:, :, column].gather(1, place)
        shape = (y.shape[2], *y.shape[:2])
        inside, found = (a.reshape(shape).permute(1, 2, 0) for a in (inside, found))
        return torch.where(inside, found, values).contiguous()

    def _channel_scores(self, x: Tensor) -> Tensor:
        scores = _by_series(self._scores(_by_channel(x)), x.shape)
        return torch.where(x.isnan(), torch.nan, scores)

    def _discrete(self) -> list[int]:
        return torch.nonzero(self.num_levels).ravel().tolist()

    def _level(self, y: Tensor, channel: int) -> Tensor:
        """Index of the level of every step of one channel, ``(n T,)``."""
        ends = self.level_ends[channel, : int(self.num_levels[channel]) - 1].float()
        return torch.bucketize(y[:, :, channel].reshape(-1).contiguous(), ends)

    def _scores(self, x: Tensor) -> Tensor:
        """Scores of values ``(C, M)``, float64."""
        low_slope, high_slope, low, high = self.tails[:, :, None].unbind(1)
        first, last = self.knots_x[:, :1], self.knots_x[:, -1:]
        below = _inverse_outside((first - x).clamp(min=0), first, low_slope, low)
        above = _inverse_outside((x - last).clamp(min=0), last, high_slope, high)
        return _interpolate(x, self.knots_x, self.knots_z) - below + above

    def _values(self, z: Tensor) -> Tensor:
        """Values of scores ``(C, M)``, float64."""
        low_slope, high_slope, low, high = self.tails[:, :, None].unbind(1)
        first, last = self.knots_z[:, :1], self.knots_z[:, -1:]
        below = _outside((first - z).clamp(min=0), self.knots_x[:, :1], low_slope, low)
        above = _outside(
            (z - last).clamp(min=0), self.knots_x[:, -1:], high_slope, high
        )
        return _interpolate(z, self.knots_z, self.knots_x) - below + above


def _pad_atoms(rows: list[np.ndarray]) -> Tensor:
    """Atoms of all channels, ``(C, A, 4)``, infinite where a channel has fewer."""
    padded = np.full((len(rows), max(map(len, rows)), 4), np.inf)
    for row, atoms in zip(padded, rows):
        row[: len(atoms)] = atoms
    return torch.tensor(padded)


def _level_ends(levels_z: Tensor, counts: Tensor) -> Tensor:
    """Borders that divide the distances of levels as their counts, ``(C, M - 1)``."""
    one, other = counts[:, :-1], counts[:, 1:]
    share = ((one + 1) / (one + other + 2)).clamp(MIN_CELL, 1 - MIN_CELL)
    return levels_z[:, :-1] + share * levels_z.diff(dim=1)


def _pixel_means(a: Tensor) -> Tensor:
    """Means over known series, ``(T, C)``; of the channel where there are none."""
    means = a.nanmean(0)
    return torch.where(means.isnan(), a.nanmean((0, 1)), means)


def _by_rows(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """``function`` of the rows of ``x`` ``(n, T, C)``, so many at a time as are few."""
    rows = max(1, BLOCK_NUMBERS // max(1, x[:1].numel()))
    if len(x) <= rows:
        return function(x)
    return torch.cat([function(part) for part in x.split(rows)])


def _by_channel(a: Tensor) -> Tensor:
    """``(n, T, C)`` as ``(C, n T)``, float64."""
    return a.double().permute(2, 0, 1).reshape(a.shape[2], -1).contiguous()


def _by_series(a: Tensor, shape: torch.Size) -> Tensor:
    """``(C, n T)`` as ``(n, T, C)``, float32."""
    n, length, channels = shape
    return a.reshape(channels, n, length).permute(1, 2, 0).float().contiguous()
