"""Which training series are recombined with which: all, or those of one neighbourhood.

Series of several kinds (working days and others, wet and dry basins) that look alike
for a few steps are not to be mixed within one series. So a recombined series may be
kept to the training series nearest to that of its first donor. Where kinds blend into
one another, neighbourhoods overlap; no number of clusters has to be known. After the
localised estimation of arXiv 2404.07377, which looks at nearest neighbours; the
neighbourhood of a sampler is our construction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Profile", "distinct_shares"]

SHARES = (1.0, 0.5, 0.25)
MIN_SERIES = 20
COMPONENTS = 5
LIMIT = 8.0
TINY = 1e-9


def distinct_shares(number: int) -> list[float]:
    """Shares to choose from whose neighbourhoods of ``number`` series differ."""
    return list({_size(number, s): s for s in reversed(SHARES)}.values())[::-1]


@dataclass(frozen=True)
class Profile:
    """What a series looks like as a whole: its first five principal components.

    Attributes
    ----------
    mean
        Mean of the training series, flat, ``(T C,)``.
    axes
        Principal axes, ``(T C, K)``.
    scale
        Standard deviations of the components, ``(K,)``.
    """

    mean: Tensor
    axes: Tensor
    scale: Tensor

    @classmethod
    def fit(cls, train: Tensor) -> Profile:
        """Those of training series ``(N, T, C)``, by the Gram matrix of the series."""
        rows = train.flatten(1).double()
        mean = rows.mean(0)
        rows = rows - mean
        values, vectors = torch.linalg.eigh(rows @ rows.T)
        norms = values[-COMPONENTS:].clamp(min=TINY).sqrt()
        axes = rows.T @ (vectors[:, -COMPONENTS:] / norms)
        return cls(mean, axes, norms / math.sqrt(len(rows)))

    def scores(self, z: Tensor) -> Tensor:
        """Components of series ``z`` ``(n, T, C)``, ``(n, K)``, float64."""
        return (z.flatten(1).double() - self.mean) @ self.axes

    def table(self, z: Tensor) -> Tensor:
        """Standardised components and their squares, ``(n, 2 K)``: for a critic.

        Squares show whether the kinds that a component divides are mixed.
        """
        unit = (self.scores(z) / self.scale).float().clamp(-LIMIT, LIMIT)
        return torch.cat([unit, unit.square()], 1)

    def strangers(self, train: Tensor, share: float) -> Tensor | None:
        """Which series lie outside the neighbourhood of which, ``(N, N)``, boolean.

        A neighbourhood holds the ``share`` of the series ``train`` ``(N, T, C)``, at
        least 20, that are nearest in their components, the series itself among them.
        None where it holds all.
        """
        number = len(train)
        size = _size(number, share)
        if size == number:
            return None
        scores = self.scores(train)
        near = torch.cdist(scores, scores).topk(size, largest=False).indices
        apart = torch.ones(number, number, dtype=torch.bool, device=train.device)
        return apart.scatter_(1, near, False)


def _size(number: int, share: float) -> int:
    return min(number, max(MIN_SERIES, math.ceil(share * number)))
