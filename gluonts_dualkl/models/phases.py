"""Where windows begin: the shift of chained windows and the phase of their season."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from gluonts.time_feature import get_seasonality
from torch import Tensor

from gluonts_dualkl.data.frequencies import step_number
from gluonts_dualkl.data.windows import item_of

__all__ = ["Phases", "default_overlap"]

logger = logging.getLogger(__name__)

MIN_LIKE = 30


@dataclass(frozen=True)
class Phases:
    """Phases of the season that training windows begin at.

    Attributes
    ----------
    starts
        Phase of each training window, ``(N,)``, in ``[0, season)``.
    season
        Steps of the season.
    """

    starts: Tensor
    season: int

    @classmethod
    def of(
        cls,
        starts: Sequence[pd.Period],
        season: int | None = None,
        device: torch.device | str = "cpu",
    ) -> Phases | None:
        """Phases of first periods, None without a season.

        ``season`` is by default what GluonTS gives the frequency: a day of hours, a
        week of business days, a year of months.
        """
        if not len(starts):
            raise ValueError("starts is empty; give the first period of each window.")
        if season is None:
            season = get_seasonality(starts[0].freqstr)
        if season < 2:
            return None
        steps = torch.tensor([step_number(p) for p in starts], device=device)
        return cls(steps % season, int(season))

    def like(self, phase: Tensor) -> Tensor:
        """Which windows begin at a phase like ``phase`` ``(n,)``; a mask ``(n, N)``.

        Those at that phase, or else the nearest up to the ``MIN_LIKE``-th.
        """
        apart = (self.starts - phase[:, None]) % self.season
        apart = torch.minimum(apart, self.season - apart)
        rank = min(MIN_LIKE, len(self.starts))
        return apart <= apart.topk(rank, 1, largest=False).values[:, -1:]


def default_overlap(
    starts: Sequence[pd.Period], item_ids: Sequence[str], length: int
) -> int:
    """Overlap that moves windows on by a shift between training windows.

    Let ``g`` be the greatest common divisor of the steps between starts of windows of
    one item. Windows that follow each other by multiples of ``g`` begin at phases that
    training has seen. The shift is the largest multiple of ``g`` up to half of a
    window, or ``g`` itself where that is longer. Where windows of an item do not
    overlap the shift is half a window, with a logged warning: the law is then taken
    not to depend on where a window begins.

    Parameters
    ----------
    starts
        First period of each window.
    item_ids
        ``"<item>"`` or ``"<item>#<k>"`` for each, as
        :class:`~gluonts_dualkl.data.windows.Windows` has them.
    length
        Time steps ``T`` of a window.

    Raises
    ------
    ValueError
        If starts and item_ids differ in number, there are none, or ``length < 2``.
    """
    if len(starts) != len(item_ids) or not len(starts):
        raise ValueError(
            f"starts has {len(starts)} periods and item_ids {len(item_ids)} names; "
            "give one of each per window, and at least one window."
        )
    if length < 2:
        raise ValueError(f"length is {length}; windows to chain have 2 steps or more.")
    origin: dict[str, int] = {}
    stride = 0
    for start, name in zip(starts, item_ids, strict=True):
        step, item = step_number(start), item_of(name)
        stride = math.gcd(stride, step - origin.setdefault(item, step))
    if 0 < stride < length:
        return length - max(stride, length // 2 // stride * stride)
    logger.warning(
        "training windows do not overlap, so chained windows of %d steps begin where "
        "none in training did: the law is assumed not to depend on where a window "
        "starts; train with a stride below length",
        length,
    )
    return length // 2
