"""The fitted model: marginal map, path, and the sampler that walks along it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from gluonts_dualkl.critics.linear import StatisticsFeatures, fit_leg
from gluonts_dualkl.laws.donors import donor_shifts
from gluonts_dualkl.laws.elliptical import RadialLaw
from gluonts_dualkl.laws.gaussian import CausalGaussian
from gluonts_dualkl.laws.localities import Profile, distinct_shares
from gluonts_dualkl.laws.marginals import MarginalMap
from gluonts_dualkl.laws.recombination import DonorPaths, Recombination
from gluonts_dualkl.laws.references import GaussianReference, Reference
from gluonts_dualkl.laws.seasonality import season_of
from gluonts_dualkl.laws.stillness import StillSteps
from gluonts_dualkl.models.base import Draws, PathModel
from gluonts_dualkl.models.boosting import PathLeg, boost, follow, unnormalised
from gluonts_dualkl.walks.balance import balanced_walk
from gluonts_dualkl.walks.copies import CopyGuard, ValueSpace
from gluonts_dualkl.walks.samplers import TiltedWalkers, draw_candidates, metropolis

__all__ = ["DualModel", "default_guard_share", "default_mean_block"]

NUM_REFERENCE_DRAWS = 1000
MOST_PIXELS = 6_000_000
CANDIDATES = 8
LOCAL_GAIN = 0.02


def default_mean_block(length: int) -> float:
    """Mean stay with a donor: an eighth of the window, at least 6 steps."""
    return max(6.0, length / 8)


def default_guard_share(locality: float) -> float:
    """Share of the copy guard's ratio: 0.3, and 0.45 where series keep to a locality.

    What is made of the series of one neighbourhood comes nearer to each of them.
    """
    return 0.3 if locality == 1 else 0.45


@dataclass(frozen=True)
class DualModel(PathModel):
    """The default path: independent pixels, Gaussian, elliptical, recombined, data.

    Attributes
    ----------
    radial
        The elliptical leg.
    features
        Statistics that the learned legs are linear in.
    legs
        The learned legs in path order.
    mean_block
        Mean stay with a donor, time steps.
    season
        Steps after which the law repeats itself, ``T`` where it does not: 1 for windows
        of a stationary record, whose donors may be shifted at will.
    holds_still
        Whether recombined series stand still where their donors do. Both ways are
        tried, and the one kept whose draws the first critic can tell less surely from
        the training series, by cross-fitted log-loss.
    locality
        Share of the training series, nearest to that of its first donor, that a series
        may follow, see :mod:`gluonts_dualkl.laws.localities`.
    balance
        Walkers for every series drawn. Of the states that they visit those are drawn
        that share fewest donors, see :mod:`gluonts_dualkl.walks.balance`, in batches of
        as many as there are training series; 1 draws every series by itself.
    rows
        Training series that may be donors, ``(m,)``; None for all.
    """

    kind: ClassVar[str] = "recombination"
    conditional: ClassVar[bool] = True

    radial: RadialLaw
    features: StatisticsFeatures
    legs: tuple[PathLeg, ...]
    mean_block: float
    season: int
    holds_still: bool = False
    locality: float = 1.0
    balance: int = 1
    rows: Tensor | None = None

    @classmethod
    def fit(
        cls,
        values: np.ndarray,
        generator: torch.Generator,
        mean_block: float | None = None,
        season: int | None = None,
        max_rounds: int = 16,
        step_size: float = 0.7,
        num_walkers: int = 600,
        num_steps: int = 10,
        marginals: str = "auto",
        draw_only: bool = False,
        guard_share: float | None = None,
        locality: float | None = None,
        balance: int = 2,
    ) -> DualModel:
        """Fit to ``values`` ``(N, T, C)``, finite, no channel constant.

        ``guard_share`` of the training series have a smaller nearest-neighbour distance
        ratio among themselves than draws may have, by default
        :func:`default_guard_share`; ``balance`` is for draws alone.
        ``locality`` is that whose draws a critic tells least surely, unless given.
        ``season`` is found by :func:`~gluonts_dualkl.laws.seasonality.season_of` unless
        given; ``T`` or more keeps every donor at its own time.
        With ``draw_only`` the last leg alone is learned, that to the data, which is all
        that draws need, and its normalisers are NaN: a third to a seventh of the cost.
        """
        device = generator.device
        maps = MarginalMap.fit(values, marginals).to(device)
        x = torch.as_tensor(values, device=device)
        if season is None:
            season = season_of(maps.channel_scores(maps.to_normal(x)))
        season = min(season, len(maps.location))
        maps = maps.with_season(season)
        z = maps.to_normal(x)
        gaussian = CausalGaussian.select(z, generator)
        radial = RadialLaw.fit(z, gaussian, generator)
        features = StatisticsFeatures.fit(maps, z)
        block = mean_block or default_mean_block(len(maps.location))
        # as many walkers as fit into memory where windows are very large
        most = max(100, MOST_PIXELS // z[0].numel())
        num_walkers = min(num_walkers, most)
        reference = _closest(
            partial(Recombination, z, gaussian, block, season=season),
            z,
            StillSteps.fit(maps, z),
            locality,
            features,
            num_walkers,
            generator,
        )
        if guard_share is None:
            guard_share = default_guard_share(reference.locality)
        shifts = _guarded_shifts(z, season)
        guard = CopyGuard.fit(z, ValueSpace(maps, z), shifts, guard_share)

        def walk(law: Reference, guard: CopyGuard | None = None) -> TiltedWalkers:
            return TiltedWalkers(law, features, num_walkers, generator, guard)

        rounds = (max_rounds, step_size, num_steps, generator)
        between = None
        if not draw_only:
            draws = reference.start(min(NUM_REFERENCE_DRAWS, most), generator)
            walkers = walk(GaussianReference(gaussian, radial))
            between = boost(features(draws.z), walkers, *rounds)
        recombined = walk(reference, guard)
        recombined.move(num_steps)
        above = boost(features(z), recombined, *rounds)
        legs: tuple[PathLeg, ...] = (unnormalised("data", above),)
        if between is not None:
            walkers = walk(GaussianReference(gaussian, radial))
            legs = (
                follow(walkers, "recombination", between, num_steps),
                follow(walkers, "data", above, num_steps),
            )
        holds_still = reference.still is not None
        parts = (maps, z, gaussian, guard.limits, radial, features, legs)
        return cls(*parts, block, season, holds_still, reference.locality, balance)

    @cached_property
    def guard(self) -> CopyGuard:
        """The penalty on near copies that is part of the sampler's law."""
        space = ValueSpace(self.marginals, self.train)
        shifts = _guarded_shifts(self.train, self.season)
        return CopyGuard(self.train, self.copy_limits, space, shifts)

    @cached_property
    def reference(self) -> Recombination:
        """The recombination reference that the sampler walks on."""
        z, law = self.train, self.gaussian
        if self.rows is not None:
            z = self.train[self.rows]
            generator = torch.Generator(z.device).manual_seed(0)
            law = CausalGaussian.select(z - z.mean(0), generator)
        still = StillSteps.fit(self.marginals, z) if self.holds_still else None
        return Recombination(
            z,
            law,
            self.mean_block,
            still=still,
            season=self.season,
            locality=self.locality,
        )

    def log_ratio_of_scores(self, z: Tensor) -> dict[str, Tensor]:
        """Normalised dual functions of normal scores ``z`` by leg, ``(n,)``, nats."""
        phi = self.features(z)
        ratios = {"gaussian": self.gaussian.log_ratio(z)}
        ratios["elliptical"] = self.radial.log_ratio(self.gaussian.innovations(z))
        for leg in self.legs:
            ratios[leg.name] = (phi @ leg.weights).double() - leg.log_normaliser
        return ratios

    def log_tilt(self, z: Tensor) -> Tensor:
        """Log-tilt of the sampler on the recombination reference, guard included."""
        return self.log_weight(z) + self.guard(z)

    def log_weight(self, z: Tensor) -> Tensor:
        """What the last leg says of series ``z``, up to a constant, ``(n,)``, nats."""
        return self.features(z) @ self.legs[-1].weights

    @property
    def integrated_shift(self) -> float:
        """What normalisers by thermodynamic integration add to a log-ratio, nats."""
        return sum(
            leg.log_normaliser - leg.log_normaliser_integrated for leg in self.legs
        )

    @property
    def losses(self) -> dict[str, float]:
        """Cross-fitted log-loss that the boosting of each leg ended with, nats."""
        return {leg.name: leg.held_out_losses[-1] for leg in self.legs}

    def draw(
        self, num_samples: int, num_steps: int, generator: torch.Generator
    ) -> Draws:
        """States of chains: the best of a few recombinations by weight, then a walk.

        Of ``CANDIDATES`` draws of the reference a chain keeps one with probability
        proportional to ``exp(tilt)``; ``num_steps`` Metropolis moves follow. Of what
        ``balance`` chains a series visit those states are drawn that share fewest
        donors.
        """
        state = draw_candidates(
            self.reference,
            self.log_tilt,
            self.balance * num_samples,
            CANDIDATES,
            self.train[0].numel(),
            generator,
        )
        return self.walked(self.reference, state, num_steps, generator)

    def walked(
        self,
        reference: Recombination,
        state: DonorPaths,
        num_steps: int,
        generator: torch.Generator,
        owned: bool = False,
    ) -> Draws:
        """Draws from ``balance`` chains a series on a reference of the same donors.

        See :func:`~gluonts_dualkl.walks.balance.balanced_walk`, also for ``owned``.
        """
        state = balanced_walk(
            reference,
            self.log_weight,
            state,
            num_steps,
            generator,
            self.balance,
            len(reference.train),
            self.guard,
            owned,
        )
        return self.named(state)

    def conditioned(self, rows: Tensor) -> DualModel:
        """The model with training series ``rows`` ``(m,)`` as the only donors.

        Recombination then goes by a Gaussian law of these series about their own mean,
        since series of one category may remember for a shorter time than series of all
        categories, whose levels differ, seem to. Tilt, guard and log-ratios remain
        those of all.
        """
        return replace(self, rows=rows)

    def named(self, state: DonorPaths) -> Draws:
        """Draws of the reference, donors counted among all training series."""
        donors = self.reference.donors
        series, shifts = donors.series[state.donors], donors.shifts[state.donors]
        return Draws(
            state.z, series if self.rows is None else self.rows[series], shifts
        )

    def walk(
        self, num_steps: int, generator: torch.Generator
    ) -> tuple[Draws, np.ndarray]:
        """One chain from a reference draw, see :meth:`PathModel.walk`."""
        state = self.reference.start(1, generator)
        states, steps, level = [state], [0], None
        for step in range(1, num_steps + 1):
            new, level, info = metropolis(
                self.reference, self.log_tilt, state, 1, generator, level=level
            )
            if info.acceptance:
                state = new
                states.append(new)
                steps.append(step)
        return self.named(DonorPaths.cat(states)), np.array(steps)

    def facts(self) -> dict[str, Any]:
        """Mean stay, season, stillness and what is plain about the legs."""
        legs = [
            {
                "name": leg.name,
                "log_normaliser": leg.log_normaliser,
                "log_normaliser_integrated": leg.log_normaliser_integrated,
                "held_out_losses": list(leg.held_out_losses),
            }
            for leg in self.legs
        ]
        return {
            "mean_block": self.mean_block,
            "season": self.season,
            "holds_still": self.holds_still,
            "locality": self.locality,
            "balance": self.balance,
            "legs": legs,
        }

    def tensors(self) -> dict[str, Any]:
        """Standardisation of the statistics and weights of the legs."""
        return {
            "radial": self.radial.state(),
            "features": self.features.state(),
            "legs": {leg.name: leg.weights for leg in self.legs},
        }

    @classmethod
    def restore(
        cls, shared: dict[str, Any], facts: dict[str, Any], tensors: dict[str, Any]
    ) -> DualModel:
        """The model again, see :meth:`PathModel.restore`."""
        legs = tuple(
            PathLeg(
                weights=tensors["legs"][leg["name"]],
                **{**leg, "held_out_losses": tuple(leg["held_out_losses"])},
            )
            for leg in facts["legs"]
        )
        return cls(
            **shared,
            radial=RadialLaw(**tensors["radial"]),
            features=StatisticsFeatures(shared["marginals"], **tensors["features"]),
            legs=legs,
            mean_block=facts["mean_block"],
            season=facts["season"],
            holds_still=facts["holds_still"],
            locality=facts["locality"],
            balance=facts["balance"],
        )


def _guarded_shifts(train: Tensor, season: int) -> list[int]:
    """Shifts of donors, up to a quarter of a window, so that a middle is left."""
    most = train.shape[1] // 4
    return [shift for shift in donor_shifts(train, season) if abs(shift) <= most]


def _closest(
    recombine: Callable[..., Recombination],
    z: Tensor,
    still: StillSteps | None,
    locality: float | None,
    features: StatisticsFeatures,
    num_draws: int,
    generator: torch.Generator,
) -> Recombination:
    """The recombination whose draws critics tell from series ``z`` with most loss.

    Without still steps and with them, where there are any, by the critic of the legs.
    Then, unless it is given, the locality, see :func:`_widest`.
    """
    recombine = partial(recombine, locality=locality or 1.0)
    if still is not None:
        both = [recombine(), recombine(still=still)]
        losses = _losses(both, features, z, num_draws, generator)
        if losses[1] > losses[0]:
            recombine = partial(recombine, still=still)
    if locality is None:
        source = torch.Generator(z.device).manual_seed(generator.initial_seed())
        return _widest(recombine, z, num_draws, source)
    return recombine()


def _widest(
    recombine: Callable[..., Recombination],
    z: Tensor,
    num_draws: int,
    generator: torch.Generator,
) -> Recombination:
    """That of the widest locality that keeps kinds of series ``z`` apart.

    A critic that sees what a series looks like as a whole
    (:meth:`~gluonts_dualkl.laws.localities.Profile.table`) tells the draws of each
    locality from the training series. Narrow ones are less novel, so it is 1 unless
    another gains ``LOCAL_GAIN`` nats of cross-fitted log-loss, and else the widest that
    has half of the largest gain.
    """
    references = [recombine(locality=share) for share in distinct_shares(len(z))]
    losses = _losses(references, Profile.fit(z).table, z, num_draws, generator)
    gains = [loss - losses[0] for loss in losses]
    needed = max(LOCAL_GAIN, max(gains) / 2)
    enough = (r for r, gain in zip(references, gains) if gain >= needed)
    return next(enough, references[0])


def _losses(
    references: Sequence[Recombination],
    table: Callable[[Tensor], Tensor],
    z: Tensor,
    num_draws: int,
    generator: torch.Generator,
) -> list[float]:
    """Cross-fitted log-losses of critics between series ``z`` and draws, nats."""
    known = table(z)
    draws = [table(r.start(num_draws, generator).z) for r in references]
    return [fit_leg(known, drawn, generator).held_out_loss for drawn in draws]
