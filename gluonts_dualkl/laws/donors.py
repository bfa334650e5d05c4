"""Donors of a recombination: training series, shifted in time where the law allows it.

Where a law repeats itself every ``season`` steps, a series shifted by a multiple of it
is as good a donor as the series itself, so that few series offer many pieces.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Donors", "donor_shifts"]

MAX_DONORS = 800
MAX_NUMBERS = 20_000_000


@dataclass(frozen=True)
class Donors:
    """Series to recombine, those that reach the first step in front.

    Attributes
    ----------
    z
        Their normal scores, zero where a shifted series has none, ``(M, T, C)``.
    series
        The training series that each is, ``(M,)``.
    shifts
        Donor ``m`` at step ``t`` is its series at step ``t + shifts_m``, ``(M,)``.
    valid
        Whether donor ``m`` has step ``t`` and all its lags, ``(T, M)``.
    starters
        How many, from the first on, are valid at the first step.
    """

    z: Tensor
    series: Tensor
    shifts: Tensor
    valid: Tensor
    starters: int

    def __len__(self) -> int:
        return len(self.z)

    @classmethod
    def of(cls, train: Tensor, season: int, order: int) -> Donors:
        """Donors from series ``train`` ``(N, T, C)`` for a law with ``order`` lags.

        One for every shift of :func:`donor_shifts`.
        """
        number, length, _ = train.shape
        device = train.device
        taken = donor_shifts(train, season)
        shifts = torch.tensor(taken, device=device).repeat_interleave(number)
        series = torch.arange(number, device=device).repeat(len(taken))
        step = torch.arange(length, device=device)[:, None]
        source = step + shifts
        present = (source >= 0) & (source < length)
        source_of = source.T.clamp(0, length - 1)
        z = train[series[:, None], source_of] * present.T[:, :, None]
        valid = present & (source >= torch.minimum(step, step.new_tensor(order)))
        starters = number * sum(shift >= 0 for shift in taken)
        return cls(z, series, shifts, valid, starters)


def donor_shifts(train: Tensor, season: int) -> list[int]:
    """Shifts of the donors from series ``train`` ``(N, T, C)``: 0, those ahead, back.

    Multiples of ``season`` up to half of a series, evenly thinned to at most
    ``MAX_DONORS`` donors and ``MAX_NUMBERS`` numbers; only 0 where ``season`` is more
    than half of it.
    """
    number, length, _ = train.shape
    room = min(MAX_DONORS, MAX_NUMBERS // train[0].numel())
    most = max(0, room // number - 1) // 2
    multiples = range(season, length // 2 + 1, season)
    taken = min(most, len(multiples))
    ahead = [multiples[i * len(multiples) // taken] for i in range(taken)]
    return [0, *ahead, *(-s for s in ahead)]
