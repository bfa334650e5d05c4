import logging

import numpy as np
import pytest
import torch

from gluonts_dualkl.analysis.dual_space import embed
from gluonts_dualkl.walks.guards import (
    Guards,
    LevelGuard,
    NeighbourGuard,
    SpreadGuard,
    SupportGuard,
)

LENGTH, CHANNELS = 6, 2


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(n, seed=0):
    return torch.randn(n, LENGTH, CHANNELS, generator=seeded(seed))


def at(*values):
    """Series that hold one value each."""
    return torch.tensor(values)[:, None, None].expand(-1, LENGTH, CHANNELS).clone()


def level(z):
    return z[:, 0, 0]


def test_levels_in_the_band_and_in_bins_with_data():
    edges, occupied = np.arange(5.0), np.array([True, False, True, True])
    guards = Guards(LevelGuard((0.5, 3.5), edges, occupied), level=level)
    mask, counts = guards.check(at(0.4, 0.6, 1.5, 2.5, 3.4, 3.6, -9.0))
    assert mask.tolist() == [False, True, False, True, True, False, False]
    assert counts == {"not finite": 0, "level band": 3, "empty bin": 1}
    bare = Guards(LevelGuard((0.5, 3.5)), level=level)
    assert bare.check(at(1.5, 3.6))[0].tolist() == [True, False]
    assert bare.check(at(9.0), torch.tensor([1.0]))[0].tolist() == [True]


def test_level_excess_is_a_share_of_the_band():
    guard = LevelGuard((0.0, 4.0), np.arange(5.0), np.array([True, False, False, True]))
    excess = guard.excess(at(0.0), torch.tensor([1.5, 2.9, 6.0]))
    np.testing.assert_allclose(excess["level band"], [0, 0, 0.5])
    np.testing.assert_allclose(excess["empty bin"], [0.125, 0.025, 0.5], rtol=1e-5)


def test_levels_of_a_dual_space():
    rng = np.random.default_rng(0)
    levels = rng.normal(size=200)
    space = embed(levels, rng.normal(size=(200, 2)))
    mask, counts = Guards(LevelGuard.of(space)).check(
        noise(200), torch.as_tensor(levels)
    )
    assert 0.05 <= 1 - float(mask.float().mean()) <= 0.06  # the band leaves out 5 %
    assert counts["empty bin"] == 0


def test_spread_keeps_its_share_of_held_out_series():
    def scores(z):
        return torch.stack([z[:, 0, 0] * k for k in (1.0, 2.0, 4.0)], 1)

    guard = SpreadGuard.fit(scores, noise(1000), 0.9)
    mask, counts = Guards(guard).check(noise(1000))
    assert counts["spread"] == 100
    spread = noise(1000)[:, 0, 0].abs() * np.std([1, 2, 4], ddof=1)
    assert torch.equal(mask, spread <= guard.limit)


def test_support_with_margin():
    train = at(-1.0, 3.0)
    train[:, :, 1] *= 10
    guard = SupportGuard.fit(train, margin=0.25)
    z = at(0.0, 0.0, 0.0)
    z[0, 2, 0], z[1, 3, 0], z[2, 4, 1] = 3.9, 4.4, 39.0
    assert Guards(guard).check(z)[0].tolist() == [True, False, True]
    excess = guard.excess(z, level(z))["support"]
    np.testing.assert_allclose(excess, [0, 0.4 / 6, 0], rtol=1e-5)


def test_neighbours_on_both_sides():
    guard = NeighbourGuard.fit(noise(200), noise(400, seed=1))
    apart = torch.cdist(noise(400, seed=1).flatten(1), noise(200).flatten(1)).amin(1)
    assert float((apart < guard.nearest).float().mean()) == pytest.approx(
        0.025, abs=3e-3
    )
    assert float((apart > guard.farthest).float().mean()) == pytest.approx(
        0.025, abs=3e-3
    )
    guards = Guards(guard)
    assert guards.check(noise(200))[1]["copy"] == 200
    assert guards.check(noise(200) + 1e-3)[1]["copy"] == 200
    assert guards.check(20 + noise(200))[1]["escape"] == 200
    fresh = guards.check(noise(4000, seed=2))[1]
    for reason in ("copy", "escape"):  # 2.5 %, known from 400 series
        assert (
            abs(fresh[reason] / 4000 - 0.025)
            < 4 * (0.025 * (1 / 400 + 1 / 4000)) ** 0.5
        )


def test_neighbours_within_training():
    train = noise(200)
    guard = NeighbourGuard.fit(train, shares=(0.1, 0.9))
    apart = torch.cdist(train.flatten(1), train.flatten(1)).fill_diagonal_(torch.inf)
    assert guard.nearest > 0
    assert int((apart.amin(1) < guard.nearest).sum()) == 20


def all_guards():
    return Guards(
        LevelGuard((-1.5, 1.5)),
        SupportGuard.fit(noise(50), 0.0),
        NeighbourGuard.fit(noise(50), noise(100, seed=1)),
        level=level,
    )


def test_counts_sum_to_the_number_refused():
    z = torch.cat([noise(300, seed=3), noise(50), at(torch.nan, torch.inf, 30.0)])
    mask, counts = all_guards().check(z)
    assert list(counts) == ["not finite", "level band", "support", "copy", "escape"]
    assert sum(counts.values()) == int((~mask).sum())
    assert counts["not finite"] == 2 and counts["copy"] > 30
    assert torch.equal(all_guards()(z), mask)
    single = Guards(LevelGuard((-1.5, 1.5)), level=level).check(z)[1]
    assert single["level band"] == counts["level band"]  # first reasons come first


def test_refused_series_are_drawn_again():
    generator, asked = seeded(4), []

    def draw(n):
        asked.append(n)
        return torch.randn(n, LENGTH, CHANNELS, generator=generator)

    z, report = all_guards().keep(draw, 60, max_rounds=100)
    assert len(z) == 60 and all_guards()(z).all()
    assert report.passed == 60 and report.filled == 0
    assert report.drawn == 60 + sum(report.refused.values())
    assert 1 < report.rounds < 100
    assert asked[0] == 60 > asked[1] and sum(asked) == report.drawn


def test_what_is_left_is_filled_with_the_least_bad(caplog):
    guards = Guards(SupportGuard(torch.tensor([-1.0, -1.0]), torch.tensor([1.0, 1.0])))
    rounds = iter([at(0.0, 5.0, 3.0, torch.nan), at(4.0, 0.5, 2.0), at(9.0, 2.5)])
    with caplog.at_level(logging.WARNING):
        z, report = guards.keep(lambda n: next(rounds), 4, max_rounds=3)
    assert z[:, 0, 0].tolist() == [0.0, 0.5, 2.0, 2.5]
    assert (report.passed, report.filled, report.rounds, report.drawn) == (2, 2, 3, 9)
    assert report.refused == {"not finite": 1, "support": 6}
    assert "2 of 4 series are kept although a guard refuses them" in caplog.text


def test_drawing_ends_when_nothing_passes():
    guards = Guards(LevelGuard((5.0, 6.0)), level=level)
    asked = []

    def draw(n):
        asked.append(n)
        return at(*[float(len(asked))] * n)

    z, report = guards.keep(draw, 3, max_rounds=4)
    assert asked == [3] * 4 and report.filled == 3
    assert z[:, 0, 0].tolist() == [4.0] * 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Guards(), "guards is empty"),
        (lambda: LevelGuard((1.0, 1.0)), "band is"),
        (lambda: LevelGuard((0.0, 1.0), np.arange(3)), "both bin_edges and occupied"),
        (
            lambda: LevelGuard((0.0, 1.0), np.arange(3), np.ones(3, bool)),
            "3 bin_edges for 3 bins",
        ),
        (
            lambda: LevelGuard((0.0, 1.0), np.arange(3), np.zeros(2, bool)),
            "0 are occupied",
        ),
        (lambda: SpreadGuard(level, 0.0), "limit is 0.0"),
        (lambda: SpreadGuard.fit(level, noise(3), 1.5), "quantile is 1.5"),
        (lambda: SpreadGuard.fit(level, noise(3)), "at least two members"),
        (lambda: SupportGuard.fit(noise(3), -0.1), "margin is -0.1"),
        (lambda: NeighbourGuard(noise(3), 2.0, 1.0), "nearest is 2.0"),
        (lambda: NeighbourGuard.fit(noise(3), shares=(-1, 1)), "shares is -1"),
        (lambda: Guards(LevelGuard((0.0, 1.0))).check(noise(3)), "looks at levels"),
        (
            lambda: Guards(LevelGuard((0.0, 1.0))).check(noise(3), torch.zeros(2)),
            "level has shape",
        ),
        (lambda: Guards(SupportGuard.fit(noise(3))).check(noise(3)[0]), "z has shape"),
        (lambda: all_guards().keep(noise, 0), "num_samples is 0"),
        (lambda: all_guards().keep(noise, 3, max_rounds=0), "max_rounds 0"),
        (
            lambda: all_guards().keep(lambda n: at(*[torch.nan] * n), 2),
            "draw gave 0 finite series and 2",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
