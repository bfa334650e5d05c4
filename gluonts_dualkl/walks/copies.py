"""Near copies of training series: how they are measured and how walks keep off them.

Series are seen in standardised values (:class:`ValueSpace`), beside training series at
their own time or shifted (:class:`Neighbours`); what comes nearer to these than they
are to each other (:class:`CopyLimits`) is paid for (:class:`CopyGuard`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gluonts_dualkl.laws.marginals import MarginalMap

__all__ = ["CopyGuard", "CopyLimits", "Neighbours", "ValueSpace"]

COPY_QUANTILE = 0.03
MIN_SERIES = 4
TINY = 1e-12
BLOCK_NUMBERS = 16_000_000


class ValueSpace:
    """Values standardised by the channels of the training series.

    A reader sees series so, and copies are measured there
    (:mod:`gluonts_dualkl.evaluation.metrics.privacy`). Normal scores stretch what is
    rare or small, and hide in it that the rest is nearly the same.

    Parameters
    ----------
    marginals
        The map that knows the values of normal scores.
    train
        Training series in normal scores, ``(N, T, C)``.
    """

    def __init__(self, marginals: MarginalMap, train: Tensor) -> None:
        self.marginals = marginals
        values = marginals.from_normal(train)
        self.location = values.mean((0, 1))
        self.scale = values.std((0, 1), correction=0).clamp(min=TINY)

    def __call__(self, z: Tensor) -> Tensor:
        """Standardised values of series ``z`` ``(n, T, C)``, of the same shape."""
        return (self.marginals.from_normal(z) - self.location) / self.scale


class Neighbours:
    r"""How far series are from the training series, at any of some shifts.

    The middle of a series, without the first and last ``m = max |s|`` steps, is
    compared with the parts of a training series that shifts put beside it:

        d(x, y) = min_s sqrt(sum_{m <= t < T - m} |x_t - y_{t + s}|^2),

    which is the Euclidean distance where the only shift is 0.

    Parameters
    ----------
    train
        Training series, ``(N, T, C)``.
    shifts
        Time steps ``s``, each less than half of ``T`` in size.
    """

    def __init__(self, train: Tensor, shifts: Sequence[int] = (0,)) -> None:
        self.train, self.shifts = train, tuple(shifts)
        self.margin = max(map(abs, shifts))

    def nearest(self, x: Tensor) -> Tensor:
        """Distance of series ``x`` ``(n, T, C)`` to the nearest, ``(n,)``."""
        return torch.cat([d.amin(1) for d in self._distances(x)])

    def nearest_rows(self, x: Tensor) -> Tensor:
        """Which training series is nearest, ``(n,)``."""
        return torch.cat([d.argmin(1) for d in self._distances(x)])

    def two_nearest(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Distances to the nearest training series and to the next, ``(n,)`` each."""
        return _two_smallest(self._distances(x))

    def two_nearest_others(self) -> tuple[Tensor, Tensor]:
        """The same of every training series to the others, ``(N,)`` each."""
        return _two_smallest(self._distances_to_others())

    def _distances_to_others(self) -> Iterator[Tensor]:
        """Distances among training series, infinite to themselves, by blocks."""
        start = 0
        for distance in self._distances(self.train):
            own = torch.arange(len(distance), device=distance.device)
            distance[own, start + own] = torch.inf
            yield distance
            start += len(distance)

    def _distances(self, x: Tensor) -> Iterator[Tensor]:
        """Distances from series ``x`` to the training series, by blocks of rows.

        A block and its distances have at most ``BLOCK_NUMBERS`` numbers.
        """
        rows = max(1, BLOCK_NUMBERS // max(1, len(self.train), self.train[0].numel()))
        for block in x.split(rows):
            middle = self._part(block, 0)
            apart = [
                torch.cdist(middle, self._part(self.train, s)) for s in self.shifts
            ]
            yield torch.stack(apart).amin(0)

    def _part(self, x: Tensor, shift: int) -> Tensor:
        """Steps of series beside the middle, as rows, ``(n, (T - 2 m) C)``."""
        last = x.shape[1] - self.margin
        return x[:, self.margin + shift : last + shift].flatten(1)


class CopyLimits(NamedTuple):
    """What series must keep from the training series.

    Attributes
    ----------
    distance
        Distance to the nearest one that 3 % of the training series have not among the
        others.
    ratio
        Distance to the nearest over that to the second nearest that a share of them
        have not, the nearest-neighbour distance ratio (Zhao et al. 2021, "CTAB-GAN"):
        what has one near relative and no others resembles that one, however far it is.
        0 is no limit.
    """

    distance: float
    ratio: float = 0.0

    @classmethod
    def of(cls, neighbours: Neighbours, share: float = 0.0) -> CopyLimits:
        """Limits from the training series, without a ratio if they are few."""
        first, second = neighbours.two_nearest_others()
        distance = float(first.quantile(COPY_QUANTILE))
        if not share or len(first) < MIN_SERIES:
            return cls(distance)
        return cls(distance, float((first / second.clamp(min=TINY)).quantile(share)))

    def shortfall(self, x: Tensor, neighbours: Neighbours) -> Tensor:
        """How much series ``x`` ``(n, T, C)`` fall short, as a share, ``(n,)``."""
        if not self.ratio or len(neighbours.train) < 2:
            return self._short_of_distance(neighbours.nearest(x))
        first, second = neighbours.two_nearest(x)
        short = (1 - first / second.clamp(min=TINY) / self.ratio).clamp(min=0)
        return torch.maximum(short, self._short_of_distance(first))

    def _short_of_distance(self, nearest: Tensor) -> Tensor:
        return (1 - nearest / max(self.distance, TINY)).clamp(min=0)


class CopyGuard:
    """A steep penalty on series that are too near to one training series.

    Parameters
    ----------
    train
        Training series in normal scores, ``(N, T, C)``.
    limits
        What series must keep at the same time and, where there are two, what they must
        keep from training series at any of the ``shifts``.
    space
        Where distances are measured, see :class:`ValueSpace`; by default normal scores.
    shifts
        Time steps that training series are shifted by, 0 among them.
    """

    def __init__(
        self,
        train: Tensor,
        limits: Sequence[CopyLimits],
        space: Callable[[Tensor], Tensor] | None = None,
        shifts: Sequence[int] = (0,),
    ) -> None:
        self.limits, self.space = tuple(limits), space
        seen = self._seen(train)
        self.neighbours = [Neighbours(seen), Neighbours(seen, shifts)][: len(limits)]

    @classmethod
    def fit(
        cls,
        train: Tensor,
        space: Callable[[Tensor], Tensor] | None = None,
        shifts: Sequence[int] = (0,),
        share: float = 0.0,
    ) -> CopyGuard:
        """With the limits that training series keep among themselves.

        See :meth:`CopyLimits.of` for ``share``; the second limits are left out where 0
        is the only shift.
        """
        seen = train if space is None else space(train)
        limits = [CopyLimits.of(Neighbours(seen), share)]
        if len(shifts) > 1:
            limits.append(CopyLimits.of(Neighbours(seen, shifts), share))
        return cls(train, limits, space, shifts)

    def near_copies(self, z: Tensor) -> Tensor:
        """Mask of series nearer than a limit of distance allows, ``(n,)``."""
        x = self._seen(z)
        rules = zip(self.limits, self.neighbours)
        near = [among.nearest(x) < rule.distance for rule, among in rules]
        return torch.stack(near).any(0)

    def nearest_rows(self, z: Tensor) -> Tensor:
        """Which training series is nearest at the same time, ``(n,)``."""
        return self.neighbours[0].nearest_rows(self._seen(z))

    def __call__(self, z: Tensor) -> Tensor:
        """Log-penalty of series ``z`` ``(n, T, C)``, ``(n,)``."""
        x = self._seen(z)
        rules = zip(self.limits, self.neighbours)
        worst = torch.stack([rule.shortfall(x, among) for rule, among in rules]).amax(0)
        return torch.where(worst > 0, -50 - 1e3 * worst, 0.0)

    def _seen(self, z: Tensor) -> Tensor:
        return z if self.space is None else self.space(z)


def _two_smallest(distances: Iterator[Tensor]) -> tuple[Tensor, Tensor]:
    """The two smallest of each row of blocks of distances, ``(n,)`` each."""
    pairs = [d.topk(2, 1, largest=False).values for d in distances]
    first, second = torch.cat(pairs).unbind(1)
    return first, second
