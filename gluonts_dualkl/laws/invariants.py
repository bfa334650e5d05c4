"""What every series of a set has in common: its mean, or mean and deviation.

Series that were centred or standardised one by one (a signal change in per cent of the
mean of its scan) all have the same mean. No law of steps keeps to that by itself, and a
critic that sees the means tells every other series at a glance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = ["SeriesInvariants"]

TOLERANCE = 0.01
MIN_SERIES = 3


@dataclass(frozen=True)
class SeriesInvariants:
    """Channels whose mean over a series, and perhaps its deviation, never changes.

    Attributes
    ----------
    means
        The mean in original units, ``(C,)``; NaN for channels where series differ.
    deviations
        The deviation, likewise; known only where the mean is.
    """

    means: Tensor
    deviations: Tensor

    @classmethod
    def fit(cls, values: np.ndarray) -> SeriesInvariants:
        """Those of ``values`` ``(N, T, C)``; series with missing values are left out.

        A mean is common where its deviation over series is under 1 % of the mean
        deviation inside series; a deviation where its own is under 1 % of its mean.
        """
        means, deviations = np.full((2, values.shape[2]), np.nan)
        for c, channel in enumerate(np.moveaxis(np.asarray(values, np.float64), 2, 0)):
            rows = channel[np.isfinite(channel).all(1)]
            if len(rows) < MIN_SERIES:
                continue
            inside = rows.std(1)
            near = TOLERANCE * inside.mean()
            if not near or rows.mean(1).std() > near:
                continue
            means[c] = rows.mean()
            if inside.std() <= near:
                deviations[c] = inside.mean()
        return cls(torch.tensor(means), torch.tensor(deviations))

    @property
    def channels(self) -> Tensor:
        """Channels with a common mean, ``(K,)``."""
        return torch.nonzero(~self.means.isnan()).ravel()

    def imposed(self, x: Tensor) -> Tensor:
        """Series ``x`` of those channels, ``(n, T, K)``, moved to what is common."""
        mean = self.means[self.channels]
        deviation = self.deviations[self.channels]
        centred = x - x.mean(1, keepdim=True)
        spread = centred.square().mean(1, keepdim=True).sqrt()
        stretch = torch.where(deviation.isnan(), 1.0, deviation / (spread + 1e-12))
        return mean + stretch * centred
