"""Guards: which candidate series may be kept, and why the others are refused.

A guard looks at series in normal scores and at their levels and says, by reason, by how
much each series breaks its rule: zero where it does not, else a number measured on the
guard's own scale. Refusals are counted, and drawing again always ends. A level band
alone is no guard, since a walk reaches any level off the support of the data as well.
The choice of guards is our construction; that a level is in distribution where its bin
holds data is after Garg et al. (arXiv 2404.07377).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from gluonts_dualkl.types import DualSpace

__all__ = [
    "Guard",
    "GuardReport",
    "Guards",
    "LevelGuard",
    "NeighbourGuard",
    "SpreadGuard",
    "SupportGuard",
]

logger = logging.getLogger(__name__)

NOT_FINITE = "not finite"
COPY_SHARE, ESCAPE_SHARE, SPREAD_SHARE = 0.025, 0.975, 0.975
TINY = 1e-12


class Guard(Protocol):
    """One rule, or several, that a series must keep."""

    needs_level: bool

    def excess(self, z: Tensor, level: Tensor) -> dict[str, Tensor]:
        """By reason, how far each series ``(n, T, C)`` breaks a rule, ``(n,)``."""


@dataclass(frozen=True)
class LevelGuard:
    """Levels within the band, in bins that hold data.

    Reasons ``"level band"`` and ``"empty bin"``; the excess is a share of the band.

    Parameters
    ----------
    band
        Lowest and highest level, nats.
    bin_edges, occupied
        Edges of the bins, rising, ``(B + 1,)``, and whether each holds data, ``(B,)``.
        Levels beyond the outer edges are in no bin. Any bin will do without them.
    """

    band: tuple[float, float]
    bin_edges: np.ndarray | None = None
    occupied: np.ndarray | None = None
    needs_level = True

    def __post_init__(self) -> None:
        low, high = self.band
        if not low < high:
            raise ValueError(f"band is {self.band}; give a lower and a higher level.")
        if (self.bin_edges is None) != (self.occupied is None):
            raise ValueError("give both bin_edges and occupied, or neither.")
        if self.bin_edges is None or self.occupied is None:
            return
        if len(self.bin_edges) != len(self.occupied) + 1 or not self.occupied.any():
            raise ValueError(
                f"{len(self.bin_edges)} bin_edges for {len(self.occupied)} bins, of "
                f"which {int(self.occupied.sum())} are occupied; give one edge more "
                "than bins and at least one bin with data."
            )

    @classmethod
    def of(cls, space: DualSpace) -> LevelGuard:
        """Band and bins of a dual space."""
        return cls(space.band, space.bin_edges, space.occupied)

    def excess(self, z: Tensor, level: Tensor) -> dict[str, Tensor]:
        """Distance to the band, and to the nearest bin with data, over the band."""
        low, high = self.band
        beyond = torch.maximum(low - level, level - high).clamp(min=0) / (high - low)
        found = {"level band": beyond}
        if self.bin_edges is not None and self.occupied is not None:
            edges = torch.as_tensor(self.bin_edges, dtype=level.dtype).to(level.device)
            held = torch.as_tensor(self.occupied, device=level.device)
            below, above = edges[:-1][held], edges[1:][held]
            away = torch.maximum(below - level[:, None], level[:, None] - above)
            found["empty bin"] = away.amin(1).clamp(min=0) / (high - low)
        return found


@dataclass(frozen=True)
class SpreadGuard:
    """Members of an ensemble agree about a series. Reason ``"spread"``.

    Parameters
    ----------
    scores
        Scores of the ``E`` members, ``(n, T, C) -> (n, E)``.
    limit
        Largest standard deviation over the members; the excess is a share of it.
    """

    scores: Callable[[Tensor], Tensor]
    limit: float
    needs_level = False

    def __post_init__(self) -> None:
        if not self.limit > 0:
            raise ValueError(f"limit is {self.limit}; give a spread above 0.")

    @classmethod
    def fit(
        cls,
        scores: Callable[[Tensor], Tensor],
        held_out: Tensor,
        quantile: float = SPREAD_SHARE,
    ) -> SpreadGuard:
        """The limit is a quantile of the spread over held-out series ``(M, T, C)``."""
        _check_share("quantile", quantile)
        spread = _spread(scores, held_out)
        return cls(scores, float(spread.double().quantile(quantile)))

    def excess(self, z: Tensor, level: Tensor) -> dict[str, Tensor]:
        """Spread above the limit."""
        return {"spread": (_spread(self.scores, z) / self.limit - 1).clamp(min=0)}


@dataclass(frozen=True)
class SupportGuard:
    """Every channel stays within its range. Reason ``"support"``.

    Parameters
    ----------
    low, high
        Ends of the range of each channel, normal scores, ``(C,)``. The excess is the
        farthest that any step goes beyond them, as a share of the range.
    """

    low: Tensor
    high: Tensor
    needs_level = False

    @classmethod
    def fit(cls, train: Tensor, margin: float = 0.1) -> SupportGuard:
        """The range over training series ``(N, T, C)`` and a margin, a share of it."""
        if margin < 0:
            raise ValueError(f"margin is {margin}; give a share of at least 0.")
        low, high = train.amin((0, 1)), train.amax((0, 1))
        room = margin * (high - low)
        return cls(low - room, high + room)

    def excess(self, z: Tensor, level: Tensor) -> dict[str, Tensor]:
        """How far the farthest step is out of range."""
        beyond = torch.maximum(self.low - z, z - self.high).clamp(min=0)
        width = (self.high - self.low).clamp(min=TINY)
        return {"support": (beyond / width).amax((1, 2))}


@dataclass(frozen=True)
class NeighbourGuard:
    """Neither too near the training series nor too far from all of them.

    Reasons ``"copy"`` and ``"escape"``. Distances are Euclidean in normal scores.

    Parameters
    ----------
    train
        Training series in normal scores, ``(N, T, C)``.
    nearest, farthest
        Smallest and largest distance to the nearest training series. The excess is the
        distance beyond them, as a share of them.
    """

    train: Tensor
    nearest: float
    farthest: float
    needs_level = False

    def __post_init__(self) -> None:
        if not 0 <= self.nearest < self.farthest:
            raise ValueError(
                f"nearest is {self.nearest} and farthest {self.farthest}; give rising "
                "distances of at least 0."
            )

    @classmethod
    def fit(
        cls,
        train: Tensor,
        held_out: Tensor | None = None,
        shares: tuple[float, float] = (COPY_SHARE, ESCAPE_SHARE),
    ) -> NeighbourGuard:
        """The limits are quantiles of the distances of held-out to training series.

        Without ``held_out`` ``(M, T, C)`` those of the training series to each other,
        which are a little larger, with one neighbour less.
        """
        for share in shares:
            _check_share("shares", share)
        own = train if held_out is None else held_out
        apart = torch.cdist(own.flatten(1), train.flatten(1))
        if held_out is None:
            apart.fill_diagonal_(torch.inf)
        at = torch.tensor(shares, dtype=torch.float64, device=train.device)
        near, far = apart.amin(1).double().quantile(at).tolist()
        return cls(train, near, far)

    def excess(self, z: Tensor, level: Tensor) -> dict[str, Tensor]:
        """How much nearer, and how much farther, than allowed."""
        distance = torch.cdist(z.flatten(1), self.train.flatten(1)).amin(1)
        return {
            "copy": (1 - distance / max(self.nearest, TINY)).clamp(min=0),
            "escape": (distance / self.farthest - 1).clamp(min=0),
        }


@dataclass(frozen=True)
class GuardReport:
    """What the guards did to a draw.

    Attributes
    ----------
    drawn
        Candidates drawn.
    passed
        Series returned that passed every guard.
    filled
        Series of least excess, returned although a guard refused them.
    rounds
        Rounds of drawing.
    refused
        Candidates refused by reason, each counted once, under the first reason. Those
        that were filled in are among them.
    """

    drawn: int
    passed: int
    filled: int
    rounds: int
    refused: dict[str, int]


class Guards:
    """Several guards in a row.

    Parameters
    ----------
    *guards
        The guards, in the order in which a refusal is attributed.
    level
        Levels of series, ``(n, T, C) -> (n,)``, nats, for calls that give none.
    """

    def __init__(
        self, *guards: Guard, level: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        if not guards:
            raise ValueError("guards is empty; give at least one guard.")
        self.guards: Sequence[Guard] = guards
        self.level = level

    def check(
        self, z: Tensor, level: Tensor | None = None
    ) -> tuple[Tensor, dict[str, int]]:
        """Which series ``(n, T, C)`` pass, and how many each reason refuses.

        ``level`` holds their levels, ``(n,)``, nats. Returns the mask ``(n,)`` of those
        that pass and the number refused by reason. A series is counted once, under the
        first reason that refuses it, so that the counts sum to the number refused.
        """
        excess = self._excess(z, level)
        return _total(excess) == 0, _count(excess)

    def __call__(self, z: Tensor) -> Tensor:
        """Mask of the series that pass, for a sampler."""
        return self.check(z)[0]

    def keep(
        self, draw: Callable[[int], Tensor], num_samples: int, max_rounds: int = 10
    ) -> tuple[Tensor, GuardReport]:
        """Draw, refuse and draw again, at most ``max_rounds`` times.

        If too few pass, the rest is filled with the refused candidates of least total
        excess; the report and a warning say how many. Candidates that are not finite
        are never returned.

        Parameters
        ----------
        draw
            Returns as many candidates as asked for, ``(m, T, C)``.
        num_samples
            Number of series to return.

        Raises
        ------
        ValueError
            If there are fewer finite candidates than series asked for.
        """
        if min(num_samples, max_rounds) < 1:
            raise ValueError(
                f"num_samples is {num_samples} and max_rounds {max_rounds}; give 1 or "
                "more."
            )
        drawn: list[Tensor] = []
        totals: list[Tensor] = []
        refused: Counter[str] = Counter()
        passed = 0
        while passed < num_samples and len(drawn) < max_rounds:
            z = draw(num_samples - passed)[: num_samples - passed]
            excess = self._excess(z, None)
            refused.update(_count(excess))
            drawn.append(z)
            totals.append(_total(excess))
            passed += int((totals[-1] == 0).sum())
        z, total = torch.cat(drawn), torch.cat(totals)
        best = torch.argsort(total, stable=True)[:num_samples]
        finite = int(total.isfinite().sum())
        if finite < num_samples:
            raise ValueError(
                f"draw gave {finite} finite series and {num_samples} were asked for; "
                "look at the sampler or allow more max_rounds."
            )
        filled = num_samples - passed
        if filled:
            words = "%d of %d series are kept although a guard refuses them: %s"
            logger.warning(words, filled, num_samples, dict(refused))
        report = GuardReport(len(z), passed, filled, len(drawn), dict(refused))
        return z[best], report

    def _excess(self, z: Tensor, level: Tensor | None) -> dict[str, Tensor]:
        """Excess of every series by reason; infinite where a series is not finite."""
        if z.ndim != 3:
            raise ValueError(f"z has shape {tuple(z.shape)}; expected (n, T, C).")
        with torch.no_grad():
            level = self._levels(z, level)
            bad = ~(z.flatten(1).isfinite().all(1) & level.isfinite())
            found = {NOT_FINITE: torch.where(bad, torch.inf, 0.0)}
            for guard in self.guards:
                for reason, value in guard.excess(z, level).items():
                    value = torch.where(bad, 0.0, value.to(torch.float32))
                    found[reason] = value.nan_to_num(nan=torch.inf, posinf=torch.inf)
        return found

    def _levels(self, z: Tensor, level: Tensor | None) -> Tensor:
        if level is None and any(guard.needs_level for guard in self.guards):
            if self.level is None:
                raise ValueError(
                    "a guard looks at levels; give level to check or to Guards."
                )
            level = self.level(z)
        if level is None:
            return torch.zeros_like(z[:, 0, 0])
        if level.shape != z.shape[:1]:
            raise ValueError(
                f"level has shape {tuple(level.shape)} for {len(z)} series; give one "
                "level a series, (n,)."
            )
        return level


def _total(excess: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(excess.values())).sum(0)


def _count(excess: dict[str, Tensor]) -> dict[str, int]:
    """Series by the first reason that refuses them."""
    broken = torch.stack(list(excess.values())) > 0
    first = broken & (broken.cumsum(0) == 1)
    return dict(zip(excess, first.sum(1).tolist()))


def _spread(scores: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """Standard deviation of the members' scores, ``(n,)``."""
    with torch.no_grad():
        values = scores(z)
    if values.ndim != 2 or len(values) != len(z) or values.shape[1] < 2:
        raise ValueError(
            f"scores returned shape {tuple(values.shape)} for {len(z)} series; it must "
            "return those of at least two members, (n, E)."
        )
    return values.std(1)


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value}; give shares between 0 and 1.")
