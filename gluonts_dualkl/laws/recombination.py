"""Series recombined step by step from real innovations: the default reference.

A reference in the sense of :mod:`gluonts_dualkl.laws.references`, whose state knows the
donor of every step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gluonts_dualkl.laws.donors import Donors
from gluonts_dualkl.laws.gaussian import CausalGaussian
from gluonts_dualkl.laws.localities import Profile
from gluonts_dualkl.laws.references import BLOCK_NUMBERS, State, draw_in_blocks
from gluonts_dualkl.laws.stillness import StillSteps

__all__ = ["DonorPaths", "Recombination"]


@dataclass(frozen=True)
class DonorPaths(State):
    """Recombined series with the donor each step came from.

    Attributes
    ----------
    donors
        Index of the donor of every step among :class:`Donors`, ``(n, T)``.
    log_moves
        Log-probability of every donor given the one before and the series so far,
        ``(n, T)``.
    starts
        Shift of the first step from its donor's towards a neighbour's, ``(n, C)``.
    """

    donors: Tensor
    log_moves: Tensor
    starts: Tensor


class Recombination:
    """Series recombined step by step from real innovations.

    With the causal Gaussian's ``A_t``, a donor series ``j`` supplies its innovation:

        z_t = A_t ctx_t + (z^j_t - A_t ctx^j_t).

    At each step the donor changes with probability ``1 / mean_block``; the next one is
    drawn with a Gaussian kernel weight on the squared Mahalanobis distance, under the
    innovation covariance, between the predicted steps plus half that between the last
    values, with the ``neighbours``-th smallest distance as squared bandwidth. So a
    series follows one real series for a while and passes on to another that was about
    to do something similar. The first step lies between the donor's and that of one of
    its ``neighbours`` nearest, uniformly, so that new levels arise; of a stationary
    record, whose windows keep their levels, it is spread to all sides of the donor's.
    Given any prefix, the law of the rest is drawn exactly.

    Parameters
    ----------
    train
        Training series in normal scores, ``(N, T, C)``, float32.
    law
        The causal Gaussian of the same scores.
    mean_block
        Mean number of steps that a donor stays.
    neighbours
        Rank of the distance that sets the bandwidth of the kernel.
    still
        Where donors stand still and a recombined series does so with them; by default
        it follows their innovations there as well.
    season
        Steps after which the law repeats itself, see
        :func:`~gluonts_dualkl.laws.seasonality.season_of`: series shifted by multiples
        of it are donors as well, and one that comes to its end is left. By default no
        series is shifted.
    locality
        Share of the training series, nearest to that of its first donor, that a series
        may follow, see :class:`~gluonts_dualkl.laws.localities.Profile`; all by
        default.
    """

    def __init__(
        self,
        train: Tensor,
        law: CausalGaussian,
        mean_block: float,
        neighbours: int = 5,
        still: StillSteps | None = None,
        season: int | None = None,
        locality: float = 1.0,
    ) -> None:
        length, channels = train.shape[1:]
        self.train, self.law = train, law
        self.locality, self._strangers = locality, None
        if locality < 1:
            self._strangers = Profile.fit(train).strangers(train, locality)
        self.donors = Donors.of(train, season or length, law.order)
        self.stationary = season == 1
        self.still = None if still is None else still.of(self.donors)
        self.mean_block, self.neighbours = float(mean_block), neighbours
        self._coefficients = law.coefficients.float()
        covariance = law.factors @ law.factors.transpose(1, 2)
        floor = 0.1 * torch.eye(channels, dtype=covariance.dtype, device=train.device)
        precision = torch.linalg.inv(covariance + floor)
        self._metric = torch.linalg.cholesky(precision).float()
        self._rank = min(neighbours, len(train) - 1)
        z, starters = self.donors.z, self.donors.starters
        firsts, series = z[:starters, 0], self.donors.series[:starters]
        reach = self._rank * starters // len(train)  # as far with shifted donors
        self._near = _neighbours(firsts, series, reach)
        self._innovations = torch.stack(
            [z[:, t] - self._predict(z, t) for t in range(length)]
        )
        self._keys = torch.stack([self._key(z, t) for t in range(1, length)])

    def start(self, num_samples: int, generator: torch.Generator) -> DonorPaths:
        """Independent draws of the law, ``num_samples`` rows."""
        pixels = self.train[0].numel()
        return draw_in_blocks(self._start, num_samples, pixels, generator)

    def _start(self, num_samples: int, generator: torch.Generator) -> DonorPaths:
        _, length, channels = self.train.shape
        device = self.train.device
        empty = DonorPaths(
            torch.zeros(num_samples, length, channels, device=device),
            torch.zeros(num_samples, length, dtype=torch.long, device=device),
            torch.zeros(num_samples, length, device=device),
            torch.zeros(num_samples, channels, device=device),
        )
        first = torch.zeros(num_samples, dtype=torch.long, device=device)
        return self._regrow(empty, first, first + length, generator)[0]

    def propose(
        self, state: DonorPaths, generator: torch.Generator
    ) -> tuple[DonorPaths, Tensor]:
        """Redraw the donors of a random stretch and let the rest follow.

        Half of the rows redraw everything after a random step, exactly from the law;
        the others redraw a stretch of up to three blocks and keep the later donors,
        whose probabilities under the new past give the factor. Stretches begin more
        often early, where a move changes most.
        """
        n, length = state.donors.shape
        start, share, local = torch.rand(
            3, n, generator=generator, device=state.z.device
        )
        first = self._first(start, length)
        stretch = 2 + (share * (1 + int(3 * self.mean_block))).long()
        last = torch.where(local < 0.5, first + stretch, length)
        return self._regrow(state, first, last, generator)

    def _first(self, uniform: Tensor, length: int) -> Tensor:
        """Where stretches to redraw begin, from uniform numbers, ``(n,)``."""
        return (uniform**1.5 * (length - 1)).long()

    def _shifts(self, donors: Tensor, generator: torch.Generator) -> Tensor:
        """Shifts of first steps towards those of random neighbours, ``(n, C)``."""
        if self.stationary:
            return self._spread(donors, generator)
        pick, share = torch.rand(
            2, len(donors), generator=generator, device=donors.device
        )
        place = (pick * self._near.shape[1]).long()
        firsts = self.donors.z[:, 0]
        return share[:, None] * (firsts[self._near[donors, place]] - firsts[donors])

    def _spread(self, donors: Tensor, generator: torch.Generator) -> Tensor:
        """Normal shifts along the ways to ``neighbours`` random neighbours, ``(n, C)``.

        Half as much of each way, squared, as the way itself, shared between them.
        """
        near = self._near[donors]
        count = min(self.neighbours, near.shape[1])
        order = torch.rand(near.shape, generator=generator, device=near.device)
        near = near.gather(1, order.topk(count, 1).indices)
        shape = (len(donors), count)
        share = torch.randn(shape, generator=generator, device=near.device)
        firsts = self.donors.z[:, 0]
        ways = firsts[near] - firsts[donors][:, None]
        return torch.einsum("nk,nkc->nc", share * math.sqrt(0.5 / count), ways)

    def _predict(self, z: Tensor, t: int) -> Tensor:
        return self.law.context(z, t) @ self._coefficients[t]

    def _key(self, z: Tensor, t: int) -> Tensor:
        """What series and donors are compared by before step ``t``, ``(n, 2 C)``.

        The prediction of the step and the last value, whitened.
        """
        last = math.sqrt(0.5) * z[:, t - 1]
        metric = self._metric[t]
        return torch.cat([self._predict(z, t) @ metric, last @ metric], 1)

    def _log_weights(
        self, z: Tensor, current: Tensor, t: int, home: Tensor | None = None
    ) -> Tensor:
        """Log-probabilities of the next donor on a change, ``(m, M)``.

        Never the present donor's series at any shift, nor one that has no step ``t``,
        nor a stranger to the first donor, ``home`` ``(m,)``, if there are others.
        """
        series = self.donors.series
        distance = torch.cdist(self._key(z, t), self._keys[t - 1])
        barred = (series == series[current, None]) | ~self.donors.valid[t]
        if self._strangers is not None and home is not None:
            strange = self._strangers[series[home]][:, series]
            barred |= strange & ~(barred | strange).all(1, keepdim=True)
        distance = distance.square().masked_fill(barred, torch.inf)
        nearest = distance.topk(self._rank, 1, largest=False, sorted=True).values
        bandwidth = nearest[:, -1:]
        return torch.log_softmax(-0.5 * distance / (bandwidth + 1e-12), 1)

    def _regrow(
        self,
        state: DonorPaths,
        first: Tensor,
        last: Tensor,
        generator: torch.Generator,
    ) -> tuple[DonorPaths, Tensor]:
        """Redraw donors in ``[first, last)``, keep the later ones, follow both.

        Returns the new state and the log-probability of the kept donors under the new
        past minus that under the old.
        """
        n, length = state.donors.shape
        num_donors, starters = len(self.donors), self.donors.starters
        z, donors = state.z.clone(), state.donors.clone()
        log_moves = state.log_moves.clone()
        starts = state.starts
        factor = torch.zeros_like(log_moves[:, 0])
        stay, change = math.log1p(-1 / self.mean_block), -math.log(self.mean_block)
        for t in range(int(first.min()), length):
            drawn, moving = (first <= t) & (t < last), first <= t
            change_here, uniform = torch.rand(
                2, n, generator=generator, device=z.device
            )
            if t == 0:
                even = (uniform * starters).long().clamp(max=starters - 1)
                new = torch.where(drawn, even, donors[:, 0])
                log_move = torch.zeros_like(factor)
                shift = self._shifts(new, generator)
                starts = torch.where(drawn[:, None], shift, starts)
            else:
                before = donors[:, t - 1]
                new = torch.where(drawn, before, donors[:, t])
                ended = ~self.donors.valid[t, before]
                log_move = torch.full_like(factor, stay)
                switching = drawn & (ended | (change_here < 1 / self.mean_block))
                rows = torch.nonzero(switching | (moving & (new != before))).ravel()
                for part in rows.split(max(1, BLOCK_NUMBERS // num_donors)):
                    if not len(part):
                        continue
                    home = donors[part, 0]
                    weights = self._log_weights(z[part], before[part], t, home)
                    own = drawn[part]
                    picked = new[part]
                    picked[own] = _inverse_transform(weights[own], uniform[part[own]])
                    new[part] = picked
                    here = torch.where(ended[part], 0.0, change)
                    log_move[part] = here + weights.gather(1, picked[:, None])[:, 0]
            kept = moving & ~drawn
            factor += torch.where(kept, log_move - log_moves[:, t], 0.0)
            followed = self._predict(z, t) + self._innovations[t, new]
            if t == 0:
                followed += starts
            elif self.still is not None:
                followed = self.still.held(followed, z[:, t - 1], new, t)
            z[:, t] = torch.where(moving[:, None], followed, z[:, t])
            donors[:, t] = torch.where(moving, new, donors[:, t])
            log_moves[:, t] = torch.where(moving, log_move, log_moves[:, t])
        return DonorPaths(z, donors, log_moves, starts), factor


def _neighbours(x: Tensor, series: Tensor, rank: int) -> Tensor:
    """Nearest rows of ``x`` ``(M, C)`` that are of other ``series``, ``(M, rank)``."""
    near = []
    rows = max(1, BLOCK_NUMBERS // len(x))
    for block, own in zip(x.split(rows), series.split(rows)):
        apart = torch.cdist(block, x).masked_fill(own[:, None] == series, torch.inf)
        near.append(apart.topk(rank, largest=False).indices)
    return torch.cat(near)


def _inverse_transform(log_weights: Tensor, uniform: Tensor) -> Tensor:
    """One index a row of ``log_weights`` ``(m, K)`` by inverse transform, ``(m,)``."""
    cumulated = log_weights.exp().cumsum(1)
    at = (uniform * cumulated[:, -1])[:, None]
    index = torch.searchsorted(cumulated, at, right=True)[:, 0]
    return index.clamp(max=log_weights.shape[1] - 1)
