import numpy as np
import pytest
import torch
from laws import ar1

from gluonts_dualkl.models.recombination import DualModel
from gluonts_dualkl.walks import copies
from gluonts_dualkl.walks.copies import (
    COPY_QUANTILE,
    CopyGuard,
    CopyLimits,
    Neighbours,
    ValueSpace,
)

QUICK = {"num_walkers": 150, "max_rounds": 2, "num_steps": 5, "draw_only": True}
SAME_TIME = QUICK | {"season": 12}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def series(*points):
    """Series of one step and two channels, ``(n, 1, 2)``."""
    return torch.tensor(points, dtype=torch.float32)[:, None]


def ratios(z, train=None):
    apart = torch.cdist(z.flatten(1), (z if train is None else train).flatten(1))
    if train is None:
        apart.fill_diagonal_(torch.inf)
    near = apart.sort(1).values
    return near[:, 0] / near[:, 1]


def guarded(train, *limits):
    return CopyGuard(train, [CopyLimits(*limits)])


class TestGuard:
    train = series((0, 0), (10, 0))

    def test_between_two_series_is_free(self):
        guard = guarded(self.train, 1.0, 0.5)
        assert guard(series((5, 0), (4, 0))).tolist() == [0.0, 0.0]

    def test_near_to_one_of_two_is_refused(self):
        guard = guarded(self.train, 1.0, 0.5)
        assert (guard(series((2, 0), (0, 5), (12, 0))) < -50).all()

    def test_the_nearer_the_worse(self):
        penalty = guarded(self.train, 1.0, 0.9)(series((1, 0), (2, 0), (3, 0)))
        assert (penalty.diff() > 0).all()

    def test_a_short_distance_is_refused_at_any_ratio(self):
        crowded = series((0, 0), (0, 0.1))
        assert guarded(crowded, 1.0, 0.5)(series((0, 0.05))) < -50

    def test_without_a_ratio_the_distance_decides(self):
        guard = guarded(self.train, 1.0)
        assert guard(series((2, 0)))[0] == 0
        assert guard(series((0.5, 0)))[0] < -50

    def test_a_copy_of_twins_is_no_division_by_zero(self):
        twins = series((0, 0), (0, 0), (5, 5))
        assert torch.isfinite(guarded(twins, 1.0, 0.5)(series((0, 0)))).all()

    def test_one_series_has_no_second_neighbour(self):
        assert guarded(series((0, 0)), 1.0, 0.5)(series((3, 0)))[0] == 0


class TestRatio:
    @pytest.mark.parametrize("numbers", [1, 300, 10**7])
    def test_is_the_quantile_among_the_others(self, numbers, monkeypatch):
        monkeypatch.setattr(copies, "BLOCK_NUMBERS", numbers)
        z = torch.randn(40, 3, 2, generator=seeded())
        expected = np.quantile(ratios(z).numpy(), 0.3)
        assert CopyLimits.of(Neighbours(z), 0.3).ratio == pytest.approx(
            expected, rel=1e-4
        )

    def test_no_share_or_too_few_series_is_no_limit(self):
        z = torch.randn(10, 3, 2, generator=seeded())
        assert CopyLimits.of(Neighbours(z), 0.0).ratio == 0
        assert CopyLimits.of(Neighbours(z[:3]), 0.3).ratio == 0


class TestShifts:
    @pytest.mark.parametrize("numbers", [1, 10**7])
    def test_middles_beside_parts_of_training_series(self, numbers, monkeypatch):
        monkeypatch.setattr(copies, "BLOCK_NUMBERS", numbers)
        x, y = torch.randn(2, 7, 6, 2, generator=seeded()).numpy()
        expected = np.full((7, 7), np.inf)
        for i, j in np.ndindex(7, 7):
            for shift in (0, 1, -2):
                apart = [((x[i, t] - y[j, t + shift]) ** 2).sum() for t in (2, 3)]
                expected[i, j] = min(expected[i, j], np.sqrt(sum(apart)))
        beside = Neighbours(torch.tensor(y), shifts=(0, 1, -2))
        first, second = beside.two_nearest(torch.tensor(x))
        order = np.sort(expected, 1)
        np.testing.assert_allclose(first, order[:, 0], rtol=1e-5)
        np.testing.assert_allclose(second, order[:, 1], rtol=1e-5)

    def test_a_shifted_copy_is_refused(self):
        z = torch.randn(20, 12, 2, generator=seeded())
        train, shifted = z[:, :9], z[:, 3:]
        fresh = torch.randn(100, 9, 2, generator=seeded(1))
        here = CopyGuard.fit(train)
        anywhere = CopyGuard.fit(train, shifts=(0, 3, -3))
        assert here.near_copies(shifted).float().mean() < 0.1
        assert anywhere.near_copies(shifted).all()
        assert (anywhere(shifted) < -50).all()
        assert anywhere.near_copies(fresh).float().mean() < 0.2

    def test_a_model_looks_where_its_donors_are(self, values):
        record = DualModel.fit(values, seeded(), **QUICK, season=3)
        assert [n.shifts for n in record.guard.neighbours] == [(0,), (0, 3, -3)]
        assert set(record.reference.donors.shifts.tolist()) == {0, 3, 6, -3, -6}
        panel = DualModel.fit(values, seeded(), **QUICK, season=12)
        assert [n.shifts for n in panel.guard.neighbours] == [(0,)]

    def test_draws_of_a_record_are_no_shifted_copies(self):
        record = ar1(60, 12, 2, 0.7, seed=1)
        model = DualModel.fit(record, seeded(), **QUICK, season=1)
        z = model.draw(200, 40, seeded(1)).z
        assert len(model.guard.neighbours[1].shifts) > 5
        assert model.count_near_copies(z) == 0


@pytest.fixture(scope="module")
def values():
    return ar1(60, 12, 2, 0.7, seed=1)


def test_draws_keep_to_the_ratio(values):
    model = DualModel.fit(values, seeded(), **SAME_TIME)
    seen = ValueSpace(model.marginals, model.train)
    limit = CopyLimits.of(Neighbours(seen(model.train)), 0.3).ratio
    assert model.copy_limits[0].ratio == pytest.approx(limit)
    found = ratios(seen(model.draw(200, 10, seeded(1)).z), seen(model.train))
    assert float((found < limit - 1e-4).float().mean()) < 0.02
    free = DualModel.fit(values, seeded(), **SAME_TIME, guard_share=0.0)
    assert free.copy_limits[0].ratio == 0
    loose = ratios(seen(free.draw(200, 10, seeded(1)).z), seen(free.train))
    assert float((loose < limit).float().mean()) > 0.15


def test_distances_are_those_of_standardised_values(values):
    values = np.sinh(values) * [1, 300] + [0, 4000]
    model = DualModel.fit(values.astype(np.float32), seeded(), **SAME_TIME)
    flat = ((values - values.mean((0, 1))) / values.std((0, 1))).reshape(60, -1)
    apart = np.linalg.norm(flat[:, None] - flat, axis=2)
    np.fill_diagonal(apart, np.inf)
    limit = np.quantile(apart.min(1), COPY_QUANTILE)
    assert model.copy_limits[0].distance == pytest.approx(limit, rel=1e-3)
    z = model.draw(200, 20, seeded(1)).z
    assert model.count_near_copies(z) == 0
    x = model.marginals.from_normal(z).numpy()
    drawn = ((x - values.mean((0, 1))) / values.std((0, 1))).reshape(200, -1)
    nearest = np.linalg.norm(drawn[:, None] - flat, axis=2).min(1)
    assert (nearest > 0.99 * limit).all()
