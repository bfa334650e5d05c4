"""Steps at which a channel stands still: rain that stays away, a reading carried on.

A recombined series takes its donors' innovations, so where the donor stood still, it
drifts on from its own value towards the donor's level, by less and less, and a texture
of equal values becomes one of small steps. With :class:`StillSteps` it stands still
where its donor does. Our construction.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gluonts_dualkl.laws.donors import Donors
from gluonts_dualkl.laws.marginals import MarginalMap

__all__ = ["StillSteps"]

TOLERANCE = 1e-5


@dataclass(frozen=True)
class StillSteps:
    """Where training series stand still, and what normal score that means.

    Attributes
    ----------
    mask
        Whether series ``j`` has the value of the step before, ``(T, N, C)``.
    ratio, offset
        The score ``ratio_t z_{t-1} + offset_t`` at step ``t`` is the value that
        ``z_{t-1}`` is one step before, ``(T, C)``; location and scale change with time.
    """

    mask: Tensor
    ratio: Tensor
    offset: Tensor

    @classmethod
    def fit(cls, maps: MarginalMap, z: Tensor) -> StillSteps | None:
        """Those of training series ``z`` ``(N, T, C)``; None where all keep moving."""
        steps = (z * maps.scale + maps.location).diff(dim=1).abs()
        mask = torch.zeros_like(z, dtype=torch.bool)
        mask[:, 1:] = steps < TOLERANCE
        if not mask.any():
            return None
        ratio, offset = torch.ones_like(maps.scale), torch.zeros_like(maps.scale)
        ratio[1:] = maps.scale[:-1] / maps.scale[1:]
        offset[1:] = -maps.location.diff(dim=0) / maps.scale[1:]
        return cls(mask.transpose(0, 1).contiguous(), ratio, offset)

    def of(self, donors: Donors) -> StillSteps:
        """The same of donors, which are shifted series."""
        length = len(self.mask)
        source = torch.arange(length, device=self.mask.device)[:, None] + donors.shifts
        return replace(self, mask=self.mask[source.clamp(0, length - 1), donors.series])

    def held(self, followed: Tensor, before: Tensor, donors: Tensor, t: int) -> Tensor:
        """``followed`` ``(n, C)`` at step ``t``, or the value ``before`` it carried on.

        The latter where the donor, ``(n,)``, stands still.
        """
        carried = before * self.ratio[t] + self.offset[t]
        return torch.where(self.mask[t, donors], carried, followed)
